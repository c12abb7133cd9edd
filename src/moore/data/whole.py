"""The whole episodes of a log: those that the recording has not cut short."""

import numpy as np
from jaxtyping import Bool, Float, Int

from moore.data.dataset import Dataset

# An episode is whole that the system ended, or that is as long as others up to a row or so.
_WHOLE = 0.99


def are_whole(log: Dataset, steps: int) -> Bool[np.ndarray, " episodes"]:
    """For each episode of the log's rows whether it is whole.

    Args:
        log: the log. Rows after its last end are an episode, too.
        steps: largest number of steps of an episode.
    """
    ends = log.terminated | log.truncated
    stop = np.flatnonzero(np.append(ends[:-1], True)) + 1
    return log.terminated[stop - 1] | (np.diff(stop, prepend=0) >= _WHOLE * steps - 1)


def whole_returns(log: Dataset, steps: int) -> Float[np.ndarray, " whole"]:
    """The returns of the whole episodes, in the order of the log.

    Where a table has a gap, an episode ends early without the system's doing; what it earned until
    then is not what an episode earns. A whole one that lacks a row or so, because its successor is
    unknown, counts as if it had earned as much in that as in the others.

    Args:
        log: the log.
        steps: largest number of steps of an episode.

    Returns:
        (whole,) float64, undiscounted, in the log's units.
    """
    returns, lengths = log.episode_returns, log.episode_lengths
    ended, whole = np.zeros(len(returns), bool), lengths >= _WHOLE * steps
    if (last := _last_rows(log)) is not None:
        ended = log.terminated[last]
        whole = whole | are_whole(log, steps)[: len(returns)]
    elif log.has_terminals:  # some episodes have left no row, so it is not known which ones ended
        return returns
    scale = np.where(ended, 1.0, steps / lengths)
    return (returns * scale)[whole]


def comparable_returns(log: Dataset, steps: int) -> Float[np.ndarray, " some"]:
    """The returns with which those of a live system can be compared, in the order of the log.

    These are the returns of the whole episodes. Where most rows lie in shorter ones, as in batches
    that take as long as they take, all episodes count that came to their end.

    Args:
        log: the log.
        steps: largest number of steps of an episode.

    Returns:
        (some,) float64, undiscounted, in the log's units.
    """
    short = log.episode_lengths < _WHOLE * steps - 1
    if (last := _last_rows(log)) is not None:
        short &= ~log.terminated[last]
    if log.episode_lengths[short].sum() > 0.5 * log.episode_lengths.sum():
        return log.episode_returns
    return whole_returns(log, steps)


def earned_a_step(log: Dataset, steps: int) -> Float[np.ndarray, " some"]:
    """What each episode earned a step: the whole ones, if any; a few bad steps are no episode.

    Args:
        log: the log.
        steps: largest number of steps of an episode.

    Returns:
        (some,) float64, in the log's units.
    """
    earned = log.episode_returns / log.episode_lengths
    if _last_rows(log) is None:
        return earned
    whole = are_whole(log, steps)[: len(earned)]
    return earned[whole] if whole.any() else earned


def _last_rows(log: Dataset) -> Int[np.ndarray, " episodes"] | None:
    """The last row of each episode that has a return; None if some have left no row."""
    last = np.flatnonzero(log.terminated | log.truncated)
    return last if len(last) == len(log.episode_returns) else None
