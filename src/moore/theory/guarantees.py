"""One-sided corrected statements: what a single model guarantees before its policy is deployed.

None of them is in the paper. All compare the real return of any old policy with that of a new one,
and consecutive models need not be close to each other.
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
    """The drop: the real return of any old policy minus that of the new one, with its sign.

    It is at most lambda times the difference of the two policies' total uncertainties in the new
    model, plus that model's errors along both policies. If the right side is negative, the return
    is certain to improve.

    Args:
        new: the model of epoch t + 1.
        old_policy: any policy, such as that of epoch t or the offline one.
        new_policy: the policy to deploy; by default the optimal one of the new penalised MDP. For
            another one, its shortfall in that MDP is added to the bound.

    Raises:
        InputError: the MDPs cannot be compared.
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
        InputError: the models cannot be compared.
    """
    check_pair(old, new)
    drop = drop_bound(true, new, old.policy)
    rise = drop_bound(true, old, new.policy)
    larger = max(drop, rise, key=lambda bound: bound.rhs)
    return evaluated("drop, two-sided", abs(drop.lhs), larger.terms, (true,))


def no_degradation(true: TabularMDP, new: LearnedModel, old_policy: Policy) -> Bound:
    """The drop is at most 2 lambda U(pi_old), if the new model's penalty covers its errors.

    So a transfer is smooth if the new model is certain along the old policy. This is the argument
    of Yu et al. (2020), applied at every epoch.

    Raises:
        InputError: the MDPs cannot be compared, or the penalty is below `admissible_penalty`
            somewhere.
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
    """The drop after a gate that requires the new policy to match the old one's real returns.

    It is at most the old policy's expected return minus what it earned (a difference due to
    chance), plus the model's errors along the new policy. Errors along the old one do not matter.

    Args:
        new: the model of epoch t + 1, which the gate uses.
        old_policy: the acting policy.
        new_policy: the policy that the gate accepts: its return in the model is at least `earned`.
        earned: what the old policy has really earned, such as the mean of its episodes.

    Raises:
        InputError: the MDPs cannot be compared, or the gate would refuse the new policy.
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
    """How far a mean of independent episodes can lie below its expectation, up to a small chance.

    Hoeffding's inequality: spread sqrt(ln(1 / chance) / (2 episodes)).

    Args:
        spread: highest possible return of an episode minus the lowest.
        episodes: number of episodes in the mean; at least 1.
        chance: probability, in (0, 1), that the mean lies even lower.

    Raises:
        InputError: a number is outside its range.
    """
    if not (spread >= 0.0 and episodes >= 1 and 0.0 < chance < 1.0):
        raise InputError(
            f"spread {spread}, {episodes} episodes, chance {chance}: expected a spread of at least "
            "0, at least one episode and a chance between 0 and 1."
        )
    return spread * math.sqrt(math.log(1.0 / chance) / (2 * episodes))


def admissible_penalty(true: TabularMDP, model: TabularMDP) -> Pairs:
    """The smallest lambda u(s, a) that is certain to cover the model's error at each pair.

    It is the error of the reward, plus gamma / 2 times the l1 distance of the rows times the
    largest gap between values that the real rewards allow.

    Raises:
        InputError: the MDPs cannot be compared.
    """
    check_comparable(true, model)
    distance = l1(model.transition, true.transition)
    step = 0.5 * true.discount * trivial_gap(true) * distance
    return np.abs(model.reward - true.reward) + step
