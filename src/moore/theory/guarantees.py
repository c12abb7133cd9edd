"""One-sided corrected statements: what a single model guarantees before its policy is deployed.

Neither is in the paper. Both compare the real return of any old policy with that of the policy
which is optimal in the new penalised model, and need no closeness of consecutive models.
"""

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
