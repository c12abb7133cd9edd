"""Implicit Q-learning: worked numbers, gradients, the scale of rewards, and known optima."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from made_agents import batch
from moore.agents import iql
from moore.agents.iql import IQLConfig
from moore.replay.buffer import Batch, Replay, Transition, empty_replay

# Without hidden layers every network is linear, and its numbers can be worked by hand.
LINEAR = IQLConfig(hidden=(), discount=0.5, decay_updates=None)
SMALL = IQLConfig(
    hidden=(32, 32), learning_rate=3e-3, actor_learning_rate=3e-3, target_rate=0.02,
    decay_updates=2500,
)  # fmt: skip

update = jax.jit(iql.update, static_argnames="config")


def log(reward, terminated, truncated, padding=0) -> Replay:
    """A log with these rewards and ends, in front of rows that do not exist."""
    size = len(reward)
    replay = empty_replay(size + padding, 1, 1, max_holdout=1)
    # What lies in the padding must not matter.
    data = Transition(
        obs=replay.data.obs,
        action=replay.data.action,
        reward=jnp.asarray([*reward, *[1e6] * padding], jnp.float32),
        next_obs=replay.data.next_obs,
        terminated=jnp.asarray([*terminated, *[True] * padding], bool),
        truncated=jnp.asarray([*truncated, *[False] * padding], bool),
    )
    return dataclasses.replace(replay, data=data, size=jnp.asarray(size, jnp.int32))


# --- Worked numbers ---

VALUE = np.asarray([0.5, -0.25])  # V(s) = 0.5 s - 0.25
CRITICS = np.asarray([[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]])  # Q_j = rows[j] . (s, a, 1)
TARGET_CRITICS = np.asarray([[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]])
ACTOR = np.asarray([0.5, 0.1])  # mean = tanh(0.5 s + 0.1)


def linear(mlp, rows):
    """Sets the weights of a linear network, or of two stacked ones."""
    rows = jnp.asarray(rows, jnp.float32)[..., None]
    where = lambda m: (m.layers[0].weight, m.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, mlp, (rows[..., :-1, :], rows[..., -1, :]))


def linear_state():
    state = iql.init(jax.random.key(0), 1, 1, LINEAR)
    parts = (
        linear(state.value, VALUE),
        linear(state.critics, CRITICS),
        linear(state.target_critics, TARGET_CRITICS),
        linear(state.actor.trunk, ACTOR),
        jnp.asarray([np.log(0.5)], jnp.float32),
    )
    where = lambda s: (s.value, s.critics, s.target_critics, s.actor.trunk, s.actor.log_std)  # noqa: E731
    return eqx.tree_at(where, state, parts)


def each_q(rows, obs, action):
    return rows[:, :1] * obs + rows[:, 1:2] * action + rows[:, 2:]


def weights_of(mlp):
    """The rows that `linear` has set."""
    layer = mlp.layers[0]
    return np.concatenate([layer.weight[..., 0], layer.bias], axis=-1).astype(np.float64)


def test_expectile_loss_worked_by_hand():
    value = linear_state().value
    # V = 0.25, 0.75; u = 1, -0.5: 0.7 * 1 and 0.3 * 0.25.
    loss = iql.expectile_loss(
        value, jnp.asarray([[1.0], [2.0]]), jnp.asarray([1.25, 0.25]), expectile=0.7
    )
    assert float(loss) == pytest.approx((0.7 + 0.075) / 2)


def test_actor_loss_is_scipys_weighted_log_density_also_at_the_border():
    obs, action, weights = np.asarray([1.0, 0.0, 2.0]), np.asarray([0.3, 1.0, -1.0]), [1.0, 2.0, 3]
    log_density = stats.norm.logpdf(action, np.tanh(0.5 * obs + 0.1), 0.5)
    loss = iql.actor_loss(
        linear_state().actor,
        jnp.asarray(obs, jnp.float32)[:, None],
        jnp.asarray(action, jnp.float32)[:, None],
        jnp.asarray(weights, jnp.float32),
    )
    assert float(loss) == pytest.approx(-np.mean(weights * log_density), rel=1e-4)


def test_every_gradient_of_an_update_worked_by_hand():
    """In the authors' order: V, then the actor by the new V, then Q towards the new V."""
    data = batch(
        [1.0, -1.0, 0.5], [-0.9, -0.2, 0.1], [1.0, 0.0, 2.0], [0.3, 0.1, -0.7],
        terminated=[False, True, False], truncated=[False, False, True],
    )  # fmt: skip
    before = eqx.tree_at(lambda s: s.reward_scale, linear_state(), jnp.asarray(3.0))
    after, metrics = update(before, data, jax.random.key(0), config=LINEAR)
    obs, action = np.asarray(data.obs[:, 0]), np.asarray(data.action[:, 0])
    next_obs, reward = np.asarray(data.next_obs[:, 0]), np.asarray(data.reward)

    # Adam's first mean is a tenth of the gradient. The critics below V count 0.3, those above 0.7.
    u = each_q(TARGET_CRITICS, obs, action).min(axis=0) - (VALUE[0] * obs + VALUE[1])
    assert u.min() < 0 < u.max()
    value_grad = 10 * after.value_opt[0].mu.layers[0].bias[0]
    assert float(value_grad) == pytest.approx(-2 * np.mean(np.where(u < 0, 0.3, 0.7) * u), rel=1e-4)

    slope, bias = weights_of(after.value)
    assert slope != pytest.approx(VALUE[0], abs=1e-5)
    gain = each_q(TARGET_CRITICS, obs, action).min(axis=0) - (slope * obs + bias)
    weights = np.minimum(np.exp(3 * gain), 100.0)
    mean = np.tanh(ACTOR[0] * obs + ACTOR[1])
    z = (action - mean) / 0.5
    actor_mu = after.actor_opt.mu
    np.testing.assert_allclose(
        [10 * actor_mu.trunk.layers[0].bias[0], 10 * actor_mu.log_std[0]],
        [-np.mean(weights * z / 0.5 * (1 - mean**2)), -np.mean(weights * (z**2 - 1))],
        rtol=1e-4,
    )

    goes_on = np.asarray([1.0, 0.0, 1.0])  # a time limit is no end
    target = 3.0 * reward + 0.5 * goes_on * (slope * next_obs + bias)
    errors = each_q(CRITICS, obs, action) - target
    critic_grad = 10 * after.critic_opt[0].mu.layers[0].bias[:, 0]
    np.testing.assert_allclose(critic_grad, 2 * errors.mean(axis=1), rtol=1e-4)
    assert float(metrics["critic_loss"]) == pytest.approx((errors**2).mean(axis=1).sum(), rel=1e-4)
    assert float(metrics["q_target"]) == pytest.approx(target.mean(), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(target.max(), rel=1e-5)
    assert float(metrics["advantage"]) == pytest.approx(gain.mean(), rel=1e-4)


def test_target_critics_move_by_the_target_rate():
    before = linear_state()
    data = batch([1.0] * 3, [0.2] * 3, [5.0] * 3, [0.0] * 3)
    after, _ = update(before, data, jax.random.key(1), config=LINEAR)
    np.testing.assert_allclose(
        weights_of(after.target_critics),
        0.995 * TARGET_CRITICS + 0.005 * weights_of(after.critics),
        rtol=1e-5,
    )


def test_weights_are_cut_at_100():
    before = eqx.tree_at(lambda s: s.value, linear_state(), linear(linear_state().value, [0, -50]))
    data = batch([1.0] * 3, [0.2] * 3, [5.0] * 3, [0.0] * 3)
    _, metrics = update(before, data, jax.random.key(1), config=LINEAR)
    assert float(metrics["weight_max"]) == pytest.approx(100.0, rel=1e-5)


# --- The actor ---


def test_the_mean_lies_inside_the_bounds_and_samples_are_clipped_to_them():
    actor = linear_state().actor
    mean, log_std = actor(jnp.asarray([[1.0], [-3.0]]))
    np.testing.assert_allclose(mean[:, 0], np.tanh([0.6, -1.4]), rtol=1e-5)
    np.testing.assert_allclose(log_std, [np.log(0.5)], rtol=1e-5)
    np.testing.assert_array_equal(iql.act_mode(actor, jnp.asarray([[1.0], [-3.0]])), mean)

    obs = jnp.full((4, 500, 1), 1.0)
    action = np.asarray(iql.act(actor, obs, jax.random.key(0)))
    assert action.shape == (4, 500, 1)
    assert action.max() == 1.0
    assert action.min() >= -1.0
    # The share that the clip moves to the border is that of the Gaussian beyond it.
    beyond = stats.norm.sf(1.0, np.tanh(0.6), 0.5)
    assert np.mean(action == 1.0) == pytest.approx(beyond, abs=0.05)
    np.testing.assert_array_equal(action, iql.act(actor, obs, jax.random.key(0)))


@pytest.mark.parametrize(("given", "used"), [(100.0, 2.0), (-100.0, -5.0)])
def test_log_std_is_clipped_as_a_logarithm(given, used):
    actor = eqx.tree_at(lambda a: a.log_std, linear_state().actor, jnp.asarray([given]))
    assert float(actor(jnp.zeros(1))[1][0]) == used


def test_learning_rate_of_the_actor_falls_along_a_cosine_and_is_constant_online():
    config = dataclasses.replace(SMALL, decay_updates=100)
    fresh = iql.init(jax.random.key(0), 1, 1, config)

    def rate(state, updates, config=config):
        count = jnp.asarray(updates, jnp.int32)
        return float(iql.actor_rate(eqx.tree_at(lambda s: s.actor_opt.count, state, count), config))

    rates = [rate(fresh, updates) for updates in (0, 25, 50, 100, 1000)]
    shares = [1.0, (1 + np.sqrt(0.5)) / 2, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(rates, 3e-3 * np.asarray(shares), rtol=1e-5, atol=1e-9)
    online = iql.hand_over(fresh, config)
    assert [rate(online, updates) for updates in (0, 50, 1000)] == [pytest.approx(3e-3)] * 3
    constant = dataclasses.replace(config, decay_updates=None)
    assert rate(fresh, 1000, constant) == pytest.approx(3e-3)


def test_the_actor_rests_after_the_decay_and_moves_by_the_whole_rate_online():
    config = dataclasses.replace(LINEAR, decay_updates=1)
    data = batch([1.0] * 3, [0.2] * 3, [5.0] * 3, [0.0] * 3)
    state, metrics = update(linear_state(), data, jax.random.key(0), config=config)
    # Adam's first step has the size of the learning rate.
    moved = np.abs(np.asarray(state.actor.log_std) - np.log(0.5))
    np.testing.assert_allclose(moved, 3e-4, rtol=1e-2)
    assert float(metrics["actor_rate"]) == pytest.approx(3e-4)
    later, _ = update(state, data, jax.random.key(0), config=config)
    assert eqx.tree_equal(later.actor, state.actor)
    assert not eqx.tree_equal(later.critics, state.critics)
    online, _ = update(iql.hand_over(state, config), data, jax.random.key(0), config=config)
    assert not eqx.tree_equal(online.actor, state.actor)


# --- The scale of the rewards ---


def scale_by_hand(reward, terminated, truncated):
    returns, total = [], 0.0
    for i, r in enumerate(reward):
        total += float(r)
        if terminated[i] or truncated[i] or i == len(reward) - 1:
            returns.append(total)
            total = 0.0
    return 1000 / (max(returns) - min(returns))


def test_reward_scale_worked_by_hand():
    # Returns 3 (terminated), -1 (time limit), 5 + 2 (open at the last row).
    a_log = log([1, 2, -1, 5, 2], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], padding=3)
    assert float(iql.return_scale(a_log)) == pytest.approx(1000 / 8)


@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("seed", range(4))
def test_reward_scale_agrees_with_a_loop_over_the_rows(seed, padding):
    rng = np.random.default_rng(seed)
    reward, kind = rng.normal(size=60), rng.random((2, 60)) < 0.1
    expected = scale_by_hand(reward, *kind)
    assert float(iql.return_scale(log(reward, *kind, padding))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("reward", "terminated"),
    [
        ([1.0, 2.0, 3.0], [0, 0, 0]),  # one episode
        ([7.0], [1]),  # one row
        ([2.0, 2.0, 2.0], [1, 1, 1]),
        ([0.0, 0.0, 0.0], [0, 1, 0]),
        # Nearer than what the rounding of a sum in single precision can tell apart.
        ([1e3, 1e-4, 1e3, 0.0], [0, 1, 0, 1]),
    ],
)
def test_reward_scale_of_equal_returns_is_one(reward, terminated):
    a_log = log(reward, terminated, [0] * len(reward), padding=2)
    assert float(iql.return_scale(a_log)) == 1.0


def test_a_negative_return_has_its_place_in_the_spread():
    assert float(iql.return_scale(log([-4.0, -2.0], [1, 1], [0, 0]))) == pytest.approx(500.0)


def test_the_summary_of_the_data_learns_the_scale_from_the_first_log_that_holds_data_and_keeps_it():
    fresh, look = linear_state(), jax.jit(iql.summarise_data, static_argnames="config")
    nothing = empty_replay(2, 1, 1, max_holdout=1)
    first, second = log([1.0, 3.0], [1, 1], [0, 0]), log([1.0, 11.0], [1, 1], [0, 0])
    unseen = look(fresh, nothing, second, config=LINEAR)  # online data do not count
    assert float(fresh.reward_scale) == float(unseen.reward_scale) == 1.0
    seen = look(unseen, first, nothing, config=LINEAR)
    assert float(seen.reward_scale) == 500.0
    assert eqx.tree_equal(look(seen, second, second, config=LINEAR), seen)
    handed_over = iql.hand_over(seen, LINEAR)
    assert eqx.tree_equal(look(handed_over, second, first, config=LINEAR), handed_over)
    plain = dataclasses.replace(LINEAR, scale_rewards=False)
    assert eqx.tree_equal(look(fresh, first, nothing, config=plain), fresh)


def test_a_log_of_equal_returns_settles_the_scale_at_one():
    equal, other = log([2.0, 2.0], [1, 1], [0, 0]), log([1.0, 3.0], [1, 1], [0, 0])
    seen = iql.summarise_data(linear_state(), equal, equal, LINEAR)
    assert float(iql.summarise_data(seen, other, other, LINEAR).reward_scale) == 1.0


def test_the_state_keeps_its_shapes_and_dtypes_through_look_and_hand_over():
    fresh, a_log = linear_state(), log([1.0, 3.0], [1, 1], [0, 0])
    kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
    seen = iql.summarise_data(fresh, a_log, a_log, LINEAR)
    assert eqx.tree_equal(kinds(seen), kinds(fresh))
    assert eqx.tree_equal(kinds(iql.hand_over(fresh, LINEAR)), kinds(fresh))


# --- Known optima ---

SIZE = 4000  # rows of every data set, so that one program learns from all of them


@eqx.filter_jit
def learned(data: Batch, config: IQLConfig = SMALL, updates: int = 2500):
    """A fresh agent after many updates on random rows of a fixed data set; also its metrics."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, data.reward.shape[0])
        drawn = jax.tree.map(lambda column: column[rows], data)
        return iql.update(state, drawn, key_update, config)

    state = iql.init(jax.random.key(0), 1, 1, config)
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), updates))


def test_stays_finite_on_actions_that_all_lie_on_the_border():
    sign = np.tile([1.0, -1.0], SIZE // 2)
    data = batch(np.ones(SIZE), sign, sign, np.ones(SIZE), terminated=np.ones(SIZE, bool))
    for leaf in jax.tree.leaves(eqx.filter(learned(data), eqx.is_inexact_array)):
        assert bool(jnp.isfinite(leaf).all())


def test_finds_the_expectile_and_the_weighted_action_of_a_bandit():
    action = np.random.default_rng(0).uniform(-1, 1, SIZE)
    reward = -1.5 * (action - 0.3) ** 2
    data = batch(np.ones(SIZE), action, reward, np.ones(SIZE), terminated=np.ones(SIZE, bool))
    state, _ = learned(data)
    assert float(state.value(jnp.ones(1))[0]) == pytest.approx(
        stats.expectile(reward, alpha=0.7), abs=0.05
    )
    weights = np.exp(3 * reward)
    mean = np.average(action, weights=weights)
    std = np.sqrt(np.average((action - mean) ** 2, weights=weights))
    policy = iql.policy(state)
    assert float(iql.act_mode(policy, jnp.ones(1))[0]) == pytest.approx(mean, abs=0.05)
    assert float(jnp.exp(policy.log_std[0])) == pytest.approx(std, rel=0.1)
    # Neither of the data's mean action, 0, nor of their spread.
    assert mean > 0.15
    assert action.std() > 1.4 * std


@pytest.mark.parametrize("expectile", [0.7, 0.95])
def test_the_higher_the_expectile_the_nearer_to_the_best_of_the_data(expectile):
    """State 0: leave for 1.8, or go to state 1, where the data fail 4 times in 5 to earn 3."""
    rng = np.random.default_rng(0)
    obs = np.tile([0.0, 1.0], SIZE // 2)
    succeeds = rng.random(SIZE) < np.where(obs == 0, 0.5, 0.2)
    action = rng.uniform(0.2, 0.8, SIZE) * np.where(succeeds, 1, -1)
    goes_on = (obs == 0) & succeeds
    reward = np.where(obs == 0, np.where(goes_on, 0.0, 1.8), 3.0 * succeeds)
    data = batch(obs, action, reward, np.ones(SIZE), terminated=~goes_on)
    state, _ = learned(data, dataclasses.replace(SMALL, expectile=expectile))
    value = stats.expectile(reward[obs == 1], alpha=expectile)  # 1.1 or 2.5
    assert float(state.value(jnp.ones(1))[0]) == pytest.approx(value, abs=0.25)
    mode = iql.act_mode(iql.policy(state), jnp.asarray([[0.0], [1.0]]))[:, 0]
    assert float(mode[1]) > 0.0
    assert bool(mode[0] > 0.0) == (expectile == 0.95)
