"""Balanced Replay: worked numbers, gradients, and problems whose solution is known."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from moore.agents import balanced, cql, density_ratio, mixture
from moore.agents.balanced_config import BalancedConfig
from moore.agents.sac import q_values
from moore.replay.buffer import Batch, GroupedBatch

pytestmark = pytest.mark.optimised

# Without hidden layers every network is linear, and its numbers can be worked by hand.
LINEAR = BalancedConfig(members=2, hidden=(), discount=0.5, sampled_actions=2)

update = jax.jit(balanced.update, static_argnames="config")
update_online = jax.jit(balanced.update_online, static_argnames="config")


def batch(obs, action, reward, next_obs, terminated=None, truncated=None) -> Batch:
    """Rows of scalar observations and actions."""
    column = lambda x: jnp.asarray(x, jnp.float32)[:, None]  # noqa: E731
    rows = len(reward)
    flags = lambda x: jnp.zeros(rows, bool) if x is None else jnp.asarray(x)  # noqa: E731
    rest = column(next_obs), flags(terminated), flags(truncated), jnp.arange(rows)
    return Batch(column(obs), column(action), jnp.asarray(reward, jnp.float32), *rest)


# Q_ij(s, a) = CRITICS[i][j] . (s, a, 1) of member i; its Gaussian has the mean slope s + shift.
CRITICS = np.asarray([[[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]], [[0.0, -1.0, 1.0], [2.0, 0.5, -1.0]]])
TARGETS = np.asarray([[[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]], [[-2.0, 0.0, 1.0], [0.0, 3.0, 0.5]]])
SLOPES, SHIFTS, STDS = np.asarray([0.5, -0.2]), np.asarray([0.1, 0.4]), np.asarray([0.3, 0.6])


def set_linear(network, rows):
    """The layer's weights and biases from rows of (..., inputs and 1, outputs)."""
    rows = jnp.asarray(rows, jnp.float32)
    where = lambda n: (n.layers[0].weight, n.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, network, (rows[..., :-1, :], rows[..., -1, :]))


def linear_state():
    state = balanced.init(jax.random.key(0), 1, 1, LINEAR)
    gaussians = np.stack(
        [np.stack([SLOPES, 0 * SLOPES], -1), np.stack([SHIFTS, np.log(STDS)], -1)], axis=1
    )
    members = state.members
    parts = (
        set_linear(members.actor.trunk, gaussians),
        set_linear(members.critics, CRITICS[..., None]),
        set_linear(members.target_critics, TARGETS[..., None]),
    )
    where = lambda m: (m.actor.trunk, m.critics, m.target_critics)  # noqa: E731
    return dataclasses.replace(state, members=eqx.tree_at(where, members, parts))


def q(rows, obs, action):
    """Q of every critic of every member by NumPy."""
    return rows[..., :1] * np.asarray(obs) + rows[..., 1:2] * np.asarray(action) + rows[..., 2:]


def moments(obs):
    """Mean and standard deviation of the two members' mixture, from their definition."""
    means = SLOPES[:, None] * np.asarray(obs) + SHIFTS[:, None]
    mean = means.mean(axis=0)
    return mean, np.sqrt(np.mean(means**2 + STDS[:, None] ** 2, axis=0) - mean**2)


def log_density(action, obs):
    mean, std = moments(obs)
    return stats.norm.logpdf(np.arctanh(action), mean, std) - np.log(1 - action**2)


def sampled(state, obs, key):
    """The action that the mixture draws for that key."""
    column = jnp.asarray(obs, jnp.float32)[:, None]
    action, _ = mixture.sample_mixture(balanced.policy(state), column, key)
    return np.asarray(action[:, 0], np.float64)


def shapes(state):
    return jax.tree.map(lambda x: (x.shape, x.dtype), state)


def test_the_policy_has_the_moments_of_the_members_mixture():
    mean, log_std = balanced.policy(linear_state())(jnp.asarray([[1.0], [-2.0]]))
    # At s = 1 the members' means are 0.6 and 0.2: variance (0.09 + 0.36) / 2 + 0.04.
    np.testing.assert_allclose(mean[0, 0], 0.4, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_std[0, 0]), np.sqrt(0.265), rtol=1e-5)
    expected = moments([1.0, -2.0])
    np.testing.assert_allclose(mean[:, 0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_std[:, 0]), expected[1], rtol=1e-5)


