"""Theorem 2: how far apart the real returns of two consecutive policies are, in both forms."""

from dataclasses import dataclass

import numpy as np

from moore.theory.bound import Bound, Reading, evaluated, vmax
from moore.theory.mdp import (
    Policy,
    TabularMDP,
    eta,
    expect,
    l1,
    occupancy,
    policy_values,
    start_mean,
)
from moore.theory.model_change import (
    Correction,
    lemma1_terms,
    one_step_error,
    printed_change,
    uncertainty_difference,
)
from moore.theory.model_error import dynamics_error
from moore.theory.models import LearnedModel, check_comparable, check_pair


def theorem2(
    true: TabularMDP,
    old: LearnedModel,
    new: LearnedModel,
    *,
    reading: Reading = "abs",
    corrected: Correction = False,
) -> Bound:
    """Theorem 2: the gap between the real returns of the policies of epochs t and t + 1.

    The printed form (Eq. 14) adds up the change of the dynamics, the errors of both models along
    their policies, and the difference of the total uncertainties. The corrected forms also add the
    change of the penalised reward (or of each policy's own uncertainty) and the errors of the
    learned rewards, and have half the span of the values in place of V_max / 2.

    Args:
        reading: how to read V_max in the printed form.

    Returns:
        The bound; `arrays` has the policies.

    Raises:
        InputError: models that cannot be compared, or an unknown correction.
    """
    check_pair(old, new)
    check_comparable(true, old.mdp)
    if corrected:
        terms = lemma1_terms(old, new, corrected)
        for epoch, model in {"old": old, "new": new}.items():
            errors = errors_along(true, model.mdp, model.policy)
            terms |= {f"{name}_{epoch}": value for name, value in errors.items()}
    else:
        terms = _printed_terms(true, old, new, reading)
    lhs = abs(eta(true, old.policy) - eta(true, new.policy))
    policies = {"old_policy": old.policy, "new_policy": new.policy}
    return evaluated("Theorem 2", lhs, terms, (true,), **policies)


def _printed_terms(
    true: TabularMDP, old: LearnedModel, new: LearnedModel, reading: Reading
) -> dict[str, float]:
    mdps = old.mdp, new.mdp, old.penalized, new.penalized, true
    terms = {"model_change": printed_change(mdps, reading)}
    half = 0.5 * true.discount * vmax(mdps, reading)
    for epoch, model in {"old": old, "new": new}.items():
        distance = l1(model.mdp.transition, true.transition)
        visits = occupancy(model.mdp, model.policy)
        terms[f"model_error_{epoch}"] = half * expect(visits, distance)
    return terms | {"uncertainty": uncertainty_difference(old, new)}


def errors_along(true: TabularMDP, model: TabularMDP, policy: Policy) -> dict[str, float]:
    """How far a model's errors can change the return of a policy, over its visits in the model."""
    visits = occupancy(model, policy)
    step = one_step_error(model, true, policy_values(true, policy))
    return {
        "model_error": expect(visits, step),
        "reward_error": expect(visits, np.abs(model.reward - true.reward)),
    }


def theorem2_identity(true: TabularMDP, old: LearnedModel, new: LearnedModel) -> Bound:
    """The equality behind Theorem 2: the signed gap of the real returns, term by term.

    It is the gap between the optimal penalised returns, plus, for each policy, the difference of
    its real and its penalised return. See `Bound.residual`.

    Raises:
        InputError: models that cannot be compared.
    """
    check_pair(old, new)
    check_comparable(true, old.mdp)
    optima = start_mean(true, old.values) - start_mean(true, new.values)
    terms = {
        "penalized": optima,
        "hidden_old": _hidden(true, old),
        "hidden_new": -_hidden(true, new),
    }
    lhs = eta(true, old.policy) - eta(true, new.policy)
    return evaluated("Theorem 2, identity", lhs, terms, (true,))


def _hidden(true: TabularMDP, model: LearnedModel) -> float:
    """The real return of a model's policy minus its penalised return, by Lemma 2 and Eq. 19."""
    visits = occupancy(model.mdp, model.policy)
    error = dynamics_error(true, model.mdp, policy_values(true, model.policy))
    reward_error = model.mdp.reward - true.reward
    penalty = model.penalty_coef * model.uncertainty
    return expect(visits, penalty - reward_error - true.discount * error)


@dataclass(frozen=True)
class RelativeUncertaintyError:
    """The Relative Uncertainty Error of section 4.3, in its two readings.

    Attributes:
        same_policy: |U_t(pi_t) - U_{t+1}(pi_t)| / eta_t(pi_t), as printed, with the old policy in
            both models.
        theorem: |U_t(pi_t) - U_{t+1}(pi_{t+1})| / eta_t(pi_t), with the term of Theorem 2.
    """

    same_policy: float
    theorem: float


def relative_uncertainty_error(old: LearnedModel, new: LearnedModel) -> RelativeUncertaintyError:
    """The change of the total uncertainty, relative to the old policy's return in its model.

    The sign is that of the return; NaN or infinite where the return is 0.

    Raises:
        InputError: models that cannot be compared.
    """
    check_pair(old, new)
    before = old.total_uncertainty(old.policy)
    gaps = [before - new.total_uncertainty(policy) for policy in (old.policy, new.policy)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.abs(gaps) / eta(old.mdp, old.policy)
    return RelativeUncertaintyError(*(float(ratio) for ratio in ratios))
