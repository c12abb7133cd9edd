"""TD3 near the policy that acts: numbers by hand, and a task with a known answer."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NOTHING, of_rewards, transitions
from moore.agents import td3
from moore.agents.td3 import TD3Config
from moore.replay.buffer import as_batch

CONFIG = TD3Config(hidden=(32, 32), batch_size=64, return_updates=0, warm_up=0)


def agent(config=CONFIG, seed=0):
    return td3.init(jax.random.key(seed), 1, 1, config)


def constant(state, value):
    """The agent whose critics, and targets, say this value everywhere."""
    nothing = jax.tree.map(jnp.zeros_like, state.critics)
    last = nothing.layers[-1].bias
    said = eqx.tree_at(lambda c: c.layers[-1].bias, nothing, jnp.full_like(last, value))
    return dataclasses.replace(state, critics=said, target_critics=said)


def rows(reward, *, terminated=False, count=4):
    obs = np.linspace(-1.0, 1.0, count)
    data = transitions(obs, np.full(count, reward), obs, np.full(count, terminated))
    return as_batch(data, jnp.arange(count))


def test_targets_are_scaled_rewards_and_the_discounted_value_of_what_follows():
    config = dataclasses.replace(CONFIG, discount=0.5)
    state = dataclasses.replace(constant(agent(config), 8.0), scale=jnp.asarray(3.0))
    found = td3.targets(state, rows(2.0), jax.random.key(0), config)
    assert found.tolist() == [10.0] * 4
    ended = td3.targets(state, rows(2.0, terminated=True), jax.random.key(0), config)
    assert ended.tolist() == [6.0] * 4


def test_the_target_is_the_lowest_of_the_critics():
    state = constant(agent(), 0.0)
    bias = jnp.asarray([[5.0], [-1.0]])
    target = eqx.tree_at(lambda c: c.layers[-1].bias, state.target_critics, bias)
    state = dataclasses.replace(state, target_critics=target)
    found = td3.targets(state, rows(0.0), jax.random.key(0), CONFIG)
    assert np.allclose(found, -CONFIG.discount)


def test_rewards_are_counted_in_their_standard_deviation_and_critics_begin_at_the_mean_return():
    log = of_rewards([9.0, 11.0] * 32)
    config = dataclasses.replace(CONFIG, discount=0.0)
    state = td3.summarise_data(agent(config), log, NOTHING, config)
    assert float(state.scale) == pytest.approx(1.0, rel=0.02)  # of the rows that are not held out
    assert np.allclose(state.critics.layers[-1].bias, 10.0, rtol=0.02)
    assert bool(state.warm)


@pytest.mark.parametrize(("rewards", "scale"), [([5.0] * 8, 0.2), ([0.0] * 8, 1.0)])
def test_rewards_that_are_all_alike_are_counted_in_their_size(rewards, scale):
    state = td3.summarise_data(agent(), of_rewards(rewards), NOTHING, CONFIG)
    assert float(state.scale) == pytest.approx(scale)


def test_the_critics_learn_the_log_once():
    log, config = of_rewards([0.0, 1.0] * 8), dataclasses.replace(CONFIG, warm_up=5)
    once = td3.summarise_data(agent(config), log, NOTHING, config)
    again = td3.summarise_data(once, log, NOTHING, config)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), once, again))


def test_it_begins_with_a_policy_of_any_widths():
    wide = agent(dataclasses.replace(CONFIG, hidden=(5,))).actor
    begun = td3.begin_with(agent(), wide, CONFIG)
    assert eqx.tree_equal(begun.actor, wide) and eqx.tree_equal(begun.anchor, wide)
    after, _ = td3.update(begun, rows(1.0), jax.random.key(0), CONFIG)
    assert int(after.updates) == 1


def test_only_the_first_policy_that_acts_is_the_actor_too():
    state, first, second = agent(), agent(seed=1).actor, agent(seed=2).actor
    begun = td3.adopt(state, first, CONFIG)
    assert eqx.tree_equal(begun.actor, first) and eqx.tree_equal(begun.anchor, first)
    warm = dataclasses.replace(begun, warm=jnp.ones((), bool))
    later = td3.adopt(warm, second, CONFIG)
    assert eqx.tree_equal(later.actor, first) and eqx.tree_equal(later.anchor, second)


def test_the_reach_is_that_of_the_settings_at_the_hand_over():
    state = td3.begin_with(agent(), agent(seed=1).actor, dataclasses.replace(CONFIG, reach=0.5))
    assert float(state.reach) == 0.5
    assert float(td3.adopt(state, agent(seed=2).actor, CONFIG).reach) == 0.5


def test_the_reach_stands_still_where_one_trial_of_three_is_won():
    state = agent()
    for won in (True, False, False):
        state = td3.after_verdict(state, won, CONFIG)
    assert float(state.reach) == pytest.approx(CONFIG.reach)
    assert float(td3.after_verdict(state, True, CONFIG).reach) > CONFIG.reach


def test_the_reach_keeps_within_its_limits():
    state = agent()
    for _ in range(40):
        state = td3.after_verdict(state, True, CONFIG)
    assert float(state.reach) == 1.0
    for _ in range(80):
        state = td3.after_verdict(state, False, CONFIG)
    assert float(state.reach) == pytest.approx(CONFIG.reach / 2)


def learned(config, updates=1500):
    """After learning from random actions that earn -(a - 0.5)^2 at once."""
    rng = np.random.default_rng(0)
    action = rng.uniform(-1.0, 1.0, (512, 1)).astype(np.float32)
    obs = rng.normal(size=512).astype(np.float32)
    data = transitions(obs, -((action[:, 0] - 0.5) ** 2), obs)
    data = dataclasses.replace(data, action=jnp.asarray(action))
    state = agent(config)

    @jax.jit
    def learn(state, key):
        key_rows, key_update = jax.random.split(key)
        chosen = jax.random.randint(key_rows, (config.batch_size,), 0, 512)
        batch = as_batch(jax.tree.map(lambda column: column[chosen], data), chosen)
        return td3.update(state, batch, key_update, config)

    for key in jax.random.split(jax.random.key(1), updates):
        state, metrics = learn(state, key)
    action = td3.mean_action(state.actor, data.obs)
    away = action - td3.mean_action(state.anchor, data.obs)
    return action, float(jnp.sqrt(jnp.mean(away**2))), metrics


def test_it_finds_the_best_action_within_its_reach():
    config = dataclasses.replace(
        CONFIG, discount=0.0, actor_every=1, critic_learning_rate=3e-3, reach=1.0
    )
    action, _, _ = learned(config)
    assert np.allclose(action, 0.5, atol=0.15)


def test_it_goes_no_farther_than_its_reach():
    config = dataclasses.replace(
        CONFIG, discount=0.0, actor_every=1, critic_learning_rate=3e-3, reach=0.1
    )
    _, away, metrics = learned(config)
    assert away == pytest.approx(0.1, rel=0.3)
    assert float(metrics["pull"]) > 0.0 and float(metrics["reach"]) == pytest.approx(0.1)


@pytest.mark.parametrize("updates", [20, 60, 180])
def test_it_does_not_run_away_before_its_pull_has_found_its_size(updates):
    config = dataclasses.replace(
        CONFIG, discount=0.0, actor_every=1, critic_learning_rate=3e-3, reach=0.05
    )
    assert learned(config, updates)[1] < 0.075


def test_the_actor_learns_in_every_fourth_update_alone():
    state = agent()
    batch, moved = rows(1.0), []
    for key in jax.random.split(jax.random.key(0), 8):
        after, _ = td3.update(state, batch, key, CONFIG)
        moved.append(not eqx.tree_equal(after.actor, state.actor))
        state = after
    assert moved == [False, False, False, True] * 2
