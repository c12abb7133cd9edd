"""Statistics over seeds and tasks, as Agarwal et al. (2021), "Deep RL at the Edge of the
Statistical Precipice", recommend: interquartile means with stratified bootstrap intervals, and the
probability of improvement.

Scores come as one array of seeds a task; the numbers of seeds may differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Scores = Sequence[np.ndarray]
Values = np.ndarray | np.floating

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A statistic and its bootstrap interval.

    Attributes:
        value: of all seeds.
        low, high: 95% percentile interval; None where no task has two seeds.
        seeds: how many values it is made of.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int


def iqm(scores: Scores) -> Estimate:
    """Mean of the middle half of all values, tasks and seeds alike."""
    return _estimate(_trimmed, scores)


def mean(scores: Scores) -> Estimate:
    return _estimate(_mean, scores)


def probability_of_improvement(ours: Scores, theirs: Scores) -> Estimate:
    """P(a seed of ours beats one of theirs), the mean over tasks; a tie counts one half.

    Args:
        ours, theirs: for the same tasks, in the same order.

    Raises:
        ValueError: different numbers of tasks.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks against {len(theirs)}.")
    tasks = len(ours)

    def statistic(*samples: np.ndarray, axis: int = -1) -> Values:
        wins = [_wins(a, b) for a, b in zip(samples[:tasks], samples[tasks:], strict=True)]
        return np.mean(wins, axis=0)

    return _estimate(statistic, [*ours, *theirs])


def _wins(a: np.ndarray, b: np.ndarray) -> Values:
    """Share of the pairs that `a` wins: Mann and Whitney's U over the number of pairs."""
    a, b = a[..., :, None], b[..., None, :]
    return ((a > b) + 0.5 * (a == b)).mean(axis=(-1, -2))


def _trimmed(*samples: np.ndarray, axis: int = -1) -> Values:
    return stats.trim_mean(np.concatenate(samples, axis=axis), 0.25, axis=axis)


def _mean(*samples: np.ndarray, axis: int = -1) -> Values:
    return np.concatenate(samples, axis=axis).mean(axis=axis)


def _estimate(statistic: Callable, scores: Scores) -> Estimate:
    """The statistic with its interval: every task's seeds are resampled on their own."""
    scores = [np.asarray(task, np.float64) for task in scores]
    if any(task.ndim != 1 or not task.size for task in scores) or not scores:
        raise ValueError("expected at least one task, with at least one seed each.")
    value, count = float(statistic(*scores)), sum(task.size for task in scores)
    if max(task.size for task in scores) < 2:
        return Estimate(value, None, None, count)
    many = [task.size > 1 for task in scores]

    def resampled(*samples: np.ndarray, axis: int = -1) -> Values:
        """scipy wants two values to resample; the lone seed of a task stays as it is."""
        drawn = iter(samples)
        shape = samples[0].shape[:-1]
        full = [
            next(drawn) if moves else np.broadcast_to(task, (*shape, 1))
            for task, moves in zip(scores, many, strict=True)
        ]
        return statistic(*full, axis=axis)

    result = stats.bootstrap(
        [task for task, moves in zip(scores, many, strict=True) if moves],
        resampled,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return Estimate(value, float(low), float(high), count)
