"""Expected returns with their intervals, or the reason why there is none."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from moore.numbers import counted

# Names of the estimators.
MODELS, FITTED_Q, IMPORTANCE = "the models", "fitted Q evaluation", "importance sampling"
DOUBLY_ROBUST = "doubly robust"
# Probability that an interval is meant to contain the truth, and its normal quantile.
LEVEL = 0.9
QUANTILE = float(stats.norm.ppf(0.5 + LEVEL / 2))
# With fewer episodes than this, their mean and its scatter say too little.
FEWEST = 10


@dataclass(frozen=True)
class ReturnEstimate:
    """An expected return with its 90% interval; without numbers if it was refused.

    Attributes:
        value, low, high: None if refused.
        refused: sentence that says which assumption fails; empty otherwise.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    refused: str = ""

    @property
    def known(self) -> bool:
        return self.value is not None

    @property
    def interval(self) -> tuple[float, float]:
        """`low` and `high` of a known estimate."""
        assert self.low is not None and self.high is not None
        return self.low, self.high

    def times(self, factor: float) -> "ReturnEstimate":
        """The estimate in another unit; the factor is positive."""
        numbers = (None if x is None else x * factor for x in (self.value, self.low, self.high))
        value, low, high = numbers
        return ReturnEstimate(value, low, high, self.refused)


def refused(why: str) -> ReturnEstimate:
    return ReturnEstimate(refused=why)


def within(value: float, deviation: float, *, quantile: float = QUANTILE) -> ReturnEstimate:
    """A value with a symmetric interval; refused if one of the numbers is not finite."""
    if not (np.isfinite(value) and np.isfinite(deviation)):
        return refused("Its numbers are not finite.")
    half = quantile * float(deviation)
    return ReturnEstimate(float(value), float(value) - half, float(value) + half)


def mean_of(returns: Float[np.ndarray, " episodes"]) -> ReturnEstimate:
    """The mean of independent episodes, with Student's interval."""
    count = len(returns)
    if count < FEWEST:
        return refused(
            f"The log has {counted(count, 'whole episode')}, and {FEWEST} are needed to say what "
            "its controller earns."
        )
    quantile = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1))
    return within(float(returns.mean()), returns.std(ddof=1) / np.sqrt(count), quantile=quantile)
