"""One-sided corrected statements: what a single model guarantees before its policy is deployed.

None is in the paper. All compare the real return of any old policy with that of a new one, and
need no closeness of consecutive models.
"""

import math

import numpy as np

from moore.errors import InputError
from moore.theory.bound import Bound, evaluated, trivial_gap
from moore.theory.mdp import Pairs, Policy, TabularMDP, eta, l1, start_mean
from moore.theory.models import LearnedModel, check_comparable, check_pair
from moore.theory.transfer import errors_along


def drop_bound(
    true: TabularMDP, new: LearnedModel, old_policy: Policy, new_policy: Policy | None = None
) -> Bound:
    """The real return of any old policy less that of the new one: the drop, with its sign.

    It is at most lambda times the difference of the two policies' total uncertainties in the new
    model, plus that model's errors along both. A negative right side is a certain improvement.

    Args:
        new: the model of epoch t + 1.
        old_policy: any policy, such as that of epoch t or the offline one.
        new_policy: the policy deployed; the optimal one of the new penalised MDP by default.
            Another one adds what it falls short of it there.

    Raises:
        InputError: MDPs that cannot be compared.
    """
    check_comparable(true, new.mdp)
    deployed = new.policy if new_policy is None else new_policy
    difference = new.total_uncertainty(old_policy) - new.total_uncertainty(deployed)
    terms = {
        "uncertainty": new.penalty_coef * difference,
        "error_old": sum(errors_along(true, new.mdp, old_policy).values()),
        "error_new": sum(errors_along(true, new.mdp, deployed).values()),
    }
    if new_policy is not None:
        best = start_mean(new.penalized, new.values)
        terms["suboptimality"] = best - eta(new.penalized, new_policy)
    lhs = eta(true, old_policy) - eta(true, deployed)
    return evaluated("drop", lhs, terms, (true,))


def drop_bound_two_sided(true: TabularMDP, old: LearnedModel, new: LearnedModel) -> Bound:
    """The gap of Theorem 2, bounded by the larger of the bounds on the drop and on the rise.

    Raises:
        InputError: models that cannot be compared.
    """
    check_pair(old, new)
    drop = drop_bound(true, new, old.policy)
    rise = drop_bound(true, old, new.policy)
    larger = max(drop, rise, key=lambda bound: bound.rhs)
    return evaluated("drop, two-sided", abs(drop.lhs), larger.terms, (true,))


def no_degradation(true: TabularMDP, new: LearnedModel, old_policy: Policy) -> Bound:
    """The drop is at most 2 lambda U(pi_old), if the new model's penalty covers its errors.

    So a transfer is smooth where the new model is certain along the old policy (the argument of
    Yu et al. 2020, applied at every epoch).

    Raises:
        InputError: MDPs that cannot be compared, or a penalty below
            `admissible_penalty` somewhere.
    """
    given = new.penalty_coef * new.uncertainty
    least = admissible_penalty(true, new.mdp)
    if (given < least - 1e-12 * (1.0 + trivial_gap(true))).any():
        raise InputError(
            "the penalty is smaller than the model's error somewhere, by "
            f"{(least - given).max():.3g}; it must be at least `admissible_penalty`."
        )
    terms = {"uncertainty": 2.0 * new.penalty_coef * new.total_uncertainty(old_policy)}
    lhs = eta(true, old_policy) - eta(true, new.policy)
    return evaluated("no degradation", lhs, terms, (true,))


def gate_bound(
    true: TabularMDP, new: LearnedModel, old_policy: Policy, new_policy: Policy, *, earned: float
) -> Bound:
    """The drop after a gate that asks for what the old policy has earned.

    It is at most what the old policy is worth beyond what it earned, which is chance, plus the
    model's errors along the new policy alone. Errors along the old one do not matter.

    Args:
        new: the model that the gate asks, of epoch t + 1.
        old_policy: the one that acts.
        new_policy: the one that the gate has let through: in the model it is worth `earned`.
        earned: what the old policy has really earned, such as the mean of its episodes.

    Raises:
        InputError: MDPs that cannot be compared, or a policy that the gate refuses.
    """
    check_comparable(true, new.mdp)
    promised = eta(new.mdp, new_policy)
    if promised < earned:
        raise InputError(
            f"the new policy is worth {promised:.4g} in the model and the old one has earned "
            f"{earned:.4g}; the bound is about policies that the model puts no lower."
        )
    worth = eta(true, old_policy)
    terms = {
        "sampling": worth - earned,
        "error_new": sum(errors_along(true, new.mdp, new_policy).values()),
    }
    return evaluated("gate", worth - eta(true, new_policy), terms, (true,))


def sampling_error(spread: float, episodes: int, chance: float) -> float:
    """How far a mean of independent episodes lies below their expectation, but for this chance.

    Hoeffding's inequality: spread sqrt(ln(1 / chance) / (2 episodes)).

    Args:
        spread: highest possible return of an episode less the lowest.
        episodes: how many were averaged; at least 1.
        chance: with which it may lie lower, in (0, 1).

    Raises:
        InputError: numbers outside these ranges.
    """
    if not (spread >= 0.0 and episodes >= 1 and 0.0 < chance < 1.0):
        raise InputError(
            f"spread {spread}, {episodes} episodes, chance {chance}: expected a spread of at least "
            "0, at least one episode and a chance between 0 and 1."
        )
    return spread * math.sqrt(math.log(1.0 / chance) / (2 * episodes))


def admissible_penalty(true: TabularMDP, model: TabularMDP) -> Pairs:
    """The least lambda u(s, a) that is sure to cover what a model gets wrong at a pair.

    The error of its reward, plus gamma / 2 times the l1 distance of the rows times the largest
    gap that the real rewards allow.

    Raises:
        InputError: MDPs that cannot be compared.
    """
    check_comparable(true, model)
    distance = l1(model.transition, true.transition)
    step = 0.5 * true.discount * trivial_gap(true) * distance
    return np.abs(model.reward - true.reward) + step
