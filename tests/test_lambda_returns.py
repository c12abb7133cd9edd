"""Lambda-returns: worked numbers, and a linear system whose return is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_models import NEVER, TINY, models
from moore.agents.lambda_returns import NextState, follows, lambda_returns, look_ahead
from moore.agents.nets import MLP, Actor, sample_action
from moore.dynamics.imagine import rollout
from moore.replay.buffer import empty_transitions


def returns(reward, value, *, bonus=0.0, happened=None, terminated=None, **settings):
    """Of one rollout, as a list."""
    steps = len(reward)

    def column(x, kind=jnp.float32):
        return jnp.broadcast_to(jnp.asarray(x, kind), (steps,))[:, None]

    happened = column(True if happened is None else happened, bool)
    ends = column(False if terminated is None else terminated, bool)
    next_state = NextState(column(value), column(bonus))
    goes_on = follows(happened) & ~ends
    found = lambda_returns(column(reward), ends, goes_on, next_state, **settings)
    return found[:, 0].tolist()


def test_a_return_is_worked_by_hand():
    # G_1 = 2 + 0.5 * 8 = 6; G_0 = 1 + 0.5 * (0.5 * 4 + 0.5 * (1 + 6)) = 3.75.
    found = returns([1.0, 2.0], [4.0, 8.0], bonus=1.0, discount=0.5, trace=0.5)
    assert found == [3.75, 6.0]


def test_a_trace_of_0_gives_one_step_targets():
    found = returns([1.0, 2.0], [4.0, 8.0], bonus=3.0, discount=0.5, trace=0.0)
    assert found == [1.0 + 0.5 * 4.0, 2.0 + 0.5 * 8.0]


def test_a_trace_of_1_sums_the_rewards_and_the_value_at_the_end():
    found = returns([1.0, 2.0, 4.0], [100.0, 100.0, 8.0], discount=0.5, trace=1.0)
    assert found[0] == 1.0 + 0.5 * 2.0 + 0.25 * 4.0 + 0.125 * 8.0


def test_nothing_is_earned_after_a_termination():
    found = returns(
        [1.0, 2.0], [9.0, 9.0], terminated=[False, True], bonus=1.0, discount=0.5, trace=1.0
    )
    assert found == [1.0 + 0.5 * (1.0 + 2.0), 2.0]


def test_where_a_rollout_was_halted_the_value_stands_for_the_rest():
    found = returns([1.0, 50.0], [4.0, 8.0], happened=[True, False], discount=0.5, trace=0.9)
    assert found[0] == 1.0 + 0.5 * 4.0


def test_a_clipped_target_enters_the_one_before_it():
    found = returns([1.0, 100.0], [0.0, 0.0], discount=0.5, trace=1.0, low=-1.0, high=10.0)
    assert found == [1.0 + 0.5 * 10.0, 10.0]


@given(
    trace=st.floats(0.0, 1.0),
    discount=st.floats(0.1, 0.99),
    reward=st.floats(-5.0, 5.0),
    cut=st.integers(1, 6),
)
@settings(max_examples=10)
def test_a_value_that_is_right_makes_every_target_right(trace, discount, reward, cut):
    right = reward / (1.0 - discount)
    happened = np.arange(6) < cut
    found = returns([reward] * 6, right, happened=happened, discount=discount, trace=trace)
    assert found[:cut] == pytest.approx([right] * cut, rel=1e-4, abs=1e-4)


def linear_rollout(length: int):
    """r = s, s' = 0.9 s, from 1 and -2."""
    ensemble = models([[0.0, 0.0]] * 2, [[TINY, TINY]] * 2, mean_slope=((1.0, -0.1), (0.0, 0.0)))
    return rollout(
        ensemble,
        lambda obs, key: jnp.zeros_like(obs),
        NEVER,
        jnp.asarray([[1.0], [-2.0]]),
        jax.random.key(0),
        length=length,
        penalty_coef=0.0,
        obs_bound=float("inf"),
    )


@pytest.mark.parametrize("trace", [0.0, 0.95, 1.0])
def test_the_return_of_a_linear_system_comes_out_exactly(trace):
    """V(s) = s / (1 - 0.9 gamma), along the whole rollout and whatever the trace is."""
    discount = 0.99
    transitions, happened, _ = linear_rollout(20)
    value = transitions.next_obs[..., 0] / (1.0 - 0.9 * discount)
    found = lambda_returns(
        transitions.reward,
        transitions.terminated,
        follows(happened),
        NextState(value, jnp.zeros_like(value)),
        discount=discount,
        trace=trace,
    )
    right = np.asarray(transitions.obs[..., 0]) / (1.0 - 0.9 * discount)
    assert np.asarray(found) == pytest.approx(right, rel=1e-4)


def test_a_long_rollout_needs_no_critic():
    """With a trace of 1, and critics that know nothing."""
    discount = 0.9
    transitions, happened, _ = linear_rollout(200)
    nothing = jnp.zeros_like(transitions.reward)
    found = lambda_returns(
        transitions.reward,
        transitions.terminated,
        follows(happened),
        NextState(nothing, nothing),
        discount=discount,
        trace=1.0,
    )
    assert found[0].tolist() == pytest.approx([1.0 / 0.19, -2.0 / 0.19], rel=1e-4)


def test_looking_ahead_values_next_states_by_the_lowest_critic_with_entropy():
    key = jax.random.key(0)
    actor = Actor(1, 1, (), key=key)
    critics = jax.vmap(lambda k: MLP(2, (), 1, key=k))(jax.random.split(key, 2))
    transitions = jax.tree.map(lambda x: x.reshape(2, 3, *x.shape[1:]), empty_transitions(6, 1, 1))
    found = look_ahead(actor, critics, jnp.asarray(0.5), transitions, key)
    action, log_density = sample_action(actor, transitions.next_obs, key)
    both = action * critics.layers[0].weight[:, 1, 0][:, None, None, None]
    bonus = -0.5 * np.asarray(log_density)
    assert np.asarray(found.entropy_bonus) == pytest.approx(bonus)
    lowest = np.asarray(both.min(axis=0)[..., 0])
    assert np.asarray(found.value) == pytest.approx(lowest + bonus, rel=1e-5)
