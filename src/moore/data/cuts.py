"""Where the episodes of a log without time-out flags end: known, found in its rows, or assumed.

A row that is taken for the middle of an episode although it is an end gets the first state of the
next one as its successor, so that a wrong guess teaches the models jumps.
"""

from dataclasses import dataclass

import numpy as np

from moore.data.checks import as_float32, blocks
from moore.data.episodes import TIME_LIMIT, cut_at_limit
from moore.data.known_files import closest_env, recognise
from moore.data.log import Log

_ROWS = 300_000  # that are looked at
_LONGEST = 20_000  # steps of an episode that are sought
_AT_LEAST = 3  # ends
_CHANCE = -15.0  # natural logarithm of the probability that chance finds a limit
_TOWERS = 2.0  # times the steps before and after an end
_MOST = 0.8
_FEW_BREAKS = 0.2  # of the rows; more are rows that were shuffled
_FAR = 10.0  # times what 99% of the steps keep to


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Cuts:
    """Ends of episodes that no flag says.

    Attributes:
        truncated: (n,) bool, not terminal.
        steps: the limit; None: none is known, and the rows themselves show the ends.
        source: "given" by the caller; "environment": registered for the log's; "successors": rows
            whose stored successor is not the next row; "lengths": of nearly all episodes;
            "measured": steps of another kind at its multiples; "assumed": `TIME_LIMIT`.
    """

    truncated: np.ndarray
    steps: int | None
    source: str

    @property
    def metadata(self) -> dict[str, object]:
        """For a data set, whose flags are no longer those of the source."""
        return {"timeouts_recorded": False, "ends": {"source": self.source, "steps": self.steps}}

    def __str__(self) -> str:
        return ends_text(self.source, self.steps)


def ends_text(source: str, steps: int | None) -> str:
    """How the ends were found, for a sentence."""
    return {
        "given": f"episodes are cut after {steps} steps, as was asked",
        "environment": f"episodes are cut after {steps} steps, the limit of the log's environment",
        "successors": "episodes end where a stored next_obs is not the next row's obs",
        "lengths": f"nearly all terminals come after {steps} steps, and nothing is cut before",
        "measured": f"episodes are cut after {steps} steps, where the observations jump",
        "assumed": f"episodes are assumed to be cut after {steps} steps",
    }[source]


def find_cuts(log: Log, max_episode_steps: int | None = None) -> Cuts:
    """Ends of the episodes of a log whose `truncated` is None, beside its terminals.

    Args:
        log: with terminal flags, 0 where the row is none.
        max_episode_steps: the environment's limit, where the caller knows it.
    """
    terminated = log.terminated.reshape(-1) != 0
    if max_episode_steps is not None:
        return Cuts(cut_at_limit(terminated, max_episode_steps), max_episode_steps, "given")
    if log.next_obs is not None:
        breaks = broken_rows(log) & ~terminated
        if 0 < breaks.sum() <= _FEW_BREAKS * log.size:
            return Cuts(breaks, None, "successors")
    if (limit := registered_limit(log.env_id, log.sha256)) is not None:
        return Cuts(cut_at_limit(terminated, limit), limit, "environment")
    if (limit := _common_length(terminated)) is not None:
        return Cuts(cut_at_limit(terminated, limit), limit, "lengths")
    if log.next_obs is None and (limit := jumping_period(log.obs, terminated)) is not None:
        return Cuts(cut_at_limit(terminated, limit), limit, "measured")
    return Cuts(cut_at_limit(terminated, TIME_LIMIT), TIME_LIMIT, "assumed")


def registered_limit(env_id: str | None, sha256: str = "") -> int | None:
    """The step limit that Gymnasium has for a log's environment; nothing is imported for it.

    Args:
        env_id: as the log names it; None: a public file's is known by its bytes.
        sha256: of the file.
    """
    files = [file for file in recognise([sha256]) if file is not None]
    env_id = env_id or (files[0].env_id if files else None)
    if not isinstance(env_id, str):
        return None
    import gymnasium

    spec = gymnasium.registry.get(closest_env(env_id))
    return None if spec is None else spec.max_episode_steps


def unflagged_ends(log: Log, ends: np.ndarray) -> dict[str, int]:
    """Signs that rows inside episodes are ends; empty if there are none, or successors are stored.

    `every`: the observations jump after so many steps, `jumps`: so many rows jump as none else do.
    """
    if log.next_obs is not None:
        return {}
    if (every := jumping_period(log.obs, ends)) is not None:
        return {"every": every}
    jumps = far_jumps(log.obs, ends)
    return {"jumps": jumps} if jumps else {}


def broken_rows(log: Log) -> np.ndarray:
    """(n,) bool: rows whose stored successor is not the next row's observation; not the last."""
    broken = np.zeros(log.size, bool)
    for rows in blocks(log.size - 1, 2 * log.obs[:1].nbytes):
        following = as_float32(log.obs[rows.start + 1 : rows.stop + 1])
        broken[rows] = (as_float32(log.next_obs[rows]) != following).any(axis=1)
    return broken


