"""Advantage-weighted actor-critic: worked numbers, gradients, and problems of known optimum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from made_agents import batch, linear_actor, linear_critics
from moore.agents import awac
from moore.agents.awac import AWACConfig
from moore.agents.nets import sample_action
from moore.replay.buffer import Batch, empty_replay

# Without hidden layers every network is linear, and its numbers can be worked by hand.
LINEAR = AWACConfig(hidden=(), discount=0.5)
# The cut is out of reach: it would flatten the weights that the learned policies are compared with.
SMALL = AWACConfig(hidden=(32, 32), learning_rate=3e-3, target_rate=0.02, max_weight=1e5)

update = jax.jit(awac.update, static_argnames="config")


CRITICS = [[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]


def linear_state(log_std):
    state = awac.init(jax.random.key(0), 1, 1, LINEAR)
    parts = (
        linear_actor(state.actor, 0.5, 0.1, log_std),
        linear_critics(state.critics, CRITICS),
        linear_critics(state.target_critics, TARGET_CRITICS),
    )
    return eqx.tree_at(lambda s: (s.actor, s.critics, s.target_critics), state, parts)


def q(rows, obs, action):
    """The lowest Q by NumPy."""
    rows, obs, action = np.asarray(rows, np.float64), np.asarray(obs), np.asarray(action)
    return (rows[:, :1] * obs + rows[:, 1:2] * action + rows[:, 2:]).min(axis=0)


def test_critic_loss_worked_by_hand():
    critics = linear_state(0.0).critics
    # Q_1 = 2.5, 1.5 and Q_2 = -0.5, -2.5; the errors are 0.5, 0.5 and -2.5, -3.5.
    rows = batch([1.0, 2.0], [0.5, -0.5], [0.0, 0.0], [0.0, 0.0])
    loss = awac.critic_loss(critics, rows, jnp.asarray([2.0, 1.0]))
    assert float(loss) == pytest.approx(0.25 + (6.25 + 12.25) / 2)


def test_weights_are_the_exponential_of_the_advantage_over_lambda_cut_at_100():
    advantage = jnp.asarray([0.0, np.log(2.0) / 3, -np.log(2.0) / 3, 10.0, 1e6])
    np.testing.assert_allclose(
        awac.action_weights(advantage, AWACConfig()), [1.0, 2.0, 0.5, 100.0, 100.0], rtol=1e-5
    )


def test_weights_without_a_cut_have_mean_one_over_the_batch():
    advantage = np.asarray([0.0, 1.0, 500.0, 500.5])
    expected = np.exp((advantage - 500) / 2)
    weights = awac.action_weights(
        jnp.asarray(advantage), AWACConfig(temperature=2.0, max_weight=None)
    )
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=1e-5, atol=1e-30)


def test_actor_loss_is_scipys_weighted_log_density_also_at_the_border():
    actor = linear_state(np.log(0.5)).actor
    obs, action, weights = [1.0, 0.0, 2.0], np.asarray([0.3, 1.0, -1.0]), np.asarray([1.0, 2.0, 3])
    kept = np.clip(action, -(1 - 1e-5), 1 - 1e-5)
    mean = 0.5 * np.asarray(obs) + 0.1
    log_density = stats.norm.logpdf(np.arctanh(kept), mean, 0.5) - np.log(1 - kept**2)
    loss = awac.actor_loss(
        actor,
        jnp.asarray(obs)[:, None],
        jnp.asarray(action, jnp.float32)[:, None],
        jnp.asarray(weights, jnp.float32),
    )
    # arctanh near 1 keeps four digits in single precision.
    assert float(loss) == pytest.approx(-np.mean(weights * log_density), rel=3e-3)


def test_advantage_is_the_gain_over_an_action_of_the_policy():
    state = linear_state(-20.0)  # the policy is tanh(0.5 s + 0.1), all but surely
    obs, action = np.asarray([1.0, -2.0]), np.asarray([0.5, 1.0])
    gain = awac.advantage(
        state.actor,
        state.critics,
        jnp.asarray(obs, jnp.float32)[:, None],
        jnp.asarray(action, jnp.float32)[:, None],
        jax.random.key(0),
    )
    own = np.tanh(0.5 * obs + 0.1)
    np.testing.assert_allclose(gain, q(CRITICS, obs, action) - q(CRITICS, obs, own), rtol=1e-5)


def test_target_has_no_entropy_and_stops_at_a_terminal_alone():
    data = batch(
        [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 4.0], [1.0, 2.0, -3.0],
        terminated=[False, True, False], truncated=[False, False, True],
    )  # fmt: skip
    _, metrics = update(linear_state(-20.0), data, jax.random.key(1), LINEAR)
    obs = np.asarray([1.0, 2.0, -3.0])
    following = q(TARGET_CRITICS, obs, np.tanh(0.5 * obs + 0.1))
    target = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * following
    assert float(metrics["q_target"]) == pytest.approx(target.mean(), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(target.max(), rel=1e-5)


def test_gradients_of_critics_and_actor_hold_targets_and_weights_constant():
    data = batch([1.0, -1.0, 0.5], [0.9, -0.2, 1.0], [1.0, 0.0, 2.0], [0.3, 0.1, -0.7])
    before, key = linear_state(np.log(0.5)), jax.random.key(3)
    key_next, key_advantage = jax.random.split(key)
    after, metrics = update(before, data, key, LINEAR)
    obs, action = np.asarray(data.obs[:, 0]), np.asarray(data.action[:, 0])

    # Critics: d/db mean (Q + b - y)^2 is twice the mean error. Adam's first mean is a tenth of it.
    next_obs, rows = np.asarray(data.next_obs[:, 0]), np.asarray(CRITICS)
    next_action = np.asarray(sample_action(before.actor, data.next_obs, key_next)[0][:, 0])
    target = np.asarray(data.reward) + 0.5 * q(TARGET_CRITICS, next_obs, next_action)
    values = rows[:, :1] * obs + rows[:, 1:2] * action + rows[:, 2:]
    bias_grad = 10 * after.critic_opt[0].mu.layers[0].bias[:, 0]
    np.testing.assert_allclose(bias_grad, 2 * (values - target).mean(axis=1), rtol=1e-4)

    # Actor: with the weights of the critics after their step, -mean w d log N / d(mean, log std).
    own = np.asarray(sample_action(before.actor, data.obs, key_advantage)[0][:, 0])
    layer = after.critics.layers[0]
    new = np.concatenate([layer.weight[..., 0], layer.bias], axis=1)
    gain = q(new, obs, action) - q(new, obs, own)
    weights = np.minimum(np.exp(3 * gain), 100.0)
    z = (np.arctanh(np.minimum(action, 1 - 1e-5)) - (0.5 * obs + 0.1)) / 0.5
    expected = -np.mean(weights * z / 0.5), -np.mean(weights * (z**2 - 1))
    assert float(metrics["advantage"]) == pytest.approx(gain.mean(), rel=1e-4)
    assert weights.max() > 2 * weights.min()
    actor_grad = 10 * after.actor_opt[0].mu.trunk.layers[0].bias
    np.testing.assert_allclose(actor_grad, expected, rtol=5e-3)


def test_target_critics_move_by_the_target_rate():
    before = linear_state(0.0)
    data = batch([1.0], [0.2], [5.0], [0.0])
    after, _ = update(before, data, jax.random.key(1), LINEAR)
    old, new = before.target_critics.layers[0].weight, after.critics.layers[0].weight
    np.testing.assert_allclose(
        after.target_critics.layers[0].weight, 0.995 * old + 0.005 * new, rtol=1e-6
    )


@jax.jit
def learned(data: Batch):
    """A fresh agent after 2500 updates on random rows of a fixed data set; also its metrics."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, data.reward.shape[0])
        drawn = jax.tree.map(lambda column: column[rows], data)
        return awac.update(state, drawn, key_update, SMALL)

    state = awac.init(jax.random.key(0), 1, 1, SMALL)
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 2500))


