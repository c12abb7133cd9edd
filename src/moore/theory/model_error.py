"""From a model to reality: Lemma 2 (the telescoping lemma) and Eq. 13, as printed and corrected."""

from typing import Literal

import numpy as np

from moore.theory.bound import Bound, Reading, evaluated, vmax
from moore.theory.mdp import (
    Policy,
    Probabilities,
    TabularMDP,
    Values,
    eta,
    expect,
    l1,
    next_mean,
    next_values,
    occupancy,
    policy_values,
    span,
)
from moore.theory.models import check_comparable


def lemma2(
    true: TabularMDP,
    model: TabularMDP,
    policy: Policy,
    *,
    rho: Literal["model", "true"] = "model",
    normalized: bool = False,
    corrected: bool = True,
) -> Bound:
    """Lemma 2, an identity for the return of a policy in the model minus its return in reality.

    The printed right side (Eq. 12) is gamma G, summed over the occupancy. The corrected form also
    counts the error of a learned reward. See `Bound.residual`.

    Args:
        rho: which occupancy to use: the model's with the values of the real MDP, as printed, or the
            real one with the values of the model.
        normalized: use an occupancy of mass 1, which breaks the identity.

    Raises:
        InputError: the MDPs cannot be compared.
    """
    check_comparable(true, model)
    visited, valued = (model, true) if rho == "model" else (true, model)
    visits = occupancy(visited, policy, normalized=normalized)
    error = dynamics_error(true, model, policy_values(valued, policy))
    terms = {"dynamics_error": true.discount * expect(visits, error)}
    if corrected:
        terms["reward_error"] = expect(visits, model.reward - true.reward)
    lhs = eta(model, policy) - eta(true, policy)
    return evaluated("Lemma 2", lhs, terms, (true, model))


def eq13(
    true: TabularMDP,
    model: TabularMDP,
    policy: Policy,
    *,
    reading: Reading = "abs",
    corrected: bool = False,
) -> Bound:
    """Eq. 13, a bound on |G(s, a)| of Eq. 11, at the pair where it is tightest.

    The printed bound is V_max / 2 times the l1 distance of the rows. The corrected one has half the
    span of V^pi instead of V_max / 2; the two agree only if the span of V^pi is V_max.

    Returns:
        The bound at the tightest pair; `arrays` has both sides at all pairs, [..., states,
        actions].

    Raises:
        InputError: the MDPs cannot be compared.
    """
    check_comparable(true, model)
    values = policy_values(true, policy)
    left = np.abs(dynamics_error(true, model, values))
    scale: float | np.ndarray
    if corrected:
        scale = np.asarray(span(next_values(true, values)))[..., None, None]
    else:
        scale = vmax((true, model), reading)
    right = 0.5 * scale * l1(model.transition, true.transition)
    right = np.broadcast_to(right, left.shape)
    # A pair without any error is never the worst one, whatever the sign of V_max.
    safe = np.where(right > 0, right, 1.0)
    ratios = np.where(right > 0, left / safe, np.where(left > 1e-12, np.inf, 0.0))
    worst = np.unravel_index(ratios.argmax(), ratios.shape)
    terms = {"model_error": float(right[worst])}
    return evaluated("Eq. 13", left[worst], terms, (true,), left=left, right=right)


def dynamics_error(true: TabularMDP, model: TabularMDP, values: Values) -> Probabilities:
    """G(s, a) of Eq. 11: the model's mean of the next value minus the real one."""
    return next_mean(model.transition - true.transition, next_values(true, values))