def jumping_period(obs: np.ndarray, ends: np.ndarray) -> int | None:
    """After so many steps, counted from each end, the observations jump again and again.

    Steps are ranked by how far the observations move, a limit is tried at all its multiples, and
    taken where chance or a smooth rhythm cannot explain that the ranks are so high there.

    Args:
        obs: (n, obs_dim), consecutive rows.
        ends: (n,) bool, ends that are known.
    """
    obs, ends = obs[:_ROWS], ends[:_ROWS]
    step = _step_sizes(obs)
    inside = ~ends[:-1]
    if inside.sum() < 4 * _AT_LEAST:
        return None
    nth = _steps_in_episode(ends)[:-1]
    rank = np.empty(len(step))
    order = np.argsort(step[inside], kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = (np.arange(len(order)) + 0.5) / len(order)
    rank[inside] = -np.log1p(-ranks)  # exponential if all is chance
    most = int(min(nth.max(initial=0) + 1, _LONGEST))
    total = np.bincount(nth[inside], rank[inside], most)[:most]
    count = np.bincount(nth[inside], minlength=most)[:most]
    sums = np.array([total[limit - 1 :: limit].sum() for limit in range(2, most + 1)])
    counts = np.array([count[limit - 1 :: limit].sum() for limit in range(2, most + 1)])
    return _likeliest(sums, counts, step, nth, inside)


def _likeliest(
    sums: np.ndarray, counts: np.ndarray, step: np.ndarray, nth: np.ndarray, inside: np.ndarray
) -> int | None:
    from scipy.stats import gamma

    limits = np.arange(2, len(sums) + 2)
    high = sums >= 0.6 * counts * (np.log(limits) + 1)
    tried = np.flatnonzero((counts >= _AT_LEAST) & high)
    if len(tried) == 0:
        return None
    chance = gamma.logsf(sums[tried], counts[tried]) + np.log(len(sums))
    for best in tried[np.argsort(chance)][:5]:
        if chance[tried == best][0] > _CHANCE:
            return None
        limit = int(limits[best])
        at = np.flatnonzero(inside & (nth % limit == limit - 1))
        at = at[(at > 0) & (at < len(step) - 1)]
        towers = step[at] > _TOWERS * np.maximum(step[at - 1], step[at + 1])
        if len(at) >= _AT_LEAST and towers.mean() >= _MOST:
            return limit
    return None


def far_jumps(obs: np.ndarray, ends: np.ndarray) -> int:
    """Rows inside episodes after which the observations jump as they never do else.

    As for `jumping_period`, a jump is one of most dimensions at once, alone among its neighbours.
    """
    obs, ends = obs[:_ROWS], ends[:_ROWS]
    step = _step_sizes(obs)
    inside = np.flatnonzero(~ends[:-1])
    inside = inside[(inside > 0) & (inside < len(step) - 1)]
    if len(inside) < 100:
        return 0
    far = inside[step[inside] > _FAR * np.quantile(step[inside], 0.99)]
    towers = step[far] > _FAR * np.maximum(step[far - 1], step[far + 1])
    return int(towers.sum())


def _step_sizes(obs: np.ndarray) -> np.ndarray:
    """(n - 1,) how far most dimensions move together: the lower median over the dimensions.

    Each dimension is scaled by the root mean square of its steps; those that never move are left
    out, so that a set-point or a counter alone makes no jump.
    """
    step = np.empty((max(0, len(obs) - 1), obs.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows in blocks(len(step), 3 * obs[:1].nbytes):
            pair = obs[rows.start : rows.stop + 1].astype(np.float64)
            step[rows] = pair[1:] - pair[:-1]
        step = np.abs(np.nan_to_num(step, posinf=0.0, neginf=0.0))
        scale = np.sqrt(np.mean(step.astype(np.float64) ** 2, axis=0)) if len(step) else 0
    moving = np.flatnonzero(scale > 0)
    if len(moving) == 0:
        return np.zeros(len(step))
    step = step[:, moving] / scale[moving]
    return np.partition(step, (len(moving) - 1) // 2, axis=1)[:, (len(moving) - 1) // 2]


def _steps_in_episode(ends: np.ndarray) -> np.ndarray:
    """(n,) how many rows of its episode come before each row."""
    starts = np.concatenate([[0], np.flatnonzero(ends[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [len(ends)]]))
    return np.arange(len(ends)) - np.repeat(starts, lengths)


def _common_length(terminated: np.ndarray) -> int | None:
    """The length beyond `TIME_LIMIT` at which nearly all terminals come."""
    lengths = np.diff(np.flatnonzero(terminated), prepend=-1)
    if len(lengths) < _AT_LEAST or lengths.max() <= TIME_LIMIT:
        return None
    longest = int(lengths.max())
    return longest if np.mean(lengths == longest) >= 0.9 else None
