"""Finite MDPs: worked numbers, brute force over policies, and the identities that must hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from made_mdps import all_policies, discounted, few, mdps, seeds, transfers
from moore.errors import InputError
from moore.theory import (
    D_l1,
    LearnedModel,
    TabularMDP,
    ensemble_model,
    eta,
    expect,
    l1,
    occupancy,
    optimal,
    penalize,
    perturb,
    policy_values,
    q_values,
    random_masses,
    random_mdp,
    random_policy,
    span,
    tv,
    uncertainty,
    value_iteration,
    value_range,
    weighted_mle,
)

# Two states; action 0 stays, action 1 moves to the other. Staying in state 1 pays 1.
STAY_OR_MOVE = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
PAYS = np.array([[0.0, 0.0], [1.0, 0.0]])
START = np.array([1.0, 0.0])


def two_states(**changes) -> TabularMDP:
    return TabularMDP(STAY_OR_MOVE, PAYS, START, 0.5).with_(**changes)


# --- Worked numbers ---


def test_discounted_values_by_hand():
    mdp = two_states()
    values, policy = optimal(mdp)
    np.testing.assert_allclose(values, [1.0, 2.0])
    assert policy.tolist() == [1, 0]
    np.testing.assert_allclose(q_values(mdp, values), [[0.5, 1.0], [2.0, 0.5]])
    assert eta(mdp, policy) == pytest.approx(1.0)
    assert value_range(mdp) == pytest.approx((0.0, 2.0))
    assert (mdp.effective_horizon, mdp.paper_horizon) == (2.0, 2.0)


def test_finite_values_by_hand():
    mdp = two_states(discount=1.0, horizon=3)
    values, policy = optimal(mdp)
    np.testing.assert_allclose(values, [[2, 3], [1, 2], [0, 1], [0, 0]])
    assert policy[0].tolist() == [1, 0]
    assert eta(mdp, policy) == 2.0
    assert value_range(mdp) == (0.0, 3.0)
    assert value_range(mdp.with_(reward=PAYS + 1)) == (0.0, 6.0), "V_H = 0 counts"
    assert value_range(mdp.with_(reward=PAYS + 1), start_only=True) == (3.0, 6.0)
    discounted = mdp.with_(discount=0.5)
    assert (discounted.effective_horizon, discounted.paper_horizon) == (1.75, 3.0)


def test_occupancy_by_hand():
    move_then_stay = np.array([1, 0])
    visits = occupancy(two_states(), move_then_stay)
    np.testing.assert_allclose(visits, [[0.0, 1.0], [1.0, 0.0]])
    visits = occupancy(two_states(horizon=3), move_then_stay)
    np.testing.assert_allclose(visits.sum((1, 2)), [1.0, 0.5, 0.25])
    assert visits[2, 1, 0] == 0.25


def test_distances_by_hand():
    leaking = STAY_OR_MOVE.copy()
    leaking[0, 0] = 0.75, 0.25
    assert l1(STAY_OR_MOVE, leaking).tolist() == [[0.5, 0.0], [0.0, 0.0]]
    assert tv(STAY_OR_MOVE, leaking)[0, 0] == 0.25
    assert D_l1(STAY_OR_MOVE, leaking) == 0.5
    assert span(np.array([[1.0, 4.0], [2.0, 2.0]])).tolist() == [3.0, 0.0]


def test_ties_are_broken_as_asked():
    nothing = two_states(reward=np.zeros((2, 2)))
    assert optimal(nothing, "first")[1].tolist() == [0, 0]
    assert optimal(nothing, "last")[1].tolist() == [1, 1]
    rng = np.random.default_rng(0)
    drawn = {tuple(optimal(nothing, rng)[1]) for _ in range(60)}
    assert drawn == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert optimal(two_states(), "last")[1].tolist() == [1, 0], "no tie, no choice"


def test_ensemble_disagreement_by_hand():
    members = np.stack([STAY_OR_MOVE, STAY_OR_MOVE])
    members[0, 0, 0] = 0.9, 0.1
    members[1, 0, 0] = 0.5, 0.5
    mean, u = ensemble_model(members)
    np.testing.assert_allclose(mean[0, 0], [0.7, 0.3])
    np.testing.assert_allclose(u, [[0.2, 0.0], [0.0, 0.0]])


def test_weighted_counts_by_hand():
    logged, online = np.zeros((2, 1, 2)), np.zeros((2, 1, 2))
    logged[0, 0], online[0, 0] = (4.0, 0.0), (1.0, 1.0)
    prior = np.full((2, 1, 2), 0.5)
    dynamics, pairs, mass = weighted_mle(logged, online, offline_weight=0.5, prior=prior)
    np.testing.assert_allclose(mass[0, 0], [0.75, 0.25])
    np.testing.assert_allclose(dynamics, [[[0.75, 0.25]], [[0.5, 0.5]]])
    assert pairs.tolist() == [[1.0], [0.0]]


def test_penalty_by_hand():
    u = np.array([[0.5, 0.0], [0.0, 0.0]])
    model = LearnedModel(two_states(), u, 2.0)
    assert model.penalized.reward.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    stay = np.array([0, 0])
    assert uncertainty(model.mdp, u, stay) == model.total_uncertainty(stay) == pytest.approx(1.0)
    assert uncertainty(model.mdp, u, stay, normalized=True) == pytest.approx(0.5)


# --- Against brute force ---


@given(mdps(timing=discounted))
@few
def test_policy_iteration_finds_the_best_policy(mdp):
    values, policy = optimal(mdp)
    brute = np.max([policy_values(mdp, each) for each in all_policies(mdp)[:300]], axis=0)
    if len(all_policies(mdp)) <= 300:
        np.testing.assert_allclose(values, brute, atol=1e-9)
    assert (values >= brute - 1e-9).all()
    np.testing.assert_allclose(policy_values(mdp, policy), values, atol=1e-8)


@given(mdps())
@few
def test_optimal_values_solve_the_bellman_equation(mdp):
    for tie in ("first", "last", np.random.default_rng(0)):
        values, policy = optimal(mdp, tie)
        later = values if mdp.horizon is None else values[1:]
        now = values if mdp.horizon is None else values[:-1]
        np.testing.assert_allclose(q_values(mdp, later).max(-1), now, atol=1e-9)
        np.testing.assert_allclose(policy_values(mdp, policy), values, atol=1e-8)


@given(mdps(timing=discounted), st.sampled_from([1e-1, 1e-4, 1e-9]))
@few
def test_value_iteration_stops_as_close_as_promised(mdp, tol):
    values, sweeps = value_iteration(mdp, tol)
    assert np.abs(values - optimal(mdp)[0]).max() <= tol + 1e-10
    assert sweeps == 1 or mdp.discount > 0


@given(mdps(), seeds)
@few
def test_no_policy_leaves_the_range_of_values(mdp, seed):
    low, high = value_range(mdp)
    values = policy_values(mdp, random_policy(np.random.default_rng(seed), mdp))
    assert low - 1e-9 <= values.min() and values.max() <= high + 1e-9


@given(mdps(), seeds)
@few
def test_the_return_is_the_reward_over_the_occupancy(mdp, seed):
    policy = random_policy(np.random.default_rng(seed), mdp)
    visits = occupancy(mdp, policy)
    assert (visits >= -1e-12).all()
    assert visits.sum() == pytest.approx(mdp.effective_horizon)
    assert occupancy(mdp, policy, normalized=True).sum() == pytest.approx(1.0)
    assert expect(visits, mdp.reward) == pytest.approx(eta(mdp, policy), abs=1e-9)


@given(transfers(), seeds)
@few
def test_the_penalised_return_is_the_return_less_the_penalty(transfer, seed):
    """Eq. 19, for every policy; only with an occupancy that is not normalised."""
    model = transfer.new
    policy = random_policy(np.random.default_rng(seed), model.mdp)
    penalised = eta(penalize(model.mdp, model.uncertainty, model.penalty_coef), policy)
    total = model.penalty_coef * model.total_uncertainty(policy)
    assert penalised == pytest.approx(eta(model.mdp, policy) - total, abs=1e-9)


def test_returns_are_linear_in_the_start():
    rng = np.random.default_rng(3)
    mdp = random_mdp(rng, states=4, actions=2, discount=0.9)
    policy = random_policy(rng, mdp)
    one, other = rng.dirichlet(np.ones(4), size=2)
    mixed = eta(mdp.with_(start=0.3 * one + 0.7 * other), policy)
    parts = [eta(mdp.with_(start=start), policy) for start in (one, other)]
    assert mixed == pytest.approx(0.3 * parts[0] + 0.7 * parts[1])


def test_actions_and_their_probabilities_are_the_same_policy():
    mdp = random_mdp(np.random.default_rng(5), states=3, actions=2, discount=0.9, horizon=4)
    actions = np.array([0, 1, 1])
    every_time = np.tile(actions, (4, 1))
    for policy in (every_time, np.eye(2)[actions], np.eye(2)[every_time]):
        np.testing.assert_allclose(policy_values(mdp, policy), policy_values(mdp, actions))


# --- Generators ---


@given(seeds, st.integers(1, 5), st.floats(0.0, 1.0))
@few
def test_perturbed_dynamics_move_no_further_than_asked(seed, states, size):
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, states=states, actions=2, discount=0.9)
    moved = perturb(rng, mdp.transition, size=size)
    mdp.with_(transition=moved)
    assert D_l1(mdp.transition, moved) <= 2.0 * size + 1e-12
    np.testing.assert_array_equal(
        perturb(rng, mdp.transition, size=size, row_prob=0.0), mdp.transition
    )


def test_random_masses_sum_to_one_and_fit_their_dynamics():
    masses, dynamics = random_masses(
        np.random.default_rng(1), states=3, actions=2, logged=100, online=10, weight=0.5
    )
    np.testing.assert_allclose(masses.sum((1, 2, 3)), 1.0)
    np.testing.assert_allclose(dynamics * masses.sum(-1, keepdims=True), masses, atol=1e-12)
    # The log weighs 50 of 60.
    assert 0.5 * np.abs(masses[1] - masses[0]).sum() <= 10 / 60 + 1e-12


# --- What is refused ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transition": STAY_OR_MOVE * 0.5}, "transition: every row"),
        ({"transition": np.where(STAY_OR_MOVE > 0, 2.0, -1.0)}, "transition: every row"),
        ({"transition": STAY_OR_MOVE * np.nan}, "transition: every row"),
        ({"start": np.array([0.7, 0.7])}, "start: every row"),
        ({"reward": np.array([[0.0, np.inf], [0.0, 0.0]])}, "reward: expected finite"),
        ({"discount": 1.0}, "below 1 without a horizon"),
        ({"discount": 1.1, "horizon": 3}, "discount is 1.1"),
        ({"discount": -0.1}, "discount is -0.1"),
        ({"horizon": 0}, "horizon is 0"),
    ],
)
def test_an_mdp_that_is_none(changes, words):
    with pytest.raises(InputError, match=words):
        two_states(**changes)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (np.array([0, 2]), "action outside"),
        (np.array([0, -1]), "action outside"),
        (np.array([0, 1, 0]), "expected"),
        (np.array([[0, 1], [0, 1]]), "expected"),
        (np.array([[0.5, 0.4], [0.5, 0.5]]), "sum to 1"),
        (np.array([[1.5, -0.5], [0.5, 0.5]]), "nonnegative"),
    ],
)
def test_a_policy_that_is_none(policy, words):
    with pytest.raises(InputError, match=words):
        policy_values(two_states(), policy)


def test_other_wrong_input():
    with pytest.raises(InputError, match="use `optimal`"):
        value_iteration(two_states(horizon=3))
    with pytest.raises(InputError, match="tolerance is 0"):
        value_iteration(two_states(), 0.0)
    nothing = np.zeros((2, 2, 2))
    with pytest.raises(InputError, match="nothing to fit"):
        weighted_mle(nothing, nothing, offline_weight=1.0, prior=STAY_OR_MOVE)
    with pytest.raises(InputError, match="concentration is -1"):
        random_mdp(np.random.default_rng(0), states=2, actions=1, discount=0.5, concentration=-1.0)
