"""How far a mean of noisy returns may be off, whenever one looks.

A bound that is read again and again, and acted on, must hold at every moment at once. The normal
mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", section 3.2) does so for sums whose noise is no wider than a
normal one of known scale. The scale is estimated here, on the cautious side.
"""

import math
from collections.abc import Sequence

# The bound is narrowest after about this many episodes: a live system decides after a handful.
_NARROWEST = 8.0
# The interquartile range of a normal distribution, in standard deviations.
_QUARTILES = 1.349
# Fewer values than this have no quartiles worth the name.
_ENOUGH = 8


def radius(count: float, error: float) -> float:
    """How far the mean of `count` values may lie from the truth, in standard deviations, one-sided.

    Args:
        count: a part of an episode counts as that part.
        error: probability that the bound fails at any count at all.
    """
    if count <= 0.0:
        return math.inf
    asked = 2.0 * math.log(0.5 / error)
    mixture = _NARROWEST / (asked + math.log1p(asked))
    widened = count + mixture
    inside = 0.5 / error * math.sqrt(widened / mixture) + 1.0
    return math.sqrt(2.0 * widened * math.log(inside)) / count


def spending(error: float, test: int) -> float:
    """The error of the test of this number, from 1 on, so that all together err with `error`."""
    return error / (test * (test + 1))


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of two values or more."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def cautious_deviation(values: Sequence[float]) -> float:
    """A standard deviation that is too small in one case of ten, for normal values.

    By the chi-squared quantile of Wilson and Hilferty (1931).
    """
    free = len(values) - 1
    quantile = free * (1.0 - 2.0 / (9.0 * free) - 1.2816 * math.sqrt(2.0 / (9.0 * free))) ** 3
    return deviation(values) * math.sqrt(free / quantile)


def spread(values: Sequence[float]) -> float:
    """Standard deviation of most of the values: a few episodes that went wrong hardly count.

    0 for fewer than two values.
    """
    if len(values) < 2:
        return 0.0
    if len(values) < _ENOUGH:
        return deviation(values)
    ranked, quarter = sorted(values), len(values) // 4
    return (ranked[-1 - quarter] - ranked[quarter]) / _QUARTILES
