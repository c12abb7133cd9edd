"""Whether observations hold what is only known later: actions and rewards that are to come."""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 2000  # rows, evenly spaced
_FEW = 20  # rows say nothing
_MOST = 0.99  # of the rows
_MOST_INSIDE = 0.9  # of the rows and those after them, some of which are of other episodes
_FEW_ENDS = 3
_ROUNDING = 1e-3  # of the spread of the rewards
_SHOWN = 8


@np.errstate(all="ignore")  # of values that are refused elsewhere
def given_away(log: "Log | Dataset", ends: np.ndarray) -> dict:
    """Observation entries that equal an action entry, or the reward, of their own or the next row.

    Columns that keep one value in most rows are left out, since two of them may agree by chance.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.

    Returns:
        `action_in_obs`: pairs (observation entry, action entry) of one row; `reward_in_obs`:
        entries that are the reward of their row; `known_too_early`: entries that are an action or
        the reward of the next row, or the sum of all rewards to come, in words.
    """
    rows = np.arange(0, log.size, max(1, -(-log.size // _SAMPLE)))
    reward = np.asarray(log.reward)
    if len(rows) < _FEW or reward.size != log.size:
        return {"action_in_obs": [], "reward_in_obs": [], "known_too_early": ""}
    reward = reward.reshape(-1)
    actions, rewards = _equal(log.obs[rows], log.action[rows], reward[rows], _MOST)
    return {
        "action_in_obs": actions,
        "reward_in_obs": rewards,
        "known_too_early": _too_early(log, ends, rows[rows < log.size - 1], reward),
    }


def _too_early(log: "Log | Dataset", ends: np.ndarray, rows: np.ndarray, reward: np.ndarray) -> str:
    here, after = (np.asarray(log.obs[x], np.float64) for x in (rows, rows + 1))
    moves = (here != after).mean(axis=0) >= _MOST_INSIDE  # a held action is that of the next row
    actions, rewards = _equal(here, log.action[rows + 1], reward[rows + 1], _MOST_INSIDE)
    told = [f"{entry} (action {dim} of the next row)" for entry, dim in actions if moves[entry]]
    told += [f"{entry} (the reward of the next row)" for entry in rewards if moves[entry]]
    earned = np.asarray(reward[rows], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(here - after - earned[:, None]) <= _ROUNDING * earned.std()
    # What was gained on the way to a goal falls by the rewards, too, but not to the last of them.
    last = np.flatnonzero(ends)
    with np.errstate(invalid="ignore", over="ignore"):
        at_end = np.abs(log.obs[last] - np.asarray(reward[last], np.float64)[:, None])
        close = (at_end <= _ROUNDING * earned.std()).sum(axis=0)
        runs_out = close >= _MOST_INSIDE * max(len(last), 1)
    falls = off.mean(axis=0) >= _MOST_INSIDE
    to_go = np.flatnonzero(falls & runs_out) if _varies(earned) and len(last) >= _FEW_ENDS else ()
    told += [f"{entry} (the sum of the rewards from its row on)" for entry in to_go]
    return ", ".join(told[:_SHOWN])


def _equal(
    obs: np.ndarray, action: np.ndarray, reward: np.ndarray, most: float
) -> tuple[list[tuple[int, int]], list[int]]:
    """The entries that are an entry of the action, and those that are the reward."""
    obs, action, reward = (np.asarray(x, np.float32) for x in (obs, action, reward))

    def same(column: np.ndarray) -> list[int]:
        if not _varies(column):
            return []
        return np.flatnonzero((obs == column[:, None]).mean(axis=0) >= most).tolist()

    pairs = [(entry, dim) for dim in range(action.shape[1]) for entry in same(action[:, dim])]
    return pairs, same(reward)


def _varies(column: np.ndarray) -> bool:
    """Whether no value is that of most rows."""
    return bool(np.unique(column, return_counts=True)[1].max() <= 0.5 * len(column))
