"""Tests of a mean that may be read after every value: wealth that is won by betting against it.

Bet on "the next value is lower than `level` says", with odds that are fair, or worse than fair,
as long as the mean is at least `level`. Whoever becomes rich this way has shown that it is not:
by Ville's inequality the wealth ever reaches 1/error with probability `error` at most, however
often it is read and whenever one stops. Only this is assumed: values lie in [0, 1], and each one's
mean, given everything before it, is at least `level`. They need not be independent, nor have the
same distribution. (Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by
betting", section 4; Ramdas, Grünwald, Vovk & Shafer 2023, "Game-theoretic statistics and safe
anytime-valid inference".)

A fault may come late. So not all is bet from the beginning: a part of the money waits for every
later moment: e-processes that begin at every time are added up, as in Shin, Ramdas & Rinaldo 2024,
"E-detectors", but with weights that sum to 1, so that the error probability holds for ever.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

# Bets as shares of the largest one that cannot lose more than is there. Money is split evenly
# between them. Chosen by benchmarks/guard_simulation.py.
SHARES = np.array([0.1, 0.3, 0.9])
# Levels are kept this far below 1, where the largest bet is infinite.
_BELOW_ONE = 1e-6
# More money than this is given away, which cannot help an alarm.
_MOST = 1e100

# One number, or one for each run that is simulated at the same time.
Values = float | Float[np.ndarray, "*runs"]
Levels = Float[np.ndarray, " levels"]
Money = Float[np.ndarray, "*runs bets levels"]


def factors(values: Values, levels: Levels) -> Money:
    """What every bet's money is multiplied by: 1 + share (level - value) / (1 - level).

    Args:
        values: in [0, 1].
        levels: in [0, 1]; each is tested by bets of its own.
    """
    lower = np.clip(levels, 0.0, 1.0 - _BELOW_ONE)
    largest = SHARES[:, None] / (1.0 - lower)
    grown = np.multiply(np.asarray(values)[..., None, None], -largest)
    grown += 1.0 + largest * lower
    return grown


@dataclass(frozen=True, eq=False)
class Wealth:
    """Money won from "the mean is at least `level`", all of it bet from the beginning.

    Attributes:
        levels: tested levels.
        money: for each run, bet and level.
    """

    levels: Levels
    money: Money

    def after(self, values: Values) -> "Wealth":
        """The wealth after the next values, which lie in [0, 1]."""
        money = self.money * factors(values, self.levels)
        return Wealth(self.levels, np.minimum(money, _MOST, out=money))

    @cached_property
    def total(self) -> Float[np.ndarray, "*runs levels"]:
        """The wealth; it was 1 at the beginning."""
        return _mean_of_bets(self.money)


def first_wealth(levels: Levels, runs: tuple[int, ...] = ()) -> Wealth:
    """Wealth 1, before the first value."""
    return Wealth(levels, np.ones((*runs, len(SHARES), len(levels))))


@dataclass(frozen=True, eq=False)
class Detector:
    """Money won from "the mean is at least `level`", for a change at any time.

    Of the money, 1/(t (t + 1)) is bet from the t-th value on.

    Attributes:
        levels: tested levels.
        money: money that is bet already.
        count: number of values so far.
    """

    levels: Levels
    money: Money
    count: int = 0

    def after(self, values: Values) -> "Detector":
        """The detector after the next values, which lie in [0, 1]."""
        count = self.count + 1
        money = factors(values, self.levels)
        money *= self.money + 1.0 / (count * (count + 1))
        return Detector(self.levels, np.minimum(money, _MOST, out=money), count)

    @cached_property
    def total(self) -> Float[np.ndarray, "*runs levels"]:
        """The wealth, with the money that still waits; it was 1 at the beginning."""
        return _mean_of_bets(self.money) + 1.0 / (self.count + 1)


def first_detector(levels: Levels, runs: tuple[int, ...] = ()) -> Detector:
    """Wealth 1, before the first value."""
    return Detector(levels, np.zeros((*runs, len(SHARES), len(levels))))


def _mean_of_bets(money: Money) -> Float[np.ndarray, "*runs levels"]:
    return np.einsum("...bl->...l", money) / len(SHARES)
