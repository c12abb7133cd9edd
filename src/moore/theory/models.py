"""Learned models: penalised by uncertainty (Eq. 2), averaged over an ensemble, or from counts."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.theory.mdp import (
    Actions,
    Pairs,
    Policy,
    TabularMDP,
    Tie,
    Transition,
    Values,
    expect,
    occupancy,
    optimal,
    tv,
)

Counts = Float[np.ndarray, "states actions states"]


def penalize(mdp: TabularMDP, uncertainty: Pairs, penalty_coef: float) -> TabularMDP:
    """M~ of a learned M^ (Eq. 2), whose reward is reduced by lambda u(s, a)."""
    return mdp.with_(reward=mdp.reward - penalty_coef * uncertainty)


def uncertainty(
    mdp: TabularMDP, function: Pairs, policy: Policy, *, normalized: bool = False
) -> float:
    """U(pi) of Lemma 1: u(s, a) weighted by the occupancy of a policy in the learned MDP, summed.

    Args:
        function: u(s, a).
        normalized: use an occupancy of mass 1; Eq. 19 needs one that is not normalised.
    """
    return expect(occupancy(mdp, policy, normalized=normalized), function)


@dataclass(frozen=True, eq=False)
class LearnedModel:
    """A learned MDP with its uncertainty, and the policy that is optimal under the penalty.

    Attributes:
        mdp: M^, with the learned dynamics and reward.
        uncertainty: u(s, a).
        penalty_coef: lambda of Eq. 2.
        tie: which of several optimal actions the policy takes.
    """

    mdp: TabularMDP
    uncertainty: Pairs
    penalty_coef: float
    tie: Tie = "first"

    @cached_property
    def penalized(self) -> TabularMDP:
        """M~, Eq. 2."""
        return penalize(self.mdp, self.uncertainty, self.penalty_coef)

    @cached_property
    def _solution(self) -> tuple[Values, Actions]:
        return optimal(self.penalized, self.tie)

    @property
    def values(self) -> Values:
        """V* of M~."""
        return self._solution[0]

    @property
    def policy(self) -> Actions:
        """pi*, an optimal policy of M~."""
        return self._solution[1]

    def total_uncertainty(self, policy: Policy, *, normalized: bool = False) -> float:
        """U(pi) of Lemma 1 in this model, see `uncertainty`."""
        return uncertainty(self.mdp, self.uncertainty, policy, normalized=normalized)


class Transfer(NamedTuple):
    """The real MDP, and the learned models of epochs t and t + 1."""

    true: TabularMDP
    old: LearnedModel
    new: LearnedModel


def check_pair(old: LearnedModel, new: LearnedModel) -> None:
    """Raises InputError unless a statement can compare the two models."""
    check_comparable(old.mdp, new.mdp)
    if old.penalty_coef != new.penalty_coef:
        raise InputError(
            f"the penalty coefficients are {old.penalty_coef} and {new.penalty_coef}; "
            "the statements have one lambda."
        )


def check_comparable(*mdps: TabularMDP) -> None:
    """Raises InputError unless the MDPs differ only in dynamics and reward."""
    first, *others = mdps
    for other in others:
        if (
            first.reward.shape != other.reward.shape
            or not np.array_equal(first.start, other.start)
            or (first.discount, first.horizon) != (other.discount, other.horizon)
        ):
            raise InputError(
                "the MDPs must have the same states, actions, start, discount and horizon."
            )


def ensemble_model(
    members: Float[np.ndarray, "members states actions states"],
) -> tuple[Transition, Pairs]:
    """The mean of an ensemble's dynamics, and u, the largest total variation from that mean."""
    mean = members.mean(0)
    return mean, np.max([tv(member, mean) for member in members], axis=0)


def weighted_mle(
    logged: Counts, online: Counts, *, offline_weight: float, prior: Transition
) -> tuple[Transition, Pairs, Counts]:
    """The model that maximises the likelihood of draws from a log and a growing buffer.

    Args:
        logged: number of times that each (s, a, s') is in the log.
        online: number of times that each is in the online data, where it has weight 1.
        offline_weight: the priority of a logged transition, f(d, t) of Eq. 4.
        prior: the dynamics for pairs without data.

    Returns:
        The dynamics, the sampling mass of each pair [states, actions], and that of each
        transition [states, actions, states], which sums to 1.

    Raises:
        InputError: no transition has a positive weight.
    """
    mass = offline_weight * logged + online
    if not 0 < mass.sum() < np.inf:
        raise InputError("no transition has a positive, finite weight; there is nothing to fit.")
    mass = mass / mass.sum()
    pairs = mass.sum(-1)
    known = pairs[..., None] > 0
    dynamics = np.where(known, mass / np.where(known, pairs[..., None], 1.0), prior)
    return dynamics, pairs, mass
