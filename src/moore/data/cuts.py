"""Where the episodes of a log without time-out flags end: known, found in its rows, or assumed.

A wrong guess teaches the models jumps: if the last row of an episode is taken for one in the
middle, it gets the first state of the next episode as its successor.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moore.data.checks import as_float32, blocks
from moore.data.episodes import TIME_LIMIT, cut_at_limit
from moore.data.flag_rows import slipped_flags
from moore.data.known_files import closest_env, recognise
from moore.data.least_squares import fitted_weights
from moore.data.log import Log, stored_successors, told
from moore.data.order import is_shuffled

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_ROWS = 30_000  # that are looked at
_FITTED = 5_000  # rows that the prediction is fitted to
_TRIED = 20  # limits
_LONGEST = 10_000  # steps of an episode that are sought
_AT_LEAST = 3  # ends
_CHANCE = -15.0  # natural logarithm of the probability that chance finds a limit
_TOWERS = 2.0  # times the steps before and after an end
_MOST = 0.8
_FEW_BREAKS = 0.2  # of the rows; more are rows that were shuffled
_FEW_STARTS, _OTHER_ENTRIES = 5, 0.3  # first states, a share of the entries
_FAR = 10.0  # times what 99% of the steps keep to


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Cuts:
    """Ends of episodes that no flag marks.

    Attributes:
        truncated: (n,) bool, the ends that are not terminal.
        steps: the step limit; None if it is unknown and the rows themselves show the ends.
        source: how the ends were found. "given": by the caller; "environment": by the limit
            registered for the log's environment; "successors": at rows whose stored successor is
            not the next row; "lengths": by the length of nearly all episodes; "measured": at jumps
            of the observations; "assumed": by `TIME_LIMIT`.
    """

    truncated: np.ndarray
    steps: int | None
    source: str

    @property
    def metadata(self) -> dict[str, object]:
        """Metadata for a data set, which says that its time-outs are not those of the source."""
        return {"timeouts_recorded": False, "ends": {"source": self.source, "steps": self.steps}}

    def __str__(self) -> str:
        return ends_text(self.source, self.steps)


def ends_text(source: str, steps: int | None) -> str:
    """A clause that says how the ends were found."""
    return {
        "given": f"episodes are cut after {steps} steps, as was asked",
        "environment": f"episodes are cut after {steps} steps, the limit of the log's environment",
        "successors": "episodes end where a stored next_obs is not the next row's obs",
        "lengths": f"nearly all terminals come after {steps} steps, and nothing is cut before",
        "measured": f"episodes are cut after {steps} steps, where the observations jump",
        "assumed": f"episodes are assumed to be cut after {steps} steps",
    }[source]


def find_cuts(log: Log, max_episode_steps: int | None = None) -> Cuts:
    """Finds the ends, other than terminals, of the episodes of a log whose `truncated` is None.

    Args:
        log: a log with terminal flags, which are 0 in rows that are not terminal.
        max_episode_steps: the environment's limit, if the caller knows it.
    """
    terminated = log.terminated.reshape(-1) != 0
    if max_episode_steps is not None:
        return Cuts(cut_at_limit(terminated, max_episode_steps), max_episode_steps, "given")
    if log.next_obs is not None:
        breaks = broken_rows(log) & ~terminated
        if log.successor_known is not None:
            breaks &= log.successor_known.reshape(-1) != 0
        if 0 < breaks.sum() <= _FEW_BREAKS * log.size:
            return Cuts(_with_last(breaks, terminated), None, "successors")
    if (limit := registered_limit(log.env_id, log.sha256)) is not None:
        return Cuts(cut_at_limit(terminated, limit), limit, "environment")
    if log.next_obs is None:
        limit = jumping_period(surprises(log, terminated), terminated[:_ROWS])
        if limit is not None:
            return Cuts(cut_at_limit(terminated, limit), limit, "measured")
    if (limit := _common_length(terminated)) is not None:
        return Cuts(cut_at_limit(terminated, limit), limit, "lengths")
    return Cuts(cut_at_limit(terminated, TIME_LIMIT), TIME_LIMIT, "assumed")


def _with_last(breaks: np.ndarray, terminated: np.ndarray) -> np.ndarray:
    """Adds an end in the last row if that makes an episode as long as the longest one."""
    last = np.flatnonzero(breaks | terminated)
    longest = np.diff(last, prepend=-1).max()
    breaks[-1] = not terminated[-1] and len(breaks) - 1 - last[-1] == longest
    return breaks


def registered_limit(env_id: str | None, sha256: str = "") -> int | None:
    """The step limit that Gymnasium has registered for a log's environment, without any import.

    Args:
        env_id: id in the log; with None, a public file is recognised by its hash.
        sha256: hash of the file.
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

    `every` is the number of steps after which the observations jump again and again, `jumps` the
    number of rows with jumps unlike all other steps. `early` and `late` are numbers of ends that
    seem to be flagged a row beside the jump. `shuffled` is the number of rows if none of them seems
    to be followed by its successor.
    """
    if log.next_obs is not None:
        return {}
    if is_shuffled(log, ends):
        return {"shuffled": log.size}
    surprise, ends = surprises(log, ends), ends[:_ROWS]
    if (every := jumping_period(surprise, ends)) is not None:
        return {"every": every}
    if slipped := slipped_flags(log, ends):
        return slipped
    jumps = far_jumps(surprise, ends, log.obs[: len(ends)])
    return {"jumps": jumps} if jumps else {}


def other_limit(log: "Dataset | None", steps: int | None) -> bool:
    """Whether a log without time-out flags was cut at another limit than its environment's.

    If so, a log that was loaded from a source has to be loaded again with `max_episode_steps`. A
    log that was given as an object keeps its ends.

    Args:
        log: the loaded log; None if there is none.
        steps: the limit that the environment states; None if it states none.
    """
    ends = {} if log is None else told(log.metadata, "ends")
    known = ends.get("source") not in (None, "successors")
    return known and steps is not None and ends.get("steps") != steps


def broken_rows(log: "Log | Dataset") -> np.ndarray:
    """(n,) bool: rows whose stored successor is not the next row's observation; never the last."""
    broken, successors = np.zeros(log.size, bool), stored_successors(log)
    for rows in blocks(log.size - 1, 2 * log.obs[:1].nbytes):
        following = as_float32(log.obs[rows.start + 1 : rows.stop + 1])
        broken[rows] = (as_float32(successors[rows]) != following).any(axis=1)
    return broken