def test_the_mixtures_spread_does_not_cancel_far_from_zero_and_is_clipped():
    actor = linear_state().members.actor
    at = lambda shifts, log_std: mixture.Mixture(  # noqa: E731
        eqx.tree_at(
            lambda a: a.trunk,
            actor,
            set_linear(actor.trunk, [[[0, 0], [shift, log_std]] for shift in shifts]),
        )
    )(jnp.zeros(1))
    mean, log_std = at((1000.0, 1000.0), np.log(1e-3))
    assert (float(mean[0]), float(log_std[0])) == (1000.0, pytest.approx(np.log(1e-3), rel=1e-5))
    assert float(at((0.0, 0.0), -30.0)[1][0]) == pytest.approx(-20.0, abs=1e-4)
    assert float(at((-1000.0, 1000.0), 0.0)[1][0]) == 2.0


def test_samples_follow_the_mixture_and_come_with_their_density():
    state, obs = linear_state(), np.full(2000, -2.0)
    column = jnp.asarray(obs, jnp.float32)[:, None]
    action, density = mixture.sample_mixture(balanced.policy(state), column, jax.random.key(0))
    action = np.asarray(action[:, 0], np.float64)
    mean, std = moments([-2.0])
    assert stats.kstest(np.arctanh(action), "norm", (mean[0], std[0])).pvalue > 1e-3
    inner = np.abs(action) < 0.99
    np.testing.assert_allclose(
        np.asarray(density)[inner], log_density(action, obs)[inner], atol=1e-3
    )
    mode = balanced.act_mode(balanced.policy(state), jnp.asarray([-2.0]))
    np.testing.assert_allclose(mode, np.tanh(mean), rtol=1e-5)


def test_the_policy_acts_inside_the_bounds_and_follows_the_key():
    policy = balanced.policy(balanced.init(jax.random.key(0), 2, 3, LINEAR))
    obs = jnp.ones((4, 25, 2))
    action, same, other = (balanced.act(policy, obs, jax.random.key(seed)) for seed in (1, 1, 2))
    assert action.shape == balanced.act_mode(policy, obs).shape == (4, 25, 3)
    assert float(jnp.abs(action).max()) <= 1.0
    assert (action == same).all() and not np.allclose(action, other)


CUTS = batch(
    [0.5, -1.0, 1.0], [0.3, -1.0, 1.0], [1.0, 2.0, 4.0], [1.0, 2.0, -3.0],
    terminated=[False, True, False], truncated=[False, False, True],
)  # fmt: skip


