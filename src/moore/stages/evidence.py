"""Bounds on the error of a mean of noisy returns that hold at all times at once.

A bound that is read after every episode, and acted on, must hold at all times at once. The normal
mixture (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon 2021, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", section 3.2) gives such a bound for sums whose noise is no
wider than normal noise of known scale. The scale is estimated here, on the cautious side.
"""

import math
import statistics
from collections.abc import Sequence

# The bound is narrowest after about this many episodes; a live system decides after a few.
_NARROWEST = 8.0
# The interquartile range of a normal distribution, in standard deviations.
_QUARTILES = 1.349
# The standard deviation of normal values, in medians of their distances from the median.
_MEDIAN = 1.4826
# With fewer values than this, quartiles are not used.
_ENOUGH = 8
# Smallest scatter of returns that is believed, as a share of the mean: equal returns in a few
# episodes do not mean that a controller is known without error.
LEAST_SPREAD = 0.01


def radius(count: float, error: float) -> float:
    """One-sided bound on the error of the mean of `count` values, in standard deviations.

    Args:
        count: number of episodes; a part of an episode counts as that part.
        error: probability that the bound fails at any count.
    """
    if count <= 0.0:
        return math.inf
    asked = 2.0 * math.log(0.5 / error)
    mixture = _NARROWEST / (asked + math.log1p(asked))
    widened = count + mixture
    inside = 0.5 / error * math.sqrt(widened / mixture) + 1.0
    return math.sqrt(2.0 * widened * math.log(inside)) / count


def spending(error: float, test: int) -> float:
    """Error probability of the test with this number (from 1 on); they sum up to `error`."""
    return error / (test * (test + 1))


def deviation(values: Sequence[float]) -> float:
    """Standard deviation of at least two values."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def cautious_deviation(values: Sequence[float]) -> float:
    """A standard deviation that, for normal values, is too small in one case of ten.

    It uses the approximation of the chi-squared quantile by Wilson and Hilferty (1931).
    """
    free = len(values) - 1
    quantile = free * (1.0 - 2.0 / (9.0 * free) - 1.2816 * math.sqrt(2.0 / (9.0 * free))) ** 3
    return deviation(values) * math.sqrt(free / quantile)


def half_width(values: Sequence[float], *, least: float, error: float) -> float:
    """Half of the interval of the mean of at least two values, which holds at all counts at once.

    Args:
        values: those known so far.
        least: smallest standard deviation that is believed.
        error: probability that the interval fails, on each side.
    """
    return max(cautious_deviation(values), least) * radius(float(len(values)), error)


def median_deviation(values: Sequence[float]) -> float:
    """Standard deviation by the median of the distances from the median.

    For normal values it is right, and an episode of three that went wrong hardly changes it.
    """
    middle = statistics.median(values)
    return _MEDIAN * statistics.median(abs(value - middle) for value in values)


def spread(values: Sequence[float]) -> float:
    """Robust standard deviation: a few episodes that went wrong hardly change it.

    0 for fewer than two values.
    """
    if len(values) < 2:
        return 0.0
    if len(values) < _ENOUGH:
        return deviation(values)
    ranked, quarter = sorted(values), len(values) // 4
    return (ranked[-1 - quarter] - ranked[quarter]) / _QUARTILES
