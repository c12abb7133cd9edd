"""Lambda-returns: worked numbers, and a linear system whose return is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_models import NEVER, TINY, models
from moore.agents.lambda_returns import lambda_returns
from moore.dynamics.imagine import rollout


def returns(reward, value, *, goes_on=True, terminated=None, **settings):
    """Of one rollout, as a list."""
    steps = len(reward)

    def column(x, kind=jnp.float32):
        return jnp.broadcast_to(jnp.asarray(x, kind), (steps,))[:, None]

    ends = column(False if terminated is None else terminated, bool)
    goes_on = column(goes_on, bool) & ~ends
    found = lambda_returns(column(reward), ends, goes_on, column(value), **settings)
    return found[:, 0].tolist()


def test_a_return_is_worked_by_hand():
    # G_1 = 2 + 0.5 * 8 = 6; G_0 = 1 + 0.5 * (0.5 * 4 + 0.5 * 6) = 3.5.
    found = returns([1.0, 2.0], [4.0, 8.0], discount=0.5, trace=0.5)
    assert found == [3.5, 6.0]


def test_a_trace_of_0_gives_one_step_targets():
    found = returns([1.0, 2.0], [4.0, 8.0], discount=0.5, trace=0.0)
    assert found == [1.0 + 0.5 * 4.0, 2.0 + 0.5 * 8.0]


def test_a_trace_of_1_sums_the_rewards_and_the_value_at_the_end():
    found = returns([1.0, 2.0, 4.0], [100.0, 100.0, 8.0], discount=0.5, trace=1.0)
    assert found[0] == 1.0 + 0.5 * 2.0 + 0.25 * 4.0 + 0.125 * 8.0


def test_nothing_is_earned_after_a_termination():
    found = returns([1.0, 2.0], [9.0, 9.0], terminated=[False, True], discount=0.5, trace=1.0)
    assert found == [1.0 + 0.5 * 2.0, 2.0]


def test_where_a_rollout_was_cut_the_value_stands_for_the_rest():
    found = returns([1.0, 50.0], [4.0, 8.0], goes_on=[False, True], discount=0.5, trace=0.9)
    assert found[0] == 1.0 + 0.5 * 4.0


@given(
    trace=st.floats(0.0, 1.0),
    discount=st.floats(0.1, 0.99),
    reward=st.floats(-5.0, 5.0),
    cut=st.integers(1, 6),
)
@settings(max_examples=10)
def test_a_value_that_is_right_makes_every_target_right(trace, discount, reward, cut):
    right = reward / (1.0 - discount)
    goes_on = np.arange(6) != cut
    found = returns([reward] * 6, right, goes_on=goes_on, discount=discount, trace=trace)
    assert found == pytest.approx([right] * 6, rel=1e-4, abs=1e-4)


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
        happened,
        value,
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
        happened,
        nothing,
        discount=discount,
        trace=1.0,
    )
    assert found[0].tolist() == pytest.approx([1.0 / 0.19, -2.0 / 0.19], rel=1e-4)
