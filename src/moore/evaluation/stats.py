"""Statistics over seeds and tasks, as Agarwal et al. (2021), "Deep RL at the Edge of the
Statistical Precipice", recommend: interquartile means with stratified bootstrap intervals, and the
probability of improvement.

Scores are given as one array of seeds for each task; the numbers of seeds may differ. With few
seeds the interval is computed from all possible resamples, so it does not depend on random draws.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from scipy import special, stats

Scores = Sequence[np.ndarray]
Values = np.ndarray | np.floating

RESAMPLES = 2000
CONFIDENCE = 0.95
# Up to so many resamples are all listed: one task of 8 seeds has 6435, two of 4 have 1225.
LISTED = 10_000


@dataclass(frozen=True)
class Estimate:
    """A statistic and its bootstrap interval.

    Attributes:
        value: the statistic of all seeds.
        low, high: 95% percentile interval; None if no task has two seeds.
        seeds: number of values that went into it.
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
    """P(a seed of ours beats one of theirs), as a mean over tasks; a tie counts one half.

    Args:
        ours, theirs: scores for the same tasks, in the same order.

    Raises:
        ValueError: the numbers of tasks differ.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} tasks against {len(theirs)}.")
    tasks = len(ours)

    def statistic(*samples: np.ndarray, axis: int = -1) -> Values:
        wins = [_wins(a, b) for a, b in zip(samples[:tasks], samples[tasks:], strict=True)]
        return np.mean(wins, axis=0)

    return _estimate(statistic, [*ours, *theirs])


def sign_flip(differences: Float[np.ndarray, " pairs"]) -> float:
    """P-value of the exact two-sided sign-flip test of paired differences.

    It is the share of all 2^pairs choices of signs whose mean is at least as far from 0.
    """
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    return float(test.pvalue)


def holm(chances: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """The p-values of several tests, adjusted by Holm (1979) for the number of tests."""
    order = np.argsort(chances)
    scaled = chances[order] * np.arange(len(chances), 0, -1)
    adjusted = np.empty(len(chances))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _wins(a: np.ndarray, b: np.ndarray) -> Values:
    """Share of the pairs that `a` wins, which is Mann and Whitney's U over the number of pairs."""
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
    if math.prod(math.comb(2 * task.size - 1, task.size) for task in scores) <= LISTED:
        return Estimate(value, *_listed(statistic, scores), count)
    return Estimate(value, *_drawn(statistic, scores), count)


def _listed(statistic: Callable, scores: Scores) -> tuple[float, float]:
    """The interval over all possible resamples, each weighted with its probability."""
    multisets = [_multisets(task.size) for task in scores]
    which = np.indices([len(drawn) for drawn, _ in multisets]).reshape(len(scores), -1)
    samples, likely = [], np.ones(which.shape[1])
    for task, (drawn, chance), rows in zip(scores, multisets, which, strict=True):
        samples.append(task[drawn[rows]])
        likely *= chance[rows]
    values = statistic(*samples, axis=-1)
    order = np.argsort(values)
    tail = (1.0 - CONFIDENCE) / 2
    places = np.searchsorted(np.cumsum(likely[order]), [tail, 1.0 - tail])
    low, high = values[order][places]
    return float(low), float(high)


@cache
def _multisets(size: int) -> tuple[Int[np.ndarray, "ways size"], Float[np.ndarray, " ways"]]:
    """All ways to draw `size` of `size` values with replacement, and their probabilities."""
    ways = itertools.combinations_with_replacement(range(size), size)
    drawn = np.array(list(ways))
    counts = (drawn[:, :, None] == np.arange(size)).sum(axis=1)
    orders = special.gammaln(size + 1) - special.gammaln(counts + 1).sum(axis=1)
    return drawn, np.exp(orders - size * math.log(size))


def _drawn(statistic: Callable, scores: Scores) -> tuple[float, float]:
    """The interval over random resamples, drawn with a fixed seed."""
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
    return float(low), float(high)
