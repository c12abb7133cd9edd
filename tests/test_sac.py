"""Soft actor-critic: worked numbers, gradients, and a bandit whose optimum is known."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from moore.agents import sac
from moore.agents.nets import Actor, mode_action, sample_action, squashed_log_density
from moore.agents.sac import SACConfig, bellman_target
from moore.replay.buffer import Batch

CONFIG = SACConfig(hidden=(32, 32), batch_size=64, target_entropy=-1.0, learning_rate=3e-3)
update = jax.jit(sac.update, static_argnames="config")


def batch(key, size: int = 64, *, terminated: bool = True) -> Batch:
    """One-step episodes with reward -(a - 0.5)^2: the best action is 0.5."""
    action = jax.random.uniform(key, (size, 1), minval=-1.0, maxval=1.0)
    obs = jnp.ones((size, 1))
    return Batch(
        obs,
        action,
        -((action[:, 0] - 0.5) ** 2),
        obs,
        jnp.full(size, terminated),
        jnp.zeros(size, bool),
        jnp.arange(size),
    )


def test_log_density_of_a_squashed_gaussian_is_scipys_with_the_change_of_variables():
    pre_tanh, mean, log_std = 0.7, 0.2, np.log(0.5)
    expected = stats.norm.logpdf(pre_tanh, mean, 0.5) - np.log(1 - np.tanh(pre_tanh) ** 2)
    result = squashed_log_density(
        jnp.asarray([pre_tanh]), jnp.asarray([mean]), jnp.asarray([log_std])
    )
    assert float(result) == pytest.approx(expected, rel=1e-5)


def test_log_density_integrates_to_one_over_the_actions():
    action = np.linspace(-1, 1, 20_001)[1:-1]
    pre_tanh = jnp.asarray(np.arctanh(action))[:, None]
    log_density = squashed_log_density(
        pre_tanh, jnp.full_like(pre_tanh, 0.3), jnp.zeros_like(pre_tanh)
    )
    assert np.trapezoid(np.exp(np.asarray(log_density)), action) == pytest.approx(1.0, abs=2e-3)


def test_log_density_stays_finite_where_tanh_saturates():
    result = squashed_log_density(jnp.asarray([30.0]), jnp.asarray([0.0]), jnp.asarray([2.0]))
    assert bool(jnp.isfinite(result))


def test_log_std_is_clipped_as_a_logarithm():
    actor = Actor(1, 1, (4,), key=jax.random.key(0))
    wide = eqx.tree_at(lambda a: a.trunk.layers[-1].bias, actor, jnp.asarray([0.0, 100.0]))
    narrow = eqx.tree_at(lambda a: a.trunk.layers[-1].bias, actor, jnp.asarray([0.0, -100.0]))
    assert float(wide(jnp.zeros(1))[1][0]) == 2.0
    assert float(narrow(jnp.zeros(1))[1][0]) == -20.0


def test_bellman_target_stops_at_a_terminal_and_goes_on_at_a_time_limit():
    reward, value = jnp.asarray([1.0, 1.0]), jnp.asarray([10.0, 10.0])
    # Row 0 terminated; row 1 was cut by a time limit, which is no termination.
    target = bellman_target(reward, jnp.asarray([1.0, 0.0]), value, 0.9)
    np.testing.assert_allclose(target, [1.0, 10.0])


def test_the_update_ignores_truncation_and_heeds_termination():
    state = sac.init(jax.random.key(0), 1, 1, CONFIG)
    data = batch(jax.random.key(1), terminated=False)
    cut = eqx.tree_at(lambda d: d.truncated, data, jnp.ones(64, bool))
    ended = eqx.tree_at(lambda d: d.terminated, data, jnp.ones(64, bool))
    key = jax.random.key(2)
    plain, _ = update(state, data, key, CONFIG)
    assert eqx.tree_equal(plain, update(state, cut, key, CONFIG)[0])
    assert not eqx.tree_equal(plain, update(state, ended, key, CONFIG)[0])


def test_q_target_of_a_terminal_batch_is_its_mean_reward():
    state = sac.init(jax.random.key(0), 1, 1, CONFIG)
    data = batch(jax.random.key(1))
    _, metrics = update(state, data, jax.random.key(2), CONFIG)
    assert float(metrics["q_target"]) == pytest.approx(float(data.reward.mean()), rel=1e-5)


def test_the_bellman_target_sends_no_gradient_into_actor_or_target_critics():
    """The critics' gradient does not depend on where the target came from."""
    state = sac.init(jax.random.key(0), 1, 1, CONFIG)
    data, target = batch(jax.random.key(1)), jnp.linspace(-1.0, 1.0, 64)
    grad = jax.grad(sac.critic_loss)(state.critics, data, target)
    q = sac.q_values(state.critics, data.obs, data.action)
    # d/db of 1/2 mean (q + b - y)^2, worked by hand: the mean error.
    np.testing.assert_allclose(
        grad.layers[-1].bias[:, 0], jnp.mean(q - target[None], axis=1), rtol=1e-4, atol=1e-6
    )


def test_temperature_falls_while_the_entropy_is_above_its_target():
    config = SACConfig(hidden=(8,), target_entropy=-50.0)
    state = sac.init(jax.random.key(0), 1, 1, config)
    after, _ = update(state, batch(jax.random.key(1)), jax.random.key(2), config)
    # Adam's first step has the size of the learning rate.
    assert float(after.log_temperature) == pytest.approx(-config.learning_rate, rel=1e-3)


