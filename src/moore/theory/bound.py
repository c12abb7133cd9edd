"""Both sides of a statement left <= right, and the possible readings of r_max and V_max."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from moore.errors import InputError
from moore.theory.mdp import TabularMDP, value_range

Reading = Literal["literal", "literal_start", "abs", "range"]
"""How to read V_max = max V^pi(s): `literal` is the printed form, over all h; `literal_start`
takes h = 0 only; `abs` takes the absolute value; `range` is the highest minus the lowest value."""


@dataclass(frozen=True, eq=False)
class Bound:
    """Both sides of a bound on one instance.

    Attributes:
        name: name of the statement.
        lhs: the left side; it may be negative if the statement is one-sided.
        terms: the summands of the right side, by name.
        trivial: a gap that no two policies can exceed, see `trivial_gap`.
        effective_horizon: effective horizon of the MDPs; rounding grows with its square.
        arrays: further results, such as the policies.
    """

    name: str
    lhs: float
    terms: Mapping[str, float]
    trivial: float
    effective_horizon: float
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def rhs(self) -> float:
        """The right side."""
        return float(sum(self.terms.values()))

    @property
    def tolerance(self) -> float:
        """The largest amount that rounding may add to the left side."""
        return 1e-9 * (1.0 + abs(self.rhs)) + 1e-10 * self.effective_horizon**2

    def holds(self, tol: float | None = None) -> bool:
        """Whether left <= right, up to `tol` (default: `tolerance`)."""
        return self.lhs <= self.rhs + (self.tolerance if tol is None else tol)

    @property
    def ratio(self) -> float:
        """Left over right; if right is not positive, inf where left is positive and 0 elsewhere."""
        if self.rhs > 0:
            return self.lhs / self.rhs
        return 0.0 if self.lhs <= self.tolerance else math.inf

    @property
    def residual(self) -> float:
        """|left - right|, for statements that are identities."""
        return abs(self.lhs - self.rhs)

    @property
    def vacuous(self) -> bool:
        """Whether the right side is no smaller than the trivial gap, so that it says nothing."""
        return self.rhs >= self.trivial


def evaluated(
    name: str,
    lhs: float | np.floating,
    terms: Mapping[str, float],
    mdps: Sequence[TabularMDP],
    **arrays: np.ndarray,
) -> Bound:
    """A Bound on the returns of these MDPs, which give its trivial gap and its tolerance."""
    return Bound(name, float(lhs), terms, trivial_gap(*mdps), mdps[0].effective_horizon, arrays)


def trivial_gap(*mdps: TabularMDP) -> float:
    """The range of all rewards times the effective horizon; no two returns differ by more."""
    low = min(mdp.reward.min() for mdp in mdps)
    high = max(mdp.reward.max() for mdp in mdps)
    return float(high - low) * mdps[0].effective_horizon


def rmax(mdps: Sequence[TabularMDP]) -> float:
    """r_max of section 3.3: the largest |r(s, a)| of all MDPs."""
    return float(max(np.abs(mdp.reward).max() for mdp in mdps))


def vmax(mdps: Sequence[TabularMDP], reading: Reading = "abs") -> float:
    """V_max of section 3.3 over all MDPs, states and policies, in one of four readings.

    Raises:
        InputError: the reading is unknown.
    """
    ranges = [value_range(mdp, start_only=reading == "literal_start") for mdp in mdps]
    low, high = min(pair[0] for pair in ranges), max(pair[1] for pair in ranges)
    match reading:
        case "literal" | "literal_start":
            return high
        case "abs":
            return max(high, -low)
        case "range":
            return high - low
        case _:
            known = ", ".join(get_args(Reading))
            raise InputError(f"the reading of V_max is {reading!r}; it must be one of {known}.")
