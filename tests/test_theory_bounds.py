"""The bounds on random MDPs: corrected ones always hold, printed ones under their premises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_mdps import discounted, few, finite, mdps, seeds, sizes, transfers
from moore.errors import InputError
from moore.theory import (
    Bound,
    LearnedModel,
    admissible_penalty,
    drop_bound,
    drop_bound_two_sided,
    eq8,
    eq9,
    eq13,
    eta,
    lemma1,
    lemma2,
    model_shift_bound,
    no_degradation,
    occupancy,
    perturb,
    policy_values,
    random_masses,
    random_mdp,
    random_policy,
    random_transfer,
    relative_uncertainty_error,
    rmax,
    suboptimal_eq9,
    theorem1,
    theorem2,
    theorem2_identity,
    trivial_gap,
    value_drift,
    value_shift_bound,
    vmax,
)

pairs = st.tuples(mdps(), seeds, sizes)


def moved(pair) -> tuple:
    """Two MDPs with the same reward and different dynamics."""
    mdp, seed, size = pair
    rng = np.random.default_rng(seed)
    return mdp, mdp.with_(transition=perturb(rng, mdp.transition, size=size, row_prob=0.7))


def some_policy(seed: int, mdp) -> np.ndarray:
    return random_policy(np.random.default_rng(seed), mdp)


# --- Corrected statements hold ---


@given(pairs)
@few
def test_theorem_1_corrected_holds_at_every_decision(pair):
    first, second = moved(pair)
    for h in range(first.horizon or 1):
        assert theorem1(first, second, h=h, corrected=True).holds()
    assert eq8(first, second, corrected=True).holds()


@given(pairs, seeds)
@few
def test_theorem_1_corrected_holds_for_a_fixed_policy(pair, seed):
    first, second = moved(pair)
    policy = some_policy(seed, first)
    values = policy_values(first, policy), policy_values(second, policy)
    gap = np.abs(values[0] - values[1])
    at_start = gap if first.horizon is None else gap[0]
    assert at_start.max() <= value_drift(first, second, *values) + 1e-8


@given(pairs)
@few
def test_theorem_1_corrected_has_the_corollaries(pair):
    """gamma D R / (2 (1-gamma)^2), or D R H (H - 1) / 4 without discount; R the range of r."""
    first, second = moved(pair)
    bound = theorem1(first, second, corrected=True)
    distance = np.abs(first.transition - second.transition).sum(-1).max()
    scale = distance * np.ptp(first.reward)
    if first.horizon is None:
        limit = 0.5 * first.discount * scale * first.effective_horizon**2
    else:
        limit = 0.25 * scale * first.horizon * (first.horizon - 1)
    assert bound.rhs <= limit + 1e-9


@given(transfers(timing=discounted) | transfers(timing=finite))
@few
def test_eq_9_corrected_holds(transfer):
    sup, on_policy = (
        eq9(transfer.old, transfer.new, corrected=form) for form in ("sup", "on_policy")
    )
    assert sup.holds() and on_policy.holds()


@given(transfers(), seeds)
@few
def test_eq_9_corrected_holds_for_policies_that_fall_short(transfer, seed):
    policies = some_policy(seed, transfer.true), some_policy(seed + 1, transfer.true)
    for form in ("sup", "on_policy"):
        bound = suboptimal_eq9(transfer.old, transfer.new, *policies, corrected=form)
        assert bound.holds() and bound.terms["suboptimality"] >= -1e-9


@given(transfers())
@few
def test_lemma_1_corrected_holds(transfer):
    for form in ("sup", "on_policy", "same_policy"):
        assert lemma1(transfer.old, transfer.new, corrected=form).holds(), form


@given(transfers(), seeds)
@few
def test_lemma_2_corrected_is_an_identity_both_ways(transfer, seed):
    policy = some_policy(seed, transfer.true)
    for rho in ("model", "true"):
        bound = lemma2(transfer.true, transfer.new.mdp, policy, rho=rho)
        assert bound.residual <= bound.tolerance, rho


@given(transfers(), seeds)
@few
def test_eq_13_corrected_holds_at_every_pair(transfer, seed):
    bound = eq13(transfer.true, transfer.new.mdp, some_policy(seed, transfer.true), corrected=True)
    assert bound.holds()
    left, right = bound.arrays["left"], bound.arrays["right"]
    assert (left <= right + bound.tolerance).all()


@given(transfers(timing=discounted) | transfers(timing=finite))
@few
def test_theorem_2_corrected_holds(transfer):
    for form in ("sup", "on_policy", "same_policy"):
        bound = theorem2(*transfer, corrected=form)
        assert bound.holds(), form
        assert min(bound.terms.values()) >= -1e-12
    identity = theorem2_identity(*transfer)
    assert identity.residual <= identity.tolerance


@given(transfers(), seeds)
@few
def test_the_drop_is_bounded_whatever_the_policies(transfer, seed):
    true, old, new = transfer
    for policy in (old.policy, some_policy(seed, true)):
        assert drop_bound(true, new, policy).holds()
        assert drop_bound(true, new, policy, some_policy(seed + 1, true)).holds()
    assert drop_bound_two_sided(true, old, new).holds()


@given(transfers(), seeds, st.floats(1.0, 3.0))
@few
def test_nothing_is_lost_where_the_penalty_covers_the_errors(transfer, seed, factor):
    true, old, new = transfer
    penalty = factor * admissible_penalty(true, new.mdp)
    covered = LearnedModel(new.mdp, penalty, 1.0, new.tie)
    for policy in (old.policy, some_policy(seed, true)):
        assert no_degradation(true, covered, policy).holds()
        real, pessimistic = eta(true, policy), eta(covered.penalized, policy)
        twice = 2.0 * covered.total_uncertainty(policy)
        assert pessimistic - 1e-6 <= real <= pessimistic + twice + 1e-6


masses = st.builds(
    lambda seed, states, actions, logged, online, weight: random_masses(
        np.random.default_rng(seed),
        states=states,
        actions=actions,
        logged=logged,
        online=online,
        weight=weight,
    ),
    seeds,
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 300),
    st.integers(0, 100),
    st.sampled_from([0.01, 0.5, 1.0, 20.0]),
)


@given(masses)
@few
def test_a_shift_of_the_draws_bounds_the_shift_of_the_model(drawn):
    (before, after), dynamics = drawn
    bounds = model_shift_bound(before, after)
    assert all(bound.holds() for bound in bounds.values())
    # The largest distance counts pairs that only one side has seen as 2, the most there is.
    assert np.abs(dynamics[0] - dynamics[1]).sum(-1).max() <= bounds["largest"].lhs + 1e-12


@given(masses, seeds, discounted | finite)
@few
def test_a_shift_of_the_draws_bounds_the_shift_of_the_value(drawn, seed, timing):
    (before, after), dynamics = drawn
    states, actions, _ = before.shape
    rng = np.random.default_rng(seed)
    base = random_mdp(rng, states=states, actions=actions, discount=timing[0], horizon=timing[1])
    old, new = (base.with_(transition=rows) for rows in dynamics)
    assert value_shift_bound(old, new, before, after).holds()


# --- Printed statements hold under their premises, with |V| ---


@given(pairs)
@few
def test_theorem_1_printed_holds_with_absolute_values(pair):
    first, second = moved(pair)
    for h in range(first.horizon or 1):
        assert theorem1(first, second, h=h).holds()
    assert eq8(first, second).holds()


@given(transfers(uncertainties=("same",), reward_errors=(0.0,)))
@few
def test_lemma_1_printed_holds_if_rewards_and_u_stay(transfer):
    assert eq9(transfer.old, transfer.new).holds()
    assert lemma1(transfer.old, transfer.new).holds()


@given(
    transfers(
        rewards=st.sampled_from(["nonneg", "sparse", "zero"]),
        uncertainties=("same",),
        reward_errors=(0.0,),
    )
)
@few
def test_theorem_2_printed_holds_if_rewards_and_u_stay_and_rewards_are_positive(transfer):
    assert theorem2(*transfer).holds()


@given(transfers(rewards=st.sampled_from(["nonneg", "sparse"]), reward_errors=(0.0,)), seeds)
@few
def test_lemma_2_and_eq_13_printed_hold_for_positive_known_rewards(transfer, seed):
    true, model = transfer.true, transfer.new.mdp
    policy = some_policy(seed, true)
    bound = lemma2(true, model, policy, corrected=False)
    assert bound.residual <= bound.tolerance
    assert eq13(true, model, policy).holds()


# --- Printed statements fail without them; so the tests above could fail ---


def failures(evaluate, *, draws: int = 60, **kind) -> int:
    """In how many random transfers a bound is violated."""
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(draws):
        mdp = random_mdp(rng, states=3, actions=3, discount=0.9, concentration=0.3)
        transfer = random_transfer(
            rng, mdp, model_error=0.5, shift=10 ** rng.uniform(-4, 0), **kind
        )
        bound = evaluate(transfer)
        count += not bound.holds()
    return count


def test_changes_that_the_printed_forms_do_not_see_break_them():
    noisy, wrong = {"uncertainty": "noisy"}, {"reward_error": 0.3}
    assert failures(lambda t: eq9(t.old, t.new), **noisy) > 5
    assert failures(lambda t: lemma1(t.old, t.new), **noisy, penalty_coef=3.0) > 0
    assert failures(lambda t: lemma1(t.old, t.new), **wrong) > 0


def test_lemma_2_needs_the_occupancy_as_it_is_and_the_reward_error():
    rng = np.random.default_rng(1)
    true = random_mdp(rng, states=4, actions=2, discount=0.9)
    model = random_transfer(rng, true, reward_error=0.1).new.mdp
    policy = random_policy(rng, true)
    right = lemma2(true, model, policy)
    assert lemma2(true, model, policy, normalized=True).residual > 1e-3
    assert lemma2(true, model, policy, corrected=False).residual > 1e-3
    assert right.lhs == pytest.approx(10.0 * lemma2(true, model, policy, normalized=True).rhs)


# --- A bound, r_max and V_max ---


def test_a_bound_knows_its_ratio_and_whether_it_says_anything():
    bound = Bound("x", 1.0, {"a": 3.0, "b": 1.0}, 5.0, 10.0)
    assert (bound.rhs, bound.ratio, bound.residual) == (4.0, 0.25, 3.0)
    assert bound.holds() and not bound.vacuous
    assert Bound("x", 1.0, {"a": 5.0}, 5.0, 10.0).vacuous
    assert Bound("x", 0.0, {"a": -1.0}, 5.0, 1.0).ratio == 0.0
    assert not Bound("x", 0.0, {"a": -1.0}, 5.0, 1.0).holds()
    assert Bound("x", 1.0, {"a": 0.0}, 5.0, 1.0).ratio == math.inf
    close = Bound("x", 1.0 + 1e-10, {"a": 1.0}, 5.0, 1.0)
    assert close.holds() and not close.holds(0.0)
    assert not Bound("x", 1.0 + 1e-8, {"a": 1.0}, 5.0, 1.0).holds()


def test_readings_of_the_largest_value():
    rng = np.random.default_rng(0)
    costs = random_mdp(rng, states=3, actions=2, discount=1.0, horizon=4, reward="nonpos")
    costs = costs.with_(reward=costs.reward - 1.0)
    assert vmax([costs], "literal") == 0.0, "V_H = 0 is the largest value of costs"
    assert vmax([costs], "literal_start") < -4.0
    assert 4.0 < vmax([costs], "abs") == vmax([costs], "range") < 8.0
    gains = costs.with_(reward=-costs.reward)
    assert vmax([costs, gains], "range") == pytest.approx(2.0 * vmax([costs], "abs"))
    assert rmax([costs, gains]) == np.abs(costs.reward).max()
    assert trivial_gap(costs) == pytest.approx(4.0 * np.ptp(costs.reward))


def test_relative_uncertainty_error_in_both_readings():
    rng = np.random.default_rng(2)
    mdp = random_mdp(rng, states=3, actions=2, discount=0.9, reward="nonneg")
    _, old, new = random_transfer(rng, mdp, uncertainty="noisy", shift=0.5, penalty_coef=2.0)
    error = relative_uncertainty_error(old, new)

    def total(model, policy):
        return (occupancy(model.mdp, policy) * model.uncertainty).sum()

    before, gain = total(old, old.policy), eta(old.mdp, old.policy)
    assert error.same_policy == pytest.approx(abs(before - total(new, old.policy)) / gain)
    assert error.theorem == pytest.approx(abs(before - total(new, new.policy)) / gain)
    nothing = LearnedModel(mdp.with_(reward=0.0 * mdp.reward), old.uncertainty, 1.0)
    assert math.isnan(relative_uncertainty_error(nothing, nothing).theorem)


# --- What is refused ---


def test_what_cannot_be_compared():
    rng = np.random.default_rng(0)
    mdp = random_mdp(rng, states=3, actions=2, discount=0.9)
    other = mdp.with_(reward=mdp.reward + 1.0)
    with pytest.raises(InputError, match="rewards differ"):
        theorem1(mdp, other)
    assert theorem1(mdp, other, allow_reward_mismatch=True).rhs == 0.0
    for changed in (mdp.with_(discount=0.8), mdp.with_(horizon=3), mdp.with_(start=np.eye(3)[0])):
        with pytest.raises(InputError, match="must have the same"):
            theorem1(mdp, changed)
    with pytest.raises(InputError, match="h is 1"):
        theorem1(mdp, mdp, h=1)
    _, old, new = random_transfer(rng, mdp)
    with pytest.raises(InputError, match="one lambda"):
        eq9(old, LearnedModel(new.mdp, new.uncertainty, 2.0))
    with pytest.raises(InputError, match="smaller than the model's error"):
        no_degradation(mdp, LearnedModel(new.mdp, 0.0 * new.uncertainty, 1.0), old.policy)


def test_masses_that_are_none():
    (before, after), dynamics = random_masses(
        np.random.default_rng(0), states=2, actions=2, logged=9, online=3, weight=1.0
    )
    with pytest.raises(InputError, match="sampling masses"):
        model_shift_bound(before, 2.0 * after)
    mdp = random_mdp(np.random.default_rng(0), states=2, actions=2, discount=0.5)
    old, new = (mdp.with_(transition=rows) for rows in dynamics)
    with pytest.raises(InputError, match="rewards differ"):
        value_shift_bound(old, new.with_(reward=new.reward + 1.0), before, after)