def test_target_critics_move_by_the_target_rate():
    state = sac.init(jax.random.key(0), 1, 1, CONFIG)
    after, _ = update(state, batch(jax.random.key(1)), jax.random.key(2), CONFIG)
    old, new = state.target_critics.layers[0].weight, after.critics.layers[0].weight
    np.testing.assert_allclose(
        after.target_critics.layers[0].weight, 0.995 * old + 0.005 * new, rtol=1e-4, atol=1e-7
    )


def test_finds_the_best_action_of_a_bandit():
    def step(state, key):
        key_data, key_update = jax.random.split(key)
        return sac.update(state, batch(key_data), key_update, CONFIG)

    run = jax.jit(lambda s, keys: jax.lax.scan(step, s, keys))
    state, metrics = run(
        sac.init(jax.random.key(0), 1, 1, CONFIG), jax.random.split(jax.random.key(1), 1500)
    )
    assert float(mode_action(sac.policy(state), jnp.ones(1))[0]) == pytest.approx(0.5, abs=0.1)
    # The temperature's loop is slow; by now the entropy has come most of the way from log 2.
    assert float(metrics["entropy"][-200:].mean()) < -0.3


@pytest.mark.slow
def test_rlpd_finds_it_too_with_ten_normalised_critics_two_of_which_judge():
    """And they have learned the true values, -(a - 0.5)^2."""
    config = dataclasses.replace(
        CONFIG, critics=10, critic_subset=2, layer_norm=True, entropy_per_action=-0.5, actor_every=4
    )

    def step(state, key):
        key_data, key_update = jax.random.split(key)
        return sac.update(state, batch(key_data), key_update, config)

    run = jax.jit(lambda s, keys: jax.lax.scan(step, s, keys))
    state, _ = run(
        sac.init(jax.random.key(0), 1, 1, config), jax.random.split(jax.random.key(1), 3000)
    )
    assert float(mode_action(sac.policy(state), jnp.ones(1))[0]) == pytest.approx(0.5, abs=0.1)
    action = jnp.linspace(-0.8, 0.8, 9)[:, None]
    values = sac.q_values(state.critics, jnp.ones((9, 1)), action)
    expected = np.broadcast_to(-((action[:, 0] - 0.5) ** 2), (10, 9))
    np.testing.assert_allclose(values, expected, atol=0.15)


def test_the_two_critics_start_different():
    critics = sac.init(jax.random.key(0), 3, 2, CONFIG).critics
    assert not np.allclose(critics.layers[0].weight[0], critics.layers[0].weight[1])


def test_one_update_maps_over_a_seed_axis():
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(lambda k: sac.init(k, 1, 1, CONFIG))(keys)
    data = jax.vmap(batch)(keys)
    updated = jax.jit(jax.vmap(lambda s, d, k: sac.update(s, d, k, CONFIG)))
    batched, _ = updated(states, data, keys)
    one = lambda tree: jax.tree.map(lambda x: x[1], tree)  # noqa: E731
    single, _ = update(one(states), one(data), keys[1], CONFIG)
    np.testing.assert_allclose(
        one(batched).actor.trunk.layers[0].weight, single.actor.trunk.layers[0].weight, atol=1e-5
    )


def test_samples_lie_inside_the_bounds_and_follow_the_key():
    actor = Actor(2, 3, (8,), key=jax.random.key(0))
    obs = jnp.zeros((100, 2))
    action, _ = sample_action(actor, obs, jax.random.key(1))
    assert float(jnp.abs(action).max()) < 1.0
    np.testing.assert_array_equal(action, sample_action(actor, obs, jax.random.key(1))[0])
    assert not np.allclose(action, sample_action(actor, obs, jax.random.key(2))[0])


def test_the_actor_may_learn_once_in_so_many_updates():
    config = dataclasses.replace(CONFIG, actor_every=2)
    state = sac.init(jax.random.key(0), 1, 1, config)
    waited, first = update(state, batch(jax.random.key(1)), jax.random.key(2), config)
    learned, second = update(waited, batch(jax.random.key(1)), jax.random.key(3), config)
    assert eqx.tree_equal(waited.actor, state.actor)
    assert not eqx.tree_equal(waited.critics, state.critics)
    assert not eqx.tree_equal(learned.actor, state.actor)
    assert (int(waited.updates), int(learned.updates)) == (1, 2)
    assert float(first["entropy"]) == 0.0
    # Scaled so that the mean over both updates is that of the one step.
    every, alone = dataclasses.replace(config, actor_every=1), waited
    _, same = update(alone, batch(jax.random.key(1)), jax.random.key(3), every)
    assert float(second["entropy"]) == pytest.approx(2 * float(same["entropy"]), rel=1e-5)


def test_the_target_entropy_goes_by_the_number_of_actions():
    """The temperature rises below the target entropy and falls above it; one action."""

    def temperature(per_action):
        config = dataclasses.replace(CONFIG, target_entropy=None, entropy_per_action=per_action)
        state = sac.init(jax.random.key(0), 1, 1, config)
        after, metrics = update(state, batch(jax.random.key(1)), jax.random.key(2), config)
        return float(metrics["entropy"]), float(after.log_temperature)

    entropy, _ = temperature(-1.0)
    assert temperature(entropy + 0.01)[1] > 0 > temperature(entropy - 0.01)[1]
