"""From one model to the next: Theorem 1, Eq. 8, Eq. 9 and Lemma 1, as printed and as corrected.

The printed Eq. 9 applies Theorem 1, which needs equal rewards, to two penalised MDPs, whose rewards
differ because their uncertainties do. The corrected forms add the change of the penalised reward,
and replace r_max + V_max by half the span of the values.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from moore.errors import InputError
from moore.theory.bound import Bound, Reading, evaluated, rmax, vmax
from moore.theory.mdp import (
    D_l1,
    Policy,
    Probabilities,
    TabularMDP,
    Values,
    eta,
    expect,
    l1,
    next_values,
    occupancy,
    optimal,
    policy_values,
    span,
    start_mean,
)
from moore.theory.models import LearnedModel, check_comparable, check_pair

Correction = Literal[False, "sup", "on_policy", "same_policy"]
"""Which form to use. False is the printed one. `sup` adds the largest change of the penalised
reward over all states and actions, `on_policy` the change along the two policies. `same_policy`
adds to the printed form the change of each policy's own uncertainty."""


def theorem1(
    first: TabularMDP,
    second: TabularMDP,
    *,
    h: int = 0,
    reading: Reading = "abs",
    corrected: bool = False,
    allow_reward_mismatch: bool = False,
) -> Bound:
    """Theorem 1: the largest |V1*_h - V2*_h| of two MDPs with the same reward.

    Printed: D (r_max + V_max) (H - h). Corrected: see `value_drift`.

    Args:
        h: index of the decision; 0 in the discounted setting.
        reading: how to read V_max.
        allow_reward_mismatch: evaluate the statement although its premise does not hold.

    Raises:
        InputError: the MDPs cannot be compared, the rewards differ, or there is no decision h.
    """
    check_comparable(first, second)
    if not allow_reward_mismatch and not np.array_equal(first.reward, second.reward):
        raise InputError("the rewards differ; Theorem 1 is about MDPs with the same reward.")
    if not 0 <= h <= (first.horizon or 0):
        raise InputError(f"h is {h}; it must lie between 0 and the horizon {first.horizon}.")
    values = optimal(first)[0], optimal(second)[0]
    gaps = np.abs(values[0] - values[1])
    change = (
        value_drift(first, second, *values, h=h)
        if corrected
        else (first.paper_horizon - h) * _printed_rate((first, second), reading)
    )
    lhs = gaps.max() if first.horizon is None else gaps[h].max()
    return evaluated("Theorem 1", lhs, {"model_change": change}, (first, second))


def eq8(
    first: TabularMDP,
    second: TabularMDP,
    *,
    reading: Reading = "abs",
    corrected: bool = False,
    paper_horizon: float | None = None,
) -> Bound:
    """Eq. 8: the gap between the optimal returns of two MDPs with the same reward.

    Args:
        reading: how to read V_max.
        paper_horizon: the value of H in the printed form; `TabularMDP.paper_horizon` makes the
            statement true.

    Raises:
        InputError: see `theorem1`.
    """
    at_start = theorem1(first, second, reading=reading, corrected=corrected)
    terms = dict(at_start.terms)
    if paper_horizon is not None and not corrected:
        terms["model_change"] *= paper_horizon / first.paper_horizon
    lhs = abs(start_mean(first, optimal(first)[0]) - start_mean(second, optimal(second)[0]))
    return evaluated("Eq. 8", lhs, terms, (first, second))


def eq9(
    old: LearnedModel,
    new: LearnedModel,
    *,
    reading: Reading = "abs",
    corrected: Literal[False, "sup", "on_policy"] = False,
) -> Bound:
    """Eq. 9: the gap between the optimal returns of two consecutive penalised MDPs.

    Raises:
        InputError: the models cannot be compared, or the correction is unknown.
    """
    check_pair(old, new)
    mdps = old.mdp, new.mdp, old.penalized, new.penalized
    if corrected:
        terms = penalized_change(old, new, corrected)
    else:
        terms = {"model_change": printed_change(mdps, reading)}
    lhs = abs(start_mean(old.mdp, old.values) - start_mean(new.mdp, new.values))
    return evaluated("Eq. 9", lhs, terms, mdps[2:])


def suboptimal_eq9(
    old: LearnedModel,
    new: LearnedModel,
    old_policy: Policy,
    new_policy: Policy,
    *,
    corrected: Literal["sup", "on_policy"] = "sup",
) -> Bound:
    """Corrected Eq. 9 for policies that are not quite optimal; the larger shortfall is added."""
    check_pair(old, new)
    pairs = (old, old_policy), (new, new_policy)
    returns = [eta(model.penalized, policy) for model, policy in pairs]
    best = [start_mean(model.mdp, model.values) for model in (old, new)]
    shortfall = max(top - value for top, value in zip(best, returns, strict=True))
    terms = penalized_change(old, new, corrected) | {"suboptimality": shortfall}
    lhs = abs(returns[0] - returns[1])
    return evaluated("Eq. 9", lhs, terms, (old.penalized, new.penalized))


