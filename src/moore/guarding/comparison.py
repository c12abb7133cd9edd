"""Is the acting policy worse than the reference? A comparison that may be read at any time.

The hypothesis is that there is a level m such that every return of the reference has a mean of at
most m, and every return of the acting policy one of at least m - tolerance, each given all returns
before it. For every small interval of m, one bettor bets that the reference earns more, another
that the acting policy earns less. If m is there, the product of what both have is an e-process, so
the least product over all intervals reaches 1/error with probability `error` at most, at any time
(Waudby-Smith & Ramdas 2023, section 4, for each of the two; the minimum over the unknown level is
the e-process of a hypothesis with many members: Ramdas, Grünwald, Vovk & Shafer 2023).

Returns are clipped to a range that is fixed beforehand, and means are those of clipped returns. So
returns need no bounds and may have heavy tails. What a policy earns above the upper end does not
count in its favour, and how far a failure lies below the lower end does not count against it.

The levels form a grid. Within a cell, the reference is tested against the cell's upper end and the
acting policy against its lower end, which can only make both bettors poorer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.betting import (
    Detector,
    Values,
    Wealth,
    first_detector,
    first_wealth,
)
from moore.numbers import check_numbers

_CELLS = 32
# The range of returns, in robust standard deviations around the reference's median. Low returns
# are what is looked for, so there is more room below. Chosen by benchmarks/guard_simulation.py.
BELOW, ABOVE = 4.0, 1.0
# Share of the reference's returns that set the range, and the least number of them.
_FOR_RANGE, _LEAST = 0.25, 5
# The interquartile range of a normal distribution, in standard deviations.
_QUARTILES = 1.349


@dataclass(frozen=True)
class Range:
    """The range that returns are clipped to.

    Attributes:
        low, high: its ends, in the units of returns.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        check_numbers("the range of returns", low=self.low, high=self.high)
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError(
                f"the range of returns is {self.low} to {self.high}; expected two finite numbers, "
                "the lower one first."
            )

    def scaled(self, returns: Values) -> Values:
        """Returns as numbers in [0, 1]."""
        inside = np.clip(returns, self.low, self.high)
        return (inside - self.low) / (self.high - self.low)


def split_reference(
    returns: Sequence[float] | Float[np.ndarray, " episodes"],
) -> tuple[Range, list[float]]:
    """The range that the first returns of the reference suggest, and the other returns.

    The returns that set the range are not compared with anything, because a range that depends on
    the returns it is used for would invalidate the error probability.

    Args:
        returns: the reference's returns in the order of time; at least 10.

    Raises:
        InputError: there are too few of them, they are not finite, or they are all the same.
    """
    values = np.asarray(returns, float)
    if values.ndim != 1 or len(values) < 2 * _LEAST or not np.isfinite(values).all():
        raise InputError(
            f"the reference has {values.size} returns of whole episodes; expected at least "
            f"{2 * _LEAST}, all of them finite. Let it act for longer, give the range of returns "
            "yourself, or test no returns (returns=None, in a file of limits 'none'): a process "
            "without end is watched by its signals."
        )
    first = episodes_for_range(len(values))
    low, high = map(float, range_of(values[:first]))
    if low == high:
        raise InputError(
            f"the first {first} returns of the reference are all {low:g}, which says nothing about "
            "the size of a loss; give the range of returns yourself."
        )
    return Range(low, high), values[first:].tolist()


def episodes_for_range(count: int) -> int:
    """How many of the reference's first episodes set the range."""
    return max(_LEAST, round(_FOR_RANGE * count))


def range_of(returns: Float[np.ndarray, "*runs episodes"]) -> tuple[Values, Values]:
    """Lower and upper end of the range that these returns suggest; equal if they are all equal."""
    low, middle, high = np.quantile(returns, [0.25, 0.5, 0.75], axis=-1)
    spread = (high - low) / _QUARTILES
    spread = np.where(spread > 0.0, spread, returns.std(axis=-1))
    return middle - BELOW * spread, middle + ABOVE * spread


@dataclass(frozen=True, eq=False)
class Comparison:
    """The state of a comparison. Arrays may have leading axes of runs, for simulations.

    Attributes:
        range: range that returns are clipped to.
        reference: what was won by betting that the reference earns more than the level.
        acting: what was won by betting that the acting policy earns less.
    """

    range: Range
    reference: Wealth
    acting: Detector

    def after_reference(self, returns: Values) -> "Comparison":
        """The comparison after an episode of the reference."""
        # Betting that values are high is betting that 1 - value is low.
        return replace(self, reference=self.reference.after(1.0 - self.range.scaled(returns)))

    def after_acting(self, returns: Values) -> "Comparison":
        """The comparison after an episode of the policy that is watched."""
        return replace(self, acting=self.acting.after(self.range.scaled(returns)))

    def restarted(self) -> "Comparison":
        """A new test of the acting policy; what is known of the reference stays."""
        runs = self.acting.money.shape[:-2]
        return replace(self, acting=first_detector(self.acting.levels, runs))

    def evidence(self) -> Values:
        """How much speaks for a loss: alarm when it reaches 1/error."""
        return np.min(self.reference.total * self.acting.total, axis=-1)


def first_comparison(
    range: Range, *, tolerance: float = 0.0, runs: tuple[int, ...] = ()
) -> Comparison:
    """A comparison before the first return.

    Args:
        range: range that returns are clipped to.
        tolerance: loss of mean return that is no reason for an alarm, in the units of returns.
        runs: leading axes, for simulations.

    Raises:
        InputError: the tolerance is negative or not finite.
    """
    if not 0.0 <= tolerance < np.inf:
        raise InputError(f"the tolerance is {tolerance}; expected a number that is not negative.")
    ends = np.linspace(0.0, 1.0, _CELLS + 1)
    below = ends[:-1] - tolerance / (range.high - range.low)
    return Comparison(range, first_wealth(1.0 - ends[1:], runs), first_detector(below, runs))
