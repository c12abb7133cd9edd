"""Returns, lengths and ends of the episodes of a raw log."""

from dataclasses import dataclass

import numpy as np

from moore.data.checks import as_flags
from moore.data.columns import histogram
from moore.data.cuts import Cuts, find_cuts
from moore.data.episodes import episode_statistics
from moore.data.log import Log, told

GROUPS = 60  # of consecutive episodes, for the course of the returns along the log
_QUANTILES = {"min": 0, "p5": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "p95": 0.95, "max": 1}
_FEW_EPISODES = 20  # too few for a trend
# Fewer episodes of one step say nothing, nor do they beside others of few steps.
_FEW_SINGLE, _LONG = 3, 5


@dataclass(frozen=True)
class Flags:
    """The flags of a log, as training reads them: a row with both is terminal."""

    terminated: np.ndarray  # (n,) bool
    truncated: np.ndarray  # (n,) bool, without the terminal rows; counted where not recorded
    both: int  # rows with both flags
    cuts: Cuts | None  # where a log without time-out flags is cut; None: it has them

    @property
    def recorded(self) -> bool:
        """Whether the log has time-out flags."""
        return self.cuts is None

    @property
    def ends(self) -> np.ndarray:
        """(n,) bool: the last rows of the episodes."""
        return self.terminated | self.truncated


def read_flags(log: Log, max_episode_steps: int | None = None) -> Flags:
    """Flags of a raw log; if it has no time-outs, they are found as in training.

    Args:
        log: the rows.
        max_episode_steps: step limit of the environment that the user names.
    """
    terminated = as_flags(log.name, "terminated", log.terminated)
    if log.truncated is None:
        found = find_cuts(log, max_episode_steps)
        return Flags(terminated, found.truncated, 0, found)
    truncated = as_flags(log.name, "truncated", log.truncated)
    both = terminated & truncated
    truncated = truncated & ~terminated
    ends = told(log.metadata, "ends")  # of a log that was read as training does
    cuts = Cuts(truncated, ends["steps"], ends["source"]) if ends else None
    return Flags(terminated, truncated, int(both.sum()), cuts)


def summarize_episodes(log: Log, flags: Flags, step_limit: int | None) -> dict:
    """Keys of the summary about episodes; `step_limit` is the environment's, in steps."""
    ends = flags.ends
    returns, lengths = episode_statistics(log.reward, ends)
    last = np.flatnonzero(ends)
    tail = log.size - (int(last[-1]) + 1 if len(last) else 0)
    given = log.episode_returns is not None and log.episode_lengths is not None
    if given:  # by a source whose rows are not all there
        returns, lengths = (
            np.asarray(log.episode_returns, np.float64),
            np.asarray(log.episode_lengths, np.int64),
        )
    finite = np.isfinite(returns)
    return {
        "episodes": len(returns),
        "incomplete_rows": tail,
        "terminals": int(flags.terminated.sum()),
        "timeouts": int(flags.truncated.sum()),
        "timeouts_recorded": flags.recorded,
        "ends_source": None if flags.cuts is None else flags.cuts.source,
        "ends_steps": None if flags.cuts is None else flags.cuts.steps,
        "both_flags": flags.both,
        "staying_flags": staying_flags(lengths),
        "episode_length": spread(lengths),
        "episode_return": spread(returns[finite]),
        "length_histogram": histogram(lengths),
        "return_histogram": histogram(returns[finite]),
        "returns_along": _along(returns, finite, last if len(last) == len(returns) else None),
        "return_trend": _trend(returns[finite]),
        **_limits(log, flags, step_limit, lengths if given else None),
    }


def staying_flags(lengths: np.ndarray) -> int:
    """How many episodes of one step come from a flag that stays set after an end; 0 if none do.

    Such a step follows on most longer episodes. Episodes that by chance end at once do not.

    Args:
        lengths: (m,) steps of the episodes, in the order of the log.
    """
    single = lengths == 1
    longer = lengths[~single]
    if single.sum() < _FEW_SINGLE or not len(longer) or np.median(longer) < _LONG:
        return 0
    followed = (~single[:-1] & single[1:]).sum()
    return int(single.sum()) if followed >= 0.5 * len(longer) else 0


def spread(values: np.ndarray) -> dict[str, float] | None:
    """Mean, standard deviation and quantiles of finite values; None if there are none."""
    if len(values) == 0:
        return None
    quantiles = np.quantile(values, list(_QUANTILES.values()))
    found = {"mean": float(values.mean()), "sd": float(values.std())}
    return found | {name: float(q) for name, q in zip(_QUANTILES, quantiles, strict=True)}


def _along(returns: np.ndarray, finite: np.ndarray, last: np.ndarray | None) -> list[dict]:
    """Consecutive episodes in up to `GROUPS` groups, with the row that each group ends at."""
    groups = np.array_split(np.arange(len(returns)), max(1, min(GROUPS, len(returns))))
    along = []
    for episodes in groups:
        values = returns[episodes][finite[episodes]]
        if len(values):
            group = {"episode": int(episodes[-1]), "mean": float(values.mean())}
            group |= {"min": float(values.min()), "max": float(values.max())}
            along.append(group | {"row": None if last is None else int(last[episodes[-1]])})
    return along


def _trend(returns: np.ndarray) -> float | None:
    """Spearman's correlation of the returns with their order; None for few or equal returns."""
    if len(returns) < _FEW_EPISODES or returns.min() == returns.max():
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(np.arange(len(returns)), returns).statistic)


def _limits(log: Log, flags: Flags, limit: int | None, given: np.ndarray | None) -> dict:
    """Compares episodes with the environment's step limit; the counts are 0 if it is not known.

    Args:
        log: the rows.
        flags: flags of the rows.
        limit: the limit in steps.
        given: (m,) lengths of the complete episodes, if the source states them.
    """
    counts = {"early_timeouts": 0, "episodes_past_limit": 0}
    if limit is None:
        return counts | {"shortest_timeout": None, "longest_episode": None}
    borders = flags.ends if flags.recorded else flags.terminated
    last = np.flatnonzero(borders)
    first = np.concatenate([[0], last + 1])
    lengths = np.diff(np.concatenate([first, [log.size]]))  # the unfinished one, too
    if given is not None and flags.recorded and len(given) == len(last):
        lengths[:-1] = given
    complete = lengths[:-1]
    early = np.zeros(0, int)
    if flags.recorded:
        cut = flags.truncated[last] & (last != log.size - 1)  # a log may be cut at any length
        early = complete[cut & (complete < limit)]
    return {
        "early_timeouts": len(early),
        "shortest_timeout": int(early.min()) if len(early) else None,
        "episodes_past_limit": int((lengths > limit).sum()),
        "longest_episode": int(lengths.max()),
    }
