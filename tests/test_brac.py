"""BRAC: the copy of the log's policy, the divergence from it, and who pays for it."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from made_agents import batch, linear_actor, linear_critics
from moore.agents import brac
from moore.agents.brac import BRACConfig
from moore.agents.nets import sample_action

LINEAR = BRACConfig(
    hidden=(), critic_hidden=(), discount=0.5, divergence_weight=0.3, clone_updates=0, warm_up=0
)
CRITICS = [[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]
NEXT = np.asarray([1.0, 2.0, -3.0])
ROWS = batch(
    [0.5, -1.0, 2.0], [0.2, -0.4, 1.0], [1.0, 2.0, 4.0], NEXT,
    terminated=[False, True, False], truncated=[False, False, True],
)  # fmt: skip


def with_copy(copy, slope, mean, log_std):
    """A copy of that mean; `log_std` is before its bounds."""
    return linear_actor(copy, slope, mean, log_std)


def linear_state(log_std=-1.0, config=LINEAR):
    """The policy has the mean 0.5 s + 0.1 before its tanh, the copy 0.4 and exp(-2.5)."""
    state = brac.init(jax.random.key(0), 1, 1, config)
    parts = (
        linear_actor(state.actor, 0.5, 0.1, log_std),
        linear_critics(state.critics, CRITICS),
        linear_critics(state.target_critics, TARGET_CRITICS),
        with_copy(state.copy, 0.0, 0.4, 0.0),
    )
    return eqx.tree_at(lambda s: (s.actor, s.critics, s.target_critics, s.copy), state, parts)


def q(rows, obs, action):
    return np.stack([s * obs + a * action + b for s, a, b in np.asarray(rows, np.float64)])


def test_the_copys_width_is_bounded_on_both_sides():
    copy = linear_state().copy
    widths = [float(with_copy(copy, 0.0, 0.0, x)(jnp.zeros((1, 1)))[1][0, 0]) for x in (-9, 0, 9)]
    np.testing.assert_allclose(widths, [-5.0, -2.5, 0.0], atol=1e-5)


def test_the_divergence_is_that_of_the_gaussians_before_the_tanh():
    """KL = log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2: the tanh changes nothing."""
    state = linear_state(log_std=-2.0)
    obs = np.asarray([0.0, 1.0, 0.6])
    found = brac.divergence(
        state.actor, state.copy, jnp.asarray(obs)[:, None], jax.random.key(1), 100_000
    )
    first, second = np.exp(-2.0), np.exp(-2.5)
    apart = 0.5 * obs + 0.1 - 0.4
    expected = np.log(second / first) + (first**2 + apart**2) / (2 * second**2) - 0.5
    np.testing.assert_allclose(found, expected, rtol=0.05)


@pytest.mark.parametrize("value_penalty", [False, True])
def test_targets_pay_for_the_next_states_divergence_in_the_form_with_a_value_penalty(value_penalty):
    config = dataclasses.replace(LINEAR, value_penalty=value_penalty)
    state, key = linear_state(config=config), jax.random.key(3)
    key_action, key_divergence = jax.random.split(key)
    action = np.asarray(sample_action(state.actor, ROWS.next_obs, key_action)[0][:, 0], np.float64)
    far = brac.divergence(state.actor, state.copy, ROWS.next_obs, key_divergence, 4)
    following = q(TARGET_CRITICS, NEXT, action).min(axis=0) - 0.3 * value_penalty * np.asarray(far)
    expected = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * following
    found = brac.targets(state, ROWS, key, config)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_actor_weighs_values_against_divergence_and_in_the_warm_up_sees_divergence_alone():
    state, key = linear_state(), jax.random.key(4)
    key_action, key_divergence = jax.random.split(key)
    action = np.asarray(sample_action(state.actor, ROWS.obs, key_action)[0][:, 0], np.float64)
    value = q(CRITICS, np.asarray([0.5, -1.0, 2.0]), action).min(axis=0).mean()
    far = float(brac.divergence(state.actor, state.copy, ROWS.obs, key_divergence, 4).mean())
    for warming_up in (False, True):
        loss, mean = brac.actor_loss(
            state.actor, state.critics, state.copy, ROWS.obs, jnp.asarray(warming_up), key, LINEAR
        )
        assert float(mean) == pytest.approx(far, rel=1e-5)
        assert float(loss) == pytest.approx(0.3 * far - (not warming_up) * value, rel=1e-4)


def test_the_copy_learns_by_likelihood_with_an_entropy_bonus():
    state, key = linear_state(), jax.random.key(5)
    density = lambda a: stats.norm.logpdf(np.arctanh(a), 0.4, np.exp(-2.5)) - np.log(1 - a**2)  # noqa: E731
    own = np.asarray(sample_action(state.copy, ROWS.obs, key)[0][:, 0], np.float64)
    logged = np.clip([0.2, -0.4, 1.0], -0.999, 0.999)  # off the border, where there is no density
    loss, entropy = brac.clone_loss(state.copy, jnp.asarray(0.7), ROWS.obs, ROWS.action, key)
    assert float(entropy) == pytest.approx(-density(own).mean(), rel=1e-3)
    expected = 0.7 * density(own).mean() - density(logged).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def two_updates():
    """States before, between and after two updates, of which the first one clones."""
    config = dataclasses.replace(LINEAR, clone_updates=1)
    update = jax.jit(brac.update, static_argnames="config")
    state = linear_state(config=config)
    cloned, _ = update(state, ROWS, jax.random.key(0), config)
    return state, cloned, update(cloned, ROWS, jax.random.key(1), config)[0]


def test_first_the_copy_learns_alone(two_updates):
    before, cloned, _ = two_updates
    for name in ("actor", "critics", "target_critics", "actor_opt", "critic_opt"):
        assert eqx.tree_equal(getattr(cloned, name), getattr(before, name)), name
    assert not eqx.tree_equal(cloned.copy, before.copy)
    assert float(cloned.log_temperature) != 0.0 and int(cloned.updates) == 1


def test_then_the_copy_rests_and_all_else_learns(two_updates):
    _, cloned, after = two_updates
    for name in ("copy", "copy_opt", "log_temperature", "temperature_opt"):
        assert eqx.tree_equal(getattr(after, name), getattr(cloned, name)), name
    for name in ("actor", "critics", "target_critics"):
        assert not eqx.tree_equal(getattr(after, name), getattr(cloned, name)), name
    # Adam's first step has the size of the learning rate: each part has its own.
    moved = lambda where: float(jnp.abs(where(after) - where(cloned)).max())  # noqa: E731
    assert moved(lambda s: s.actor.trunk.layers[0].bias) == pytest.approx(3e-4, rel=1e-2)
    assert moved(lambda s: s.critics.layers[0].bias) == pytest.approx(1e-3, rel=1e-2)


BANDIT = BRACConfig(
    hidden=(32,), critic_hidden=(32,), actor_learning_rate=3e-3, clone_learning_rate=3e-3,
    learning_rate=3e-3, clone_updates=800, warm_up=100,
)  # fmt: skip


@partial(jax.jit, static_argnames="config")
def learned(data, config):
    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, 500)
        drawn = jax.tree.map(lambda column: column[rows], data)
        return brac.update(state, drawn, key_update, config)[0], None

    state = brac.init(jax.random.key(0), 1, 1, config)
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 1600))[0]


@pytest.mark.slow
def test_it_copies_the_log_and_stays_near_it_as_far_as_the_weight_says():
    """The log plays tanh of N(0.2, 0.3); the reward 2 a rises beyond all that it tried."""
    action = np.tanh(np.random.default_rng(0).normal(0.2, 0.3, 500))
    ends = np.ones(500, bool)
    data = batch(np.zeros(500), action, 2.0 * action, np.zeros(500), ends)
    near, far = (
        learned(data, dataclasses.replace(BANDIT, divergence_weight=weight))
        for weight in (3.0, 0.0)
    )
    mean, log_std = near.copy(jnp.zeros((1, 1)))
    assert float(mean[0, 0]) == pytest.approx(0.2, abs=0.1)
    assert float(jnp.exp(log_std[0, 0])) == pytest.approx(0.3, abs=0.1)
    mode = lambda state: float(brac.act_mode(brac.policy(state), jnp.zeros((1, 1)))[0, 0])  # noqa: E731
    assert mode(near) == pytest.approx(np.tanh(0.2), abs=0.2)
    assert mode(far) > 0.8
