"""The ends, the returns and the successors of the episodes of a flat log.

No function here holds a second copy of a matrix, because a log may fill most of the memory.
"""

import numpy as np

from moore.data.checks import blocks

TIME_LIMIT = 1000  # steps, of every D4RL task whose files have no time-out flags


def episode_statistics(reward: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The returns (m,) float64 and lengths (m,) int64 of the episodes that `ends` (n,) closes."""
    last = np.flatnonzero(ends)
    if len(last) == 0:
        return np.zeros(0), np.zeros(0, np.int64)
    first = np.concatenate([[0], last[:-1] + 1])
    returns = np.empty(len(last))
    episode = 0
    while episode < len(last):  # as many episodes at a time as one block of rows holds
        stop = int(np.searchsorted(last, first[episode] + 2**16))
        stop = max(stop, episode + 1)
        with np.errstate(over="ignore", invalid="ignore"):  # `validate` reports it
            rows = reward[first[episode] : last[stop - 1] + 1].astype(np.float64)
            returns[episode:stop] = np.add.reduceat(rows, first[episode:stop] - first[episode])
        episode = stop
    return returns, (last - first + 1).astype(np.int64)


def cut_at_limit(terminated: np.ndarray, limit: int) -> np.ndarray:
    """(n,) bool: rows that are the `limit`-th of their episode, and not terminal."""
    last = np.flatnonzero(terminated)
    first = np.concatenate([[0], last + 1])
    lengths = np.diff(np.concatenate([first, [len(terminated)]]))
    cuts = lengths // limit
    nth = np.arange(cuts.sum()) - np.repeat(np.cumsum(cuts) - cuts, cuts) + 1
    truncated = np.zeros(len(terminated), bool)
    truncated[np.repeat(first, cuts) + nth * limit - 1] = True
    truncated[last] = False
    return truncated


def derive_successors(arrays: dict[str, np.ndarray], *, overwrite: bool) -> dict[str, np.ndarray]:
    """Adds `next_obs` and `successor_known` from the next rows, and drops the rows without one.

    Args:
        arrays: obs, action, reward, terminated, truncated, each n rows.
        overwrite: move the rows that stay to the front of these same arrays.
    """
    obs, terminated, truncated = arrays["obs"], arrays["terminated"], arrays["truncated"]
    ends = terminated | truncated
    known = ~ends
    known[-1] = False
    keep = known | terminated
    truncated = truncated.copy()
    truncated[:-1] |= ~(keep[1:] | ends[:-1])
    next_obs = np.empty((int(keep.sum()), obs.shape[1]), obs.dtype)
    at = 0
    for block in blocks(len(obs), obs[:1].nbytes):
        rows = np.flatnonzero(keep[block]) + block.start
        next_obs[at : at + len(rows)] = obs[rows + known[rows]]
        at += len(rows)
    kept = arrays | {"truncated": truncated, "successor_known": known}
    kept = {key: _take(value, keep, overwrite=overwrite) for key, value in kept.items()}
    return kept | {"next_obs": next_obs}


def _take(value: np.ndarray, keep: np.ndarray, *, overwrite: bool) -> np.ndarray:
    count = int(keep.sum())
    out = value[:count] if overwrite else np.empty((count, *value.shape[1:]), value.dtype)
    at = 0
    for block in blocks(len(value), value[:1].nbytes):
        rows = value[block][keep[block]]
        out[at : at + len(rows)] = rows
        at += len(rows)
    return out
