"""From sampling to models: how far a shift of the draws can move a model that is fitted to them.

The paper argues that similar data sets give similar models. For the weighted empirical model
that is true on average over the data, with constant 4. It is false for the largest row distance,
which the paper's bounds use: the row of a pair that is seen for the first time may move by 2.
"""

import math

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.theory.bound import Bound, evaluated
from moore.theory.mdp import (
    Pairs,
    TabularMDP,
    l1,
    next_values,
    occupancy,
    optimal,
    policy_values,
    span,
    start_mean,
)
from moore.theory.models import check_comparable

Mass = Float[np.ndarray, "states actions states"]


def model_shift_bound(before: Mass, after: Mass) -> dict[str, Bound]:
    """How far the rows of the weighted empirical model move when the sampling mass moves.

    Args:
        before: the probability of drawing each (s, a, s') at first, see `weighted_mle`.
        after: the same probabilities later.

    Returns:
        `pair`: the row distance of the worst pair against 2 max(in, out) / max(d, d'), where in
        and out are the mass that it gained and lost, d and d' its mass before and after.
        `total`: the sum over pairs of max(d, d') times the row distance, against 4 TV.
        `largest`: the largest row distance, against 2 TV / min max(d, d').
        Pairs without data on one side have the distance 2, on both sides 0.

    Raises:
        InputError: the masses do not sum to 1, or some are negative.
    """
    _check_masses(before, after)
    moved = after - before
    flow = np.maximum(np.maximum(moved, 0.0).sum(-1), np.maximum(-moved, 0.0).sum(-1))
    shift = 0.5 * float(np.abs(moved).sum())
    weight, distance = _weights(before, after), _row_distances(before, after)
    right = np.divide(2.0 * flow, weight, out=np.zeros_like(flow), where=weight > 0)
    worst = np.unravel_index((distance - right).argmax(), right.shape)
    rarest = float(weight.min())
    largest = 2.0 * shift / rarest if rarest > 0 else math.inf
    sides = {
        "pair": (float(distance[worst]), float(right[worst]), 2.0),
        "total": (float((weight * distance).sum()), 4.0 * shift, 4.0),
        "largest": (float(distance.max()), largest, 2.0),
    }
    return {
        name: Bound(f"model shift, {name}", lhs, {"shift": rhs}, trivial, 1.0)
        for name, (lhs, rhs, trivial) in sides.items()
    }


def value_shift_bound(old: TabularMDP, new: TabularMDP, before: Mass, after: Mass) -> Bound:
    """The gap between the optimal returns of two empirical MDPs with the same reward.

    It is at most 2 gamma C TV span / (1 - gamma). C is the largest ratio of an optimal policy's
    normalised occupancy, in its own MDP, to the pair's larger sampling mass. The paper's argument
    leaves this concentrability out.

    Args:
        old: the MDP fitted to `before`; its rows are arbitrary for pairs without data.
        new: the MDP fitted to `after`.

    Raises:
        InputError: the masses or MDPs cannot be compared, or the rewards differ.
    """
    check_comparable(old, new)
    _check_masses(before, after)
    if not np.array_equal(old.reward, new.reward):
        raise InputError("the rewards differ; this bound is about a change of the draws alone.")
    weight = _weights(before, after)
    # Rows that agree cost nothing, however rarely they were sampled.
    differs = l1(old.transition, new.transition) > 0
    (old_values, old_policy), (new_values, new_policy) = optimal(old), optimal(new)
    ratios, spans = [], []
    for here, there, policy in ((old, new, old_policy), (new, old, new_policy)):
        visits = occupancy(here, policy, normalized=True).reshape(-1, *weight.shape).sum(0)
        counted = differs & (visits > 0)
        with np.errstate(divide="ignore"):
            ratios.append(np.max(visits[counted] / weight[counted], initial=0.0))
        spans.append(np.max(span(next_values(there, policy_values(there, policy)))))
    concentration, shift = float(max(ratios)), 0.5 * float(np.abs(after - before).sum())
    right = 2.0 * old.discount * old.effective_horizon * float(max(spans))
    # Rows that no data fix may move without any shift, so infinity wins over a shift of 0; but
    # where all values are equal no movement matters.
    if right > 0:
        right *= math.inf if math.isinf(concentration) else concentration * shift
    lhs = abs(start_mean(old, old_values) - start_mean(new, new_values))
    return evaluated("model shift, value", lhs, {"shift": right}, (old, new))


def _check_masses(*masses: Mass) -> None:
    for mass in masses:
        if (mass < 0).any() or abs(mass.sum() - 1.0) > 1e-9 or mass.shape != masses[0].shape:
            raise InputError("sampling masses must have one shape, be nonnegative and sum to 1.")


def _weights(before: Mass, after: Mass) -> Pairs:
    return np.maximum(before.sum(-1), after.sum(-1))


def _row_distances(before: Mass, after: Mass) -> Pairs:
    """l1 distances of the normalised rows; 2, the largest, where only one side has data."""
    rows, seen = [], []
    for mass in (before, after):
        pairs = mass.sum(-1)
        seen.append(pairs > 0)
        rows.append(mass / np.where(pairs > 0, pairs, 1.0)[..., None])
    return np.where(seen[0] != seen[1], 2.0, l1(*rows))