def test_offline_every_member_is_a_cql_agent_of_its_own():
    state, key = linear_state(), jax.random.key(1)
    after, metrics = update(state, GroupedBatch(CUTS, CUTS, CUTS), key, LINEAR)
    constants = cql.CQLConfig(hidden=(), discount=0.5, sampled_actions=2)
    alone, losses = [], []
    for i, member_key in enumerate(jax.random.split(key, 2)):
        member = jax.tree.map(lambda x, i=i: x[i], state.members)
        new, member_metrics = jax.jit(cql.update, static_argnames="config")(
            member, CUTS, member_key, config=constants
        )
        alone.append(new)
        losses.append(float(member_metrics["critic_loss"]))
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    for found, wanted in zip(
        jax.tree.leaves(after.members), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    assert float(metrics["critic_loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    rest = lambda s: (s.log_temperature, s.temperature_opt, s.ratio, s.ratio_opt, s.online)  # noqa: E731
    assert eqx.tree_equal(rest(after), rest(state))


def test_online_targets_share_an_action_and_are_pessimistic_within_each_member():
    state = eqx.tree_at(lambda s: s.log_temperature, linear_state(), jnp.log(0.7))
    key, obs = jax.random.key(1), [1.0, 2.0, -3.0]
    found = balanced.member_targets(state, CUTS, key, LINEAR)
    action = sampled(state, obs, key)
    values = q(TARGETS, obs, action).min(axis=1) - 0.7 * log_density(action, obs)
    expected = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * values
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert not np.allclose(expected[0], expected[1])


def test_online_critic_loss_is_the_sum_of_the_members_squared_errors():
    target = np.asarray([[1.0, 0.0, -1.0], [2.0, 0.5, 0.0]])
    errors = q(CRITICS, [0.5, -1.0, 1.0], [0.3, -1.0, 1.0]) - target[:, None]
    loss = balanced.critic_loss(linear_state().members.critics, CUTS, jnp.asarray(target))
    assert float(loss) == pytest.approx((errors**2).mean(axis=-1).sum(), rel=1e-5)


def test_the_actors_loss_takes_the_mean_over_members_of_each_ones_lowest_critic():
    state, key, obs = linear_state(), jax.random.key(2), [0.5, -1.0, 1.0]
    members = state.members
    loss, entropy = balanced.actor_loss(
        members.actor, members.critics, jnp.asarray(0.7), CUTS.obs, key
    )
    action = sampled(state, obs, key)
    density = log_density(action, obs)
    value = q(CRITICS, obs, action).min(axis=1).mean(axis=0)
    assert float(loss) == pytest.approx((0.7 * density - value).mean(), rel=1e-3)
    assert float(entropy) == pytest.approx(-density.mean(), rel=1e-3)


def test_the_actors_gradient_reaches_every_member_through_the_mixture():
    members, key = linear_state().members, jax.random.key(2)
    grad = jax.grad(balanced.actor_loss, has_aux=True)(
        members.actor, members.critics, jnp.asarray(0.7), CUTS.obs, key
    )[0]

    def loss(shift, member):
        """The same by finite differences of NumPy's numbers, the mean of one member shifted."""
        shifts = SHIFTS + shift * np.eye(2)[member]
        obs = np.asarray([0.5, -1.0, 1.0])
        means = SLOPES[:, None] * obs + shifts[:, None]
        mean = means.mean(axis=0)
        std = np.sqrt(np.mean(means**2 + STDS[:, None] ** 2, axis=0) - mean**2)
        noise = np.asarray(jax.random.normal(key, (3, 1))[:, 0], np.float64)
        x = mean + std * noise
        density = stats.norm.logpdf(noise) - np.log(std) - np.log(1 - np.tanh(x) ** 2)
        value = q(CRITICS, obs, np.tanh(x)).min(axis=1).mean(axis=0)
        return (0.7 * density - value).mean()

    expected = [(loss(1e-5, i) - loss(-1e-5, i)) / 2e-5 for i in range(2)]
    np.testing.assert_allclose(grad.trunk.layers[0].bias[:, 0], expected, rtol=1e-3)
    assert abs(expected[0] - expected[1]) > 1e-2  # through the spread they differ


def test_online_no_conservative_term_is_left_and_targets_are_constants():
    state = balanced.hand_over(linear_state(), LINEAR)
    key = jax.random.key(5)
    after, metrics = update(state, GroupedBatch(CUTS, CUTS, CUTS), key, LINEAR)
    target = balanced.member_targets(state, CUTS, jax.random.split(key)[0], LINEAR)
    errors = q(CRITICS, [0.5, -1.0, 1.0], [0.3, -1.0, 1.0]) - np.asarray(target)[:, None]
    # d/d(weight of a, bias) of the mean squared error. Adam's first mean is a tenth of it.
    found = after.members.critic_opt[0].mu.layers[0]
    slope = 2 * (errors * np.asarray([0.3, -1.0, 1.0])).mean(axis=-1)
    np.testing.assert_allclose(10 * found.weight[:, :, 1, 0], slope, rtol=1e-3)
    np.testing.assert_allclose(10 * found.bias[..., 0], 2 * errors.mean(axis=-1), rtol=1e-3)
    assert float(metrics["q_target"]) == pytest.approx(float(target.mean()), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(float(target.max()), rel=1e-5)
    assert float(metrics["conservative"]) == 0.0


def test_online_all_parts_move_by_the_learning_rate_and_targets_by_theirs():
    config = dataclasses.replace(LINEAR, target_entropy=-50.0)
    before = balanced.hand_over(linear_state(), config)
    after, _ = update_online(before, CUTS, jax.random.key(5), config)
    for part in (lambda m: m.actor.trunk.layers[0].bias, lambda m: m.critics.layers[0].bias):
        moved = np.abs(np.asarray(part(after.members) - part(before.members)))
        np.testing.assert_allclose(moved, 3e-4, rtol=2e-2)
    assert float(after.log_temperature) == pytest.approx(-3e-4, rel=1e-2)
    assert eqx.tree_equal(after.members.log_temperature, before.members.log_temperature)
    old, new = before.members.target_critics.layers[0].bias, after.members.critics.layers[0].bias
    np.testing.assert_allclose(
        after.members.target_critics.layers[0].bias, 0.995 * old + 0.005 * new, atol=1e-6
    )


def test_the_hand_over_keeps_networks_and_restarts_targets_and_optimisers():
    state, _ = update(linear_state(), GroupedBatch(CUTS, CUTS, CUTS), jax.random.key(1), LINEAR)
    after = balanced.hand_over(state, LINEAR)
    networks = lambda m: (m.actor, m.critics)  # noqa: E731
    assert eqx.tree_equal(networks(after.members), networks(state.members))
    assert not eqx.tree_equal(state.members.target_critics, state.members.critics)
    assert eqx.tree_equal(after.members.target_critics, after.members.critics)
    assert eqx.tree_equal(after.ratio, state.ratio)
    assert bool(after.online)
    assert float(after.log_temperature) == 0.0
    assert float(jnp.abs(state.members.actor_opt[0].mu.trunk.layers[0].bias).max()) > 0
    for opt in (after.members.actor_opt, after.members.critic_opt):
        assert all(float(jnp.abs(leaf).max()) == 0 for leaf in jax.tree.leaves(opt))
    assert shapes(state) == shapes(after)
    assert shapes(balanced.init(jax.random.key(0), 1, 1, LINEAR)) == shapes(after)


def test_members_start_different_with_the_authors_constants():
    state = balanced.init(jax.random.key(0), 3, 2, BalancedConfig(hidden=(16,)))
    weight = state.members.critics.layers[0].weight
    assert weight.shape == (5, 2, 5, 16)
    assert not np.allclose(weight[0], weight[1])
    actors = state.members.actor.trunk.layers[0].weight
    assert not np.allclose(actors[0], actors[4])
    np.testing.assert_array_equal(state.ratio.layers[-1].bias, [1.0])


def rows_at(action) -> Batch:
    zeros = np.zeros(len(action))
    return batch(zeros, action, zeros, zeros)


def ratio_state(slope, shift):
    """w(s, a) = max(slope a + shift, 0)."""
    state = linear_state()
    return dataclasses.replace(state, ratio=set_linear(state.ratio, [[0.0], [slope], [shift]]))


def test_ratio_loss_worked_by_hand():
    # w = 1 + 2 a: 3, 1 and, with a < -1/2, 0 on offline rows; 2 and 3 on online ones.
    offline, online = rows_at([1.0, 0.0, -0.8]), rows_at([0.5, 1.0])
    loss = density_ratio.ratio_loss(ratio_state(2.0, 1.0).ratio, offline, online)
    offline = -np.mean(np.log([2 / 4, 2 / 2, 2 / 1]))
    online = np.mean(np.log([2 * 2 / 3, 2 * 3 / 4]))
    assert float(loss) == pytest.approx(offline - online, rel=1e-5)


@pytest.mark.parametrize("shift", [-5.0, 0.0, 1e-8, 1e30])
def test_ratio_loss_and_its_gradient_stay_finite_at_extreme_ratios(shift):
    state, rows = ratio_state(0.0, shift), rows_at([0.5, -0.5])
    loss, grad = jax.value_and_grad(density_ratio.ratio_loss)(state.ratio, rows, rows)
    w = max(np.float64(np.float32(shift)), 0.0)
    expected = -np.log(2 / (w + 1)) - np.log(2 * w / (w + 1) + 1e-10)
    assert float(loss) == pytest.approx(expected, rel=1e-2)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(grad))


def test_priorities_are_the_softened_ratios_over_their_offline_mean():
    # T = 5: of w = 32 and 1 on offline rows the mean of the roots is 1.5.
    state = ratio_state(31.0, 1.0)
    found = balanced.priorities(state, rows_at([1.0, 0.0, -1.0]), rows_at([1.0, 0.0]), LINEAR)
    np.testing.assert_allclose(found, [2 / 1.5, 1 / 1.5, 1e-3], rtol=1e-5)


def test_priorities_are_cut_to_their_range_also_where_every_ratio_is_zero():
    nothing = balanced.priorities(ratio_state(0.0, -1.0), rows_at([0.5]), rows_at([0.1]), LINEAR)
    np.testing.assert_allclose(nothing, [1e-3], rtol=1e-6)
    # w is 1 on the batch's row and 0 on the offline one.
    largest = balanced.priorities(ratio_state(1.0, 0.0), rows_at([1.0]), rows_at([0.0]), LINEAR)
    np.testing.assert_allclose(largest, [1e3], rtol=1e-6)


SMALL = BalancedConfig(
    members=3, hidden=(32, 32), learning_rate=3e-3, offline_actor_learning_rate=3e-3,
    ratio_learning_rate=1e-3, warm_up=100, conservative_weight=2.0, sampled_actions=5,
)  # fmt: skip


def test_learns_the_ratio_of_two_known_densities():
    """Offline uniform, 1/2; online (1 + a) / 2: the ratio is 1 + a."""

    zeros = rows_at(np.zeros(256))

    def step(state, key):
        uniform = jax.random.uniform(key, (2, 256))
        rows = lambda action: dataclasses.replace(zeros, action=action[:, None])  # noqa: E731
        offline, online = rows(2 * uniform[0] - 1), rows(2 * jnp.sqrt(uniform[1]) - 1)
        return balanced.update_ratio(state, offline, online, SMALL)

    start = balanced.init(jax.random.key(0), 1, 1, SMALL)
    run = jax.jit(lambda s, keys: jax.lax.scan(step, s, keys))
    state, metrics = run(start, jax.random.split(jax.random.key(1), 1500))
    action = jnp.linspace(-0.9, 0.9, 10)[:, None]
    found = density_ratio.density_ratio(state.ratio, jnp.zeros((10, 1)), action)
    np.testing.assert_allclose(found, 1 + action[:, 0], atol=0.2)
    # E_off[w] = 1; E_on[w] = 4/3. At its least the loss is minus twice the divergence.
    assert float(metrics["ratio_offline"][-300:].mean()) == pytest.approx(1.0, abs=0.07)
    assert float(metrics["ratio_online"][-300:].mean()) == pytest.approx(4 / 3, abs=0.1)
    a = np.linspace(-1, 1, 20_001)[1:-1]
    divergence = np.trapezoid(
        np.log(2 / (2 + a)) / 2 + (1 + a) / 2 * np.log(2 * (1 + a) / (2 + a)), a
    )
    assert float(metrics["ratio_loss"][-300:].mean()) == pytest.approx(-divergence, abs=0.02)
    assert eqx.tree_equal(state.members, start.members)


@partial(jax.jit, static_argnames="updates")
def learned(state, data: Batch, updates=800):
    """After so many updates on random rows of a data set; also the metrics."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, data.reward.shape[0])
        drawn = jax.tree.map(lambda column: column[rows], data)
        return balanced.update(state, GroupedBatch(drawn, drawn, drawn), key_update, SMALL)

    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), updates))


def bandit(action) -> Batch:
    """One-step episodes with the best action 0.5."""
    ones = np.ones(len(action))
    return batch(ones, action, -2 * (action - 0.5) ** 2, ones, terminated=ones.astype(bool))


def mode(state) -> float:
    return float(balanced.act_mode(balanced.policy(state), jnp.ones(1))[0])


@pytest.mark.slow
def test_offline_it_stays_where_the_log_is_and_online_finds_the_best_action():
    uniform = np.random.default_rng(0).uniform(-1.0, 1.0, 2000)
    log, new = bandit(0.5 * uniform - 0.5), bandit(uniform)
    offline, _ = learned(balanced.init(jax.random.key(0), 1, 1, SMALL), log)
    # Without the conservative term it goes to 0.8, where the critics extrapolate.
    assert -0.4 < mode(offline) < 0.15
    online, losses = learned(balanced.hand_over(offline, SMALL), new)
    assert mode(online) == pytest.approx(0.5, abs=0.1)
    # Every critic of every member has learned the true values.
    action = jnp.linspace(-0.8, 0.8, 9)[:, None]
    values = jax.vmap(lambda c: q_values(c, jnp.ones((9, 1)), action))(online.members.critics)
    expected = np.broadcast_to(-2 * (action[:, 0] - 0.5) ** 2, (3, 2, 9))
    np.testing.assert_allclose(values, expected, atol=0.35)
    assert all(bool(jnp.isfinite(value).all()) for value in losses.values())