def jumping_period(surprise: np.ndarray, ends: np.ndarray) -> int | None:
    """The number of steps, counted from each end, after which the observations jump every time.

    Rows are ranked by their surprise. Each limit is tried at all its multiples, and accepted if
    neither chance nor a smooth rhythm can explain the high ranks there.

    Args:
        surprise: (n,) result of `surprises`.
        ends: (n,) bool, ends that are known.
    """
    inside = ~ends
    inside[-1] = False
    if inside.sum() < 4 * _AT_LEAST:
        return None
    nth = _steps_in_episode(ends)
    order = np.argsort(surprise[inside], kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = (np.arange(len(order)) + 0.5) / len(order)
    rank = np.zeros(len(ends))
    rank[inside] = -np.log1p(-ranks)  # exponential if all is chance
    most = int(min(nth.max(initial=0) + 1, _LONGEST))
    total = np.bincount(nth[inside], rank[inside], most)[:most]
    count = np.bincount(nth[inside], minlength=most)[:most]
    likely = _likely(_at_multiples(total), _at_multiples(count)).tolist()
    likely = (limit for limit in likely if _alone(surprise, inside, nth, limit))
    return next(likely, None)


def _at_multiples(values: np.ndarray) -> np.ndarray:
    """The sums of the values (n,) of steps 1, 2, ... over the multiples of 2, 3, ..., n steps."""
    most = len(values)
    small = math.isqrt(most)
    sums = np.zeros(most + 1, values.dtype)
    sums[2 : small + 1] = [values[limit - 1 :: limit].sum() for limit in range(2, small + 1)]
    for times in range(1, most // (small + 1) + 1):  # larger limits have few multiples
        multiples = values[times * (small + 1) - 1 :: times]
        sums[small + 1 : small + 1 + len(multiples)] += multiples
    return sums[2:]


def _likely(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Limits that chance does not explain, the likeliest first.

    Args:
        sums: sums of the ranks at the multiples of 2, 3, ... steps.
        counts: number of ranks in each sum.
    """
    limits = np.arange(2, len(sums) + 2)
    high = sums >= 0.6 * counts * (np.log(limits) + 1)
    tried = np.flatnonzero((counts >= _AT_LEAST) & high)
    # The tail of the gamma distribution far above its mean, without SciPy's import.
    n, total = counts[tried].astype(np.float64), np.maximum(sums[tried], counts[tried])
    gamma = np.array([math.lgamma(count) for count in n])
    chance = (n - 1) * np.log(total) - total - gamma - np.log(1 - (n - 1) / total)
    chance += np.log(len(sums) + 1)
    best = np.argsort(chance)[:_TRIED]
    return limits[tried[best[chance[best] < _CHANCE]]]


def _alone(surprise: np.ndarray, inside: np.ndarray, nth: np.ndarray, limit: int) -> bool:
    """Whether the surprise of most rows at the multiples is far above that of the rows around.

    The row after a jump is not compared, because its prediction continues the jump.
    """
    at = np.flatnonzero(inside & (nth % limit == limit - 1))
    at = at[(at > 0) & (at < len(surprise) - 2)]
    around = np.maximum(surprise[at - 1], surprise[at + 2])
    return len(at) >= _AT_LEAST and float(np.mean(surprise[at] > _TOWERS * around)) >= _MOST


def far_jumps(surprise: np.ndarray, ends: np.ndarray, obs: np.ndarray) -> int:
    """Single rows inside episodes after which the observations jump far more than anywhere else.

    Where first states of episodes are known, only jumps to such states count. A plant that hits a
    stop jumps, too.
    """
    inside = np.flatnonzero(~ends)
    inside = inside[(inside > 0) & (inside < len(surprise) - 2)]
    if len(inside) < 100:
        return 0
    far = inside[surprise[inside] > _FAR * np.quantile(surprise[inside], 0.99)]
    around = np.maximum(surprise[far - 1], surprise[far + 2])
    far = far[surprise[far] > _FAR * around]
    starts = np.append(0, np.flatnonzero(ends[:-1]) + 1)
    if len(far) == 0 or len(starts) < _FEW_STARTS:
        return len(far)
    with np.errstate(invalid="ignore", over="ignore"):
        obs = obs.astype(np.float64)
        low, high = obs[starts].min(axis=0), obs[starts].max(axis=0)
        room = np.maximum(high - low, np.abs(obs[inside + 1] - obs[inside]).mean(axis=0))
        beyond = np.maximum(low - obs[far + 1], obs[far + 1] - high) > room
    return int((beyond.mean(axis=1) < _OTHER_ENTRIES).sum())


def surprises(log: Log, ends: np.ndarray) -> np.ndarray:
    """(n,) how far the observation of most dimensions is from a prediction by the rows before.

    A step is predicted linearly from the step before it, the observation and the action. The errors
    are scaled by their root mean square. The result is their lower median over the dimensions, so
    that a set-point or a counter alone makes no jump. It is 0 for the first step of an episode. Of
    a large log only the first rows are used.

    Args:
        log: a log whose rows are consecutive.
        ends: (n,) bool, ends that are known.
    """
    rows = min(log.size, _ROWS)
    found = np.zeros(rows)
    if rows < _AT_LEAST:
        return found
    step = np.zeros((rows, log.obs.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for part in blocks(rows - 1, 3 * log.obs[:1].nbytes):
            pair = log.obs[part.start : part.stop + 1].astype(np.float64)
            step[part] = pair[1:] - pair[:-1]
        step = np.nan_to_num(step, copy=False, posinf=0.0, neginf=0.0)
        scale = np.sqrt(np.mean(step.astype(np.float64) ** 2, axis=0))
    moving = np.flatnonzero((scale > 0) & np.isfinite(scale))
    known = np.append(False, ~ends[: rows - 2] & ~ends[1 : rows - 1])  # rows with a step before
    known = np.flatnonzero(np.append(known, False))
    if len(moving) == 0 or len(known) < _AT_LEAST:
        return found
    step = step[:, moving] / scale[moving].astype(np.float32)
    features = _Features(step, _standard(log.obs[:rows]), _standard(log.action[:rows]))
    sample = known[:: max(1, len(known) // _FITTED)]
    weights = fitted_weights(features.of(sample), step[sample]).astype(np.float32)
    middle = (len(moving) - 1) // 2
    size = np.sqrt(np.mean((step[sample] - features.of(sample) @ weights) ** 2, axis=0))
    size = np.maximum(size, 1e-6)  # rounding
    for part in blocks(len(known), 4 * weights.shape[0]):
        error = np.abs(step[known[part]] - features.of(known[part]) @ weights) / size
        found[known[part]] = np.partition(error, middle, axis=1)[:, middle]
    return found


@dataclass(frozen=True, eq=False)
class _Features:
    step: np.ndarray  # (n, moving) scaled
    obs: np.ndarray  # (n, obs_dim) standardised
    action: np.ndarray

    def of(self, rows: np.ndarray) -> np.ndarray:
        ones = np.ones((len(rows), 1), np.float32)
        return np.column_stack([self.step[rows - 1], self.obs[rows], self.action[rows], ones])


def _standard(values: np.ndarray) -> np.ndarray:
    """The values with zero mean and unit spread, float32; values that are not finite become 0."""
    values = values.reshape(len(values), -1)
    with np.errstate(over="ignore", invalid="ignore"):
        sample = values[:: max(1, len(values) // _FITTED)].astype(np.float64)
        mean, spread = np.nan_to_num(sample.mean(axis=0)), np.nan_to_num(sample.std(axis=0))
        out = np.empty(values.shape, np.float32)
        for part in blocks(len(values), 2 * values[:1].nbytes):
            out[part] = (values[part] - mean) / np.where(spread > 0, spread, 1.0)
    return np.nan_to_num(out, copy=False, posinf=0.0, neginf=0.0)


def _steps_in_episode(ends: np.ndarray) -> np.ndarray:
    """(n,) number of rows of the same episode before each row."""
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
