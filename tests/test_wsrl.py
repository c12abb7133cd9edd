"""WSRL: CQL before the hand-over, plain SAC with an ensemble after it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_agents import batch, linear_actor, linear_critics
from moore.agents import cql, wsrl
from moore.agents.wsrl import WSRLConfig
from moore.replay.buffer import Batch

LINEAR = WSRLConfig(
    discount=0.5,
    critics=2,
    critic_subset=None,
    layer_norm=False,
    actor_every=2,
    sampled_actions=2,
    batch_size=3,
    hidden=(),
)
CRITICS = [[1.0, 2.0, 0.0], [-1.0, 0.5, 1.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]
NEXT = np.asarray([1.0, 2.0, -3.0])
ROWS = batch(
    [0.5, -1.0, 2.0], [0.2, -0.4, 1.0], [1.0, 2.0, 4.0], NEXT,
    terminated=[False, True, False], truncated=[False, False, True],
)  # fmt: skip

update = jax.jit(wsrl.update, static_argnames="config")


def linear_state(*, online: bool, config=LINEAR):
    """The policy is tanh(0.5 s + 0.1), all but surely."""
    state = wsrl.init(jax.random.key(0), 1, 1, config)
    parts = (
        linear_actor(state.agent.actor, 0.5, 0.1, -20.0),
        linear_critics(state.agent.critics, CRITICS),
        linear_critics(state.agent.target_critics, TARGET_CRITICS),
    )
    where = lambda s: (s.agent.actor, s.agent.critics, s.agent.target_critics)  # noqa: E731
    state = eqx.tree_at(where, state, parts)
    return wsrl.hand_over(state, config) if online else state


def q(rows, obs, action):
    """Q of every critic by NumPy."""
    return np.stack([a * obs + b * action + c for a, b, c in np.asarray(rows, np.float64)])


def test_offline_it_is_cql():
    state, key = linear_state(online=False), jax.random.key(3)
    found, metrics = update(state, ROWS, key, LINEAR)
    alone = jax.jit(cql.update, static_argnames="config")
    expected, other = alone(state.agent, ROWS, key, wsrl.offline_config(LINEAR))
    for a, b in zip(jax.tree.leaves(found.agent), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert float(metrics["conservative"]) == pytest.approx(float(other["conservative"]), rel=1e-5)


def test_online_the_loss_is_the_bellman_error_alone():
    """Targets by hand: no entropy, one next action, none after a terminal."""
    following = q(TARGET_CRITICS, NEXT, np.tanh(0.5 * NEXT + 0.1)).min(axis=0)
    target = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * following
    obs, action = np.asarray([0.5, -1.0, 2.0]), np.asarray([0.2, -0.4, 1.0])
    errors = q(CRITICS, obs, action) - target
    _, metrics = update(linear_state(online=True), ROWS, jax.random.key(1), LINEAR)
    assert float(metrics["q_target"]) == pytest.approx(target.mean(), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(target.max(), rel=1e-5)
    assert float(metrics["critic_loss"]) == pytest.approx((errors**2).mean(axis=1).sum(), rel=1e-5)
    assert float(metrics["conservative"]) == 0.0


def test_online_the_actor_learns_once_in_so_many_updates():
    state = linear_state(online=True)
    waited, first = update(state, ROWS, jax.random.key(1), LINEAR)
    learned, second = update(waited, ROWS, jax.random.key(2), LINEAR)
    assert eqx.tree_equal(waited.agent.actor, state.agent.actor)
    assert float(waited.agent.log_temperature) == 0.0 and float(first["actor_loss"]) == 0.0
    assert not eqx.tree_equal(learned.agent.actor, state.agent.actor)
    assert float(learned.agent.log_temperature) != 0.0
    assert not eqx.tree_equal(waited.agent.critics, state.agent.critics)
    # Its metrics stand for both updates: the entropy of the squashed Gaussian is below -18 nats.
    assert float(second["entropy"]) < 2 * -18.0


def test_the_actor_follows_the_least_of_the_critics_and_leaves_them_alone():
    agent = linear_state(online=True).agent
    obs, action = np.asarray([0.5, -1.0, 2.0]), np.tanh(0.5 * np.asarray([0.5, -1.0, 2.0]) + 0.1)
    learn = jax.jit(cql.learn_actor, static_argnames="config")
    settings, imitates = wsrl.offline_config(LINEAR), np.asarray(False)
    after, found = learn(agent, agent.critics, ROWS, imitates, jax.random.key(1), config=settings)
    value = q(CRITICS, obs, action).min(axis=0).mean()
    entropy = float(found["entropy"])
    assert float(found["actor_loss"]) == pytest.approx(-entropy - value, rel=1e-4)  # temperature 1

    for name in ("critics", "target_critics", "critic_opt"):
        assert eqx.tree_equal(getattr(after, name), getattr(agent, name)), name
    assert not eqx.tree_equal(after.actor, agent.actor)


def test_the_hand_over_keeps_networks_and_optimisers():
    state, _ = update(linear_state(online=False), ROWS, jax.random.key(0), LINEAR)
    after = wsrl.hand_over(state, LINEAR)
    assert bool(after.online) and int(after.agent.updates) == 0
    same = dataclasses.replace(after.agent, updates=state.agent.updates)
    assert eqx.tree_equal(same, state.agent)


BANDIT = WSRLConfig(
    hidden=(32,), critics=4, batch_size=64, learning_rate=3e-3, actor_learning_rate=3e-3,
    sampled_actions=4, actor_every=2,
)  # fmt: skip


def learn(state, data: Batch, updates: int):
    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, data.reward.shape[0])
        drawn = jax.tree.map(lambda column: column[rows], data)
        return wsrl.update(state, drawn, key_update, BANDIT)

    keys = jax.random.split(jax.random.key(7), updates)
    return jax.jit(lambda s: jax.lax.scan(step, s, keys)[0])(state)


@pytest.mark.slow
def test_it_finds_the_best_action_of_a_bandit_online():
    """Reward 1 - (a - 0.4)^2 of uniform actions, one step an episode."""
    rng = np.random.default_rng(0)
    action = rng.uniform(-1, 1, 1000)
    data = batch(
        np.zeros(1000), action, 1 - (action - 0.4) ** 2, np.zeros(1000),
        terminated=np.ones(1000, bool),
    )  # fmt: skip
    state = wsrl.hand_over(wsrl.init(jax.random.key(1), 1, 1, BANDIT), BANDIT)
    actor = wsrl.policy(learn(state, data, 1500))
    best = float(wsrl.act_mode(actor, jnp.zeros((1, 1)))[0, 0])
    assert best == pytest.approx(0.4, abs=0.1)