def lemma1(
    old: LearnedModel,
    new: LearnedModel,
    *,
    reading: Reading = "abs",
    normalized_u: bool = False,
    corrected: Correction = False,
) -> Bound:
    """Lemma 1: the gap between the returns of two policies, each in its own learned MDP.

    Args:
        reading: how to read V_max in the printed form.
        normalized_u: read U, in the printed form, as an expectation over an occupancy of mass 1.

    Raises:
        InputError: the models cannot be compared, or the correction is unknown.
    """
    check_pair(old, new)
    if corrected:
        terms = lemma1_terms(old, new, corrected)
    else:
        mdps = old.mdp, new.mdp, old.penalized, new.penalized
        terms = {
            "model_change": printed_change(mdps, reading),
            "uncertainty": uncertainty_difference(old, new, normalized=normalized_u),
        }
    lhs = abs(eta(old.mdp, old.policy) - eta(new.mdp, new.policy))
    return evaluated("Lemma 1", lhs, terms, (old.mdp, new.mdp))


def lemma1_terms(
    old: LearnedModel, new: LearnedModel, corrected: Literal["sup", "on_policy", "same_policy"]
) -> dict[str, float]:
    """The terms of the right side of the corrected Lemma 1."""
    uncertainty = {"uncertainty": uncertainty_difference(old, new)}
    if corrected != "same_policy":
        return penalized_change(old, new, corrected) | uncertainty
    # The values and rewards without penalty suffice: the penalty's change has its own term.
    hats = old.mdp, new.mdp
    reward_change = float(np.abs(old.mdp.reward - new.mdp.reward).max())
    same_policy = max(
        abs(old.total_uncertainty(policy) - new.total_uncertainty(policy))
        for policy in (old.policy, new.policy)
    )
    return {
        "model_change": printed_change(hats, "abs"),
        "reward_change": old.mdp.effective_horizon * reward_change,
        "same_policy": old.penalty_coef * same_policy,
        **uncertainty,
    }


def uncertainty_difference(
    old: LearnedModel, new: LearnedModel, *, normalized: bool = False
) -> float:
    """lambda |U_t(pi_t) - U_{t+1}(pi_{t+1})|, the last term of Eq. 10 and Eq. 14."""
    gap = old.total_uncertainty(old.policy, normalized=normalized)
    gap -= new.total_uncertainty(new.policy, normalized=normalized)
    return old.penalty_coef * abs(gap)


def printed_change(mdps: Sequence[TabularMDP], reading: Reading) -> float:
    """D (r_max + V_max) H, with D between the first two MDPs and the maxima over all MDPs."""
    return mdps[0].paper_horizon * _printed_rate(mdps, reading)


def _printed_rate(mdps: Sequence[TabularMDP], reading: Reading) -> float:
    distance = D_l1(mdps[0].transition, mdps[1].transition)
    return distance * (rmax(mdps) + vmax(mdps, reading))


def value_drift(
    first: TabularMDP,
    second: TabularMDP,
    first_values: Values,
    second_values: Values,
    *,
    h: int = 0,
) -> float:
    """How far a change of the dynamics alone can move a value at decision h.

    It is the discounted sum, over the decisions from h on, of D / 2 times the smaller of the spans
    of the two next values. The bound is an equality for a leaking chain.
    """
    distance = D_l1(first.transition, second.transition)
    steps = 0.5 * distance * np.minimum(span(first_values), span(second_values))
    if first.horizon is None:
        return float(first.discount * first.effective_horizon * steps)
    later = steps[h + 1 :]
    return float(first.discount ** np.arange(1, later.size + 1) @ later)


def penalized_change(
    old: LearnedModel, new: LearnedModel, corrected: Literal["sup", "on_policy"]
) -> dict[str, float]:
    """How far apart the optimal returns of two penalised MDPs can be, by the corrected Eq. 9.

    Raises:
        InputError: the correction is unknown.
    """
    if corrected == "on_policy":
        sides = _change_along(old, new), _change_along(new, old)
        return max(sides, key=lambda terms: sum(terms.values()))
    if corrected != "sup":
        raise InputError(f"the correction is {corrected!r}; it must be 'sup' or 'on_policy'.")
    reward_change = float(np.abs(old.penalized.reward - new.penalized.reward).max())
    return {
        "model_change": value_drift(old.mdp, new.mdp, old.values, new.values),
        "reward_change": old.mdp.effective_horizon * reward_change,
    }


def _change_along(model: LearnedModel, other: LearnedModel) -> dict[str, float]:
    """The change from one model to another along the optimal policy of the first."""
    visits = occupancy(model.mdp, model.policy)
    values = policy_values(other.penalized, model.policy)
    reward_change = np.abs(model.penalized.reward - other.penalized.reward)
    return {
        "model_change": expect(visits, one_step_error(model.mdp, other.mdp, values)),
        "reward_change": expect(visits, reward_change),
    }


def one_step_error(first: TabularMDP, second: TabularMDP, values: Values) -> Probabilities:
    """gamma / 2 times the l1 distance of the rows times the span of the next values.

    This is the smallest bound on |gamma sum_s' (p1 - p2)(s') V(s')| that uses only the distance and
    the span.
    """
    spans = np.asarray(span(next_values(first, values)))
    distance = l1(first.transition, second.transition)
    return 0.5 * first.discount * distance * spans[..., None, None]