SIZE = 4000  # rows of every data set, so that one program learns from all of them


def test_stays_finite_on_actions_that_all_lie_on_the_border():
    sign = np.tile([1.0, -1.0], SIZE // 2)
    data = batch(np.ones(SIZE), sign, sign, np.ones(SIZE), terminated=np.ones(SIZE, bool))
    for leaf in jax.tree.leaves(eqx.filter(learned(data), eqx.is_inexact_array)):
        assert bool(jnp.isfinite(leaf).all())


def test_finds_the_weighted_action_of_a_bandit_and_its_spread():
    action = np.random.default_rng(0).uniform(-0.999, 0.999, SIZE)
    reward = -1.5 * (action - 0.3) ** 2
    data = batch(np.ones(SIZE), action, reward, np.ones(SIZE), terminated=np.ones(SIZE, bool))
    policy = awac.policy(learned(data)[0])
    # The regression's optimum: moments of arctanh(a) under the data times exp(r / lambda).
    weights, x = np.exp(3 * reward), np.arctanh(action)
    mean = np.average(x, weights=weights)
    std = np.sqrt(np.average((x - mean) ** 2, weights=weights))
    assert float(awac.act_mode(policy, jnp.ones(1))[0]) == pytest.approx(np.tanh(mean), abs=0.08)
    assert float(jnp.exp(policy(jnp.ones(1))[1])[0]) == pytest.approx(std, rel=0.2)
    # Neither of the data's mean action, 0, nor of their spread.
    assert np.tanh(mean) > 0.25
    assert x.std() > 1.5 * std


def test_values_its_own_policy_and_not_the_datas():
    """State 0: leave for 1.2, or go to state 1, where the data fail 4 times in 5 to earn 3."""
    rng = np.random.default_rng(0)
    obs = np.tile([0.0, 1.0], SIZE // 2)
    action = rng.uniform(0.2, 0.8, SIZE) * np.where(rng.random(SIZE) < 0.2, 1, -1)
    goes_on = (obs == 0) & (action > 0)
    reward = np.where(obs == 0, np.where(goes_on, 0.0, 1.2), 3.0 * (action > 0))
    data = batch(obs, action, reward, np.ones(SIZE), terminated=~goes_on)
    mode = awac.act_mode(awac.policy(learned(data)[0]), jnp.asarray([[0.0], [1.0]]))
    assert float(mode.min()) > 0.0


def test_look_and_hand_over_change_nothing():
    state, log = linear_state(0.0), empty_replay(3, 1, 1, max_holdout=1)
    assert eqx.tree_equal(awac.AGENT.summarise_data(state, log, log, LINEAR), state)
    assert eqx.tree_equal(awac.AGENT.hand_over(state, LINEAR), state)


def test_the_policy_acts_inside_the_bounds_and_follows_the_key():
    policy = awac.policy(awac.init(jax.random.key(0), 2, 3, SMALL))
    obs = jnp.ones((4, 25, 2))
    action = awac.act(policy, obs, jax.random.key(1))
    assert action.shape == (4, 25, 3)
    assert float(jnp.abs(action).max()) <= 1.0
    np.testing.assert_array_equal(action, awac.act(policy, obs, jax.random.key(1)))
    assert not np.allclose(action, awac.act(policy, obs, jax.random.key(2)))
    assert awac.act_mode(policy, obs).shape == (4, 25, 3)


def test_the_two_critics_start_different_and_as_their_targets():
    state = awac.init(jax.random.key(0), 3, 2, AWACConfig())
    weight = state.critics.layers[0].weight
    assert weight.shape == (2, 5, 256)
    assert not np.allclose(weight[0], weight[1])
    assert eqx.tree_equal(state.critics, state.target_critics)
