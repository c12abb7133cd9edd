"""Which part of a log is worth cloning, by a rule that uses only the log.

Episodes are ranked by their returns. The part consists of the best tenth of the rows, and of every
other episode whose return is nearly as high. So if two policies made the log, the part is all of
the better one; if one policy made it, its luckier episodes; and if the returns do not differ, the
whole log.

The return of an episode that a recording cut short is unknown. Such an episode is not ranked,
unless they hold most of the log: then each is extended, at its own mean reward a step, to the
length of the longest episode.
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
    """The m episodes of a log of n rows; the rows after the last end also count as an episode.

    Attributes:
        first: first row of each episode.
        stop: row after the last one of each episode.
        worth: undiscounted return; for an episode that was cut short, the extrapolated return.
        ranked: whether the episode takes part in the choice.
    """

    first: Int[np.ndarray, " m"]
    stop: Int[np.ndarray, " m"]
    worth: Float[np.ndarray, " m"]
    ranked: Bool[np.ndarray, " m"]

    @property
    def lengths(self) -> Int[np.ndarray, " m"]:
        """Number of rows of each episode."""
        return self.stop - self.first


@dataclass(frozen=True)
class Part:
    """Episodes of a log to clone.

    Attributes:
        rows: indices of their rows in the log, in its order.
        returns: their returns, the best first; see `LoggedEpisodes.worth`.
        lengths: their numbers of rows, in the order of the returns.
        log_return: mean return of all ranked episodes of the log.
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
        """Standard deviation of the episodes' returns; 0 for a single episode."""
        return float(self.returns.std())


def logged_episodes(
    reward: Float[np.ndarray, " n"],
    terminated: Bool[np.ndarray, " n"],
    truncated: Bool[np.ndarray, " n"],
) -> LoggedEpisodes:
    """The episodes of a log with their returns."""
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
    """Chooses the episodes to clone.

    Args:
        episodes: episodes of the whole log.
        share: choose the best episodes that hold this share of the ranked rows; with None, the rule
            of this module applies.
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
    """The lowest worth among the best episodes that together have the wanted number of rows.

    Args:
        worth: worth of the episodes, the best first.
        rows: cumulative numbers of rows, in the same order.
        wanted: number of rows.
    """
    return float(worth[min(int(np.searchsorted(rows, wanted)), len(rows) - 1)])


def _part(episodes: LoggedEpisodes, chosen: Int[np.ndarray, " k"], log_return: float) -> Part:
    kept = np.zeros(int(episodes.stop[-1]), bool)
    for episode in chosen:
        kept[episodes.first[episode] : episodes.stop[episode]] = True
    lengths = episodes.lengths[chosen]
    return Part(np.flatnonzero(kept), episodes.worth[chosen], lengths, log_return)
