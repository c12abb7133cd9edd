"""SQIL: rows of the log earn 1, others 0, and SAC learns from that."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_agents import batch
from moore.agents import sac, sqil
from moore.agents.sac import SACConfig
from moore.replay.buffer import empty_replay

SMALL = SACConfig(hidden=(32,), learning_rate=3e-3, batch_size=64)


def test_a_logged_row_earns_one_and_an_online_or_imagined_one_nothing():
    found = sqil.imitation_reward(jnp.asarray([0, 2, 3, 7, -1]), jnp.asarray(3))
    np.testing.assert_array_equal(found, [1.0, 1.0, 0.0, 0.0, 0.0])


def test_the_rows_of_the_log_are_those_that_its_buffer_holds():
    log, online = (empty_replay(rows, 1, 1, max_holdout=1) for rows in (5, 9))
    state = sqil.init(jax.random.key(0), 1, 1, SMALL)
    assert int(state.logged) == 0
    assert int(sqil.summarise_data(state, log, online, SMALL).logged) == 5


def test_an_update_is_that_of_sac_on_these_rewards_whatever_was_recorded():
    rows = batch([0.5, -1.0, 2.0], [0.2, -0.4, 0.9], [7.0, -3.0, 5.0], [1.0, 2.0, -3.0])
    state = dataclasses.replace(
        sqil.init(jax.random.key(0), 1, 1, SMALL), logged=jnp.asarray(2, jnp.int32)
    )
    update = jax.jit(sqil.update, static_argnames="config")
    found, metrics = update(state, rows, jax.random.key(1), SMALL)
    earned = dataclasses.replace(rows, reward=jnp.asarray([1.0, 1.0, 0.0]))
    expected, _ = jax.jit(sac.update, static_argnames="config")(
        state.agent, earned, jax.random.key(1), SMALL
    )
    for a, b in zip(jax.tree.leaves(found.agent), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert float(metrics["logged_share"]) == pytest.approx(2 / 3)


def test_clipped_targets_lie_between_no_reward_and_one_at_every_step():
    clipped = dataclasses.replace(SMALL, discount=0.5, clip_targets=1.0, floor_targets=0.0)
    agent = sqil.init(jax.random.key(0), 1, 1, clipped).agent
    assert float(sac.least_value(agent.worst_reward, 0.5)) == 0.0
    assert float(sac.largest_value(agent.best_reward, jnp.zeros(()), 1, 0.5)) == pytest.approx(2.0)


def test_it_does_what_the_log_does_although_another_action_was_rewarded():
    """Bandit: the log plays about 0.4; online rows are uniform; recorded rewards favour -0.8."""
    rng = np.random.default_rng(0)
    action = np.r_[np.clip(rng.normal(0.4, 0.1, 500), -1, 1), rng.uniform(-1, 1, 500)]
    data = batch(
        np.zeros(1000), action, -np.abs(action + 0.8), np.zeros(1000),
        terminated=np.ones(1000, bool),
    )  # fmt: skip
    state = eqx.tree_at(
        lambda s: s.logged, sqil.init(jax.random.key(1), 1, 1, SMALL), jnp.asarray(500, jnp.int32)
    )

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, 1000)
        drawn = jax.tree.map(lambda column: column[rows], data)
        return sqil.update(state, drawn, key_update, SMALL)

    learn = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(2), 1000))[0])
    learned = learn(state)
    mode = float(sqil.act_mode(sqil.policy(learned), jnp.zeros((1, 1)))[0, 0])
    assert mode == pytest.approx(0.4, abs=0.2)
    obs, action = jnp.zeros((2, 1)), jnp.asarray([[0.4], [-0.8]])
    values = sac.q_values(learned.agent.critics, obs, action).mean(axis=0)
    assert float(values[0]) > 0.6 and abs(float(values[1])) < 0.25
