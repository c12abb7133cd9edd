"""Which part of a log is worth cloning, by a rule that looks at the log alone.

Episodes are ranked by what they earned. The part is the best tenth of the rows, and every other
episode that earned nearly as much as these. So where two policies made the log, it is all of the
better one; where one policy made it, its luckier episodes; and where the returns do not differ, the
whole log.

An episode that a recording cut short has no return of its own. It is not ranked, unless such
episodes hold most of the log: then each counts as if it had gone on at its own reward a step until
the length of the longest one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moore.data.episodes import episode_statistics

# Of the rows: what the best episodes must hold at least (%BC's share; Chen et al. 2021, Decision
# Transformer, section 5.1).
BEST_SHARE = 0.1
# Rows that these should be at least, as long as they are at most half of the log. Ours.
ENOUGH_ROWS = 10_000
# How far below the mean of the best ones an episode of the part may lie, as a share of the way from
# there to the mean of all. Ours: on HalfCheetah-medium-expert it parts the two policies, and on
# Hopper-medium it adds nothing to the best tenth.
TOLERANCE = 0.25
# An episode is whole that ended, or is as long as the longest one up to a row or so.
_WHOLE = 0.99
# A stretch that holds less than this share of the usual number of rows says too little of its rate.
_FRAGMENT = 0.5


@dataclass(frozen=True)
class LoggedEpisodes:
    """The m episodes of a log of n rows; the rows after its last end are one, too.

    Attributes:
        first: row that it begins with.
        stop: row after its last.
        worth: undiscounted return; of one that was cut short, what it would have become at its own
            reward a step.
        ranked: whether it takes part in the choice.
    """

    first: Int[np.ndarray, " m"]
    stop: Int[np.ndarray, " m"]
    worth: Float[np.ndarray, " m"]
    ranked: Bool[np.ndarray, " m"]

    @property
    def lengths(self) -> Int[np.ndarray, " m"]:
        """Rows of each."""
        return self.stop - self.first


@dataclass(frozen=True)
class Part:
    """Episodes of a log that are cloned.

    Attributes:
        rows: indices of their rows in the log, in its order.
        returns: what each of them earned, the best first; see `LoggedEpisodes.worth`.
        lengths: their rows, in the same order.
        log_return: what the episodes of the log that could be ranked earned on average.
    """

    rows: Int[np.ndarray, " rows"]
    returns: Float[np.ndarray, " episodes"]
    lengths: Int[np.ndarray, " episodes"]
    log_return: float

    @property
    def mean_return(self) -> float:
        return float(self.returns.mean())

    @property
    def sd_return(self) -> float:
        """Standard deviation of the episodes' returns; 0 of a single one."""
        return float(self.returns.std())

    def report(self) -> dict[str, float | int]:
        """For a run's summary; `return` stands for the clone's until that is evaluated."""
        return {
            "return": self.mean_return,
            "return_sd": self.sd_return,
            "log_return": self.log_return,
            "episodes": len(self.returns),
            "rows": len(self.rows),
        }


def logged_episodes(
    reward: Float[np.ndarray, " n"],
    terminated: Bool[np.ndarray, " n"],
    truncated: Bool[np.ndarray, " n"],
) -> LoggedEpisodes:
    """The episodes of a log, and what each of them is worth."""
    ends = terminated | truncated
    ends[-1] = True
    earned, lengths = episode_statistics(reward, ends)
    stop = np.flatnonzero(ends) + 1
    longest = lengths.max()
    whole = terminated[stop - 1] | (lengths >= _WHOLE * longest)
    worth = np.where(whole, earned, earned / lengths * longest)
    if 2 * lengths[~whole].sum() <= len(reward):
        return LoggedEpisodes(stop - lengths, stop, worth, ranked=whole)
    usual = np.median(np.repeat(lengths, lengths))
    return LoggedEpisodes(stop - lengths, stop, worth, whole | (lengths >= _FRAGMENT * usual))


def better_part(episodes: LoggedEpisodes, *, share: float | None = None) -> Part:
    """The episodes to clone.

    Args:
        episodes: of the whole log.
        share: None: the rule of this module. Else the best episodes that hold this share of the
            ranked rows; 1: all of them.
    """
    ranked = np.flatnonzero(episodes.ranked)
    order = ranked[np.argsort(-episodes.worth[ranked], kind="stable")]
    worth, rows = episodes.worth[order], np.cumsum(episodes.lengths[order])
    everything = float(worth.mean())
    if share is not None:
        least = _worth_at(worth, rows, share * rows[-1])
    else:
        enough = max(BEST_SHARE * rows[-1], min(ENOUGH_ROWS, 0.5 * rows[-1]))
        least_of_best = _worth_at(worth, rows, enough)
        best = float(worth[worth >= least_of_best].mean())
        least = min(least_of_best, best - TOLERANCE * (best - everything))
    return _part(episodes, order[worth >= least], everything)


def _worth_at(worth: Float[np.ndarray, " m"], rows: Int[np.ndarray, " m"], wanted: float) -> float:
    """The worth of the last of the best episodes that are needed for so many rows.

    Args:
        worth: of the episodes, the best first.
        rows: of the first one, of the first two, and so on.
        wanted: rows.
    """
    return float(worth[min(int(np.searchsorted(rows, wanted)), len(rows) - 1)])


def _part(episodes: LoggedEpisodes, chosen: Int[np.ndarray, " k"], log_return: float) -> Part:
    kept = np.zeros(int(episodes.stop[-1]), bool)
    for episode in chosen:
        kept[episodes.first[episode] : episodes.stop[episode]] = True
    lengths = episodes.lengths[chosen]
    return Part(np.flatnonzero(kept), episodes.worth[chosen], lengths, log_return)
