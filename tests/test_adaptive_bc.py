"""Adaptive behaviour cloning: worked numbers, gradients, and bandits of known optimum."""

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from moore.agents import adaptive_bc, adaptive_weight
from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.errors import InputError
from moore.replay.buffer import Batch, empty_replay

# Without hidden layers every network is linear, and its numbers can be worked by hand.
LINEAR = AdaptiveBCConfig(hidden=(), discount=0.5, critics=3, policy_delay=1, target_noise=0.0)
SMALL = AdaptiveBCConfig(hidden=(32, 32), critics=4, learning_rate=1e-3, target_rate=0.02)

update = jax.jit(adaptive_bc.update, static_argnames="config")
follow = jax.jit(adaptive_bc.follow, static_argnames="config")
loss_of = jax.jit(adaptive_bc.actor_loss)


@functools.cache
def fresh(config, obs_dim=1, action_dim=1):
    """A fresh agent; its key is always the same."""
    build = jax.jit(lambda key: adaptive_bc.init(key, obs_dim, action_dim, config))
    return build(jax.random.key(0))


def with_weight(state, weight):
    return eqx.tree_at(lambda s: s.adaptation.bc_weight, state, weight)


def column(x):
    return jnp.asarray(x, jnp.float32)[:, None]


def batch(obs, action, reward, next_obs, terminated=None, truncated=None) -> Batch:
    """Rows of scalar observations and actions."""
    rows = len(reward)
    flags = lambda x: jnp.zeros(rows, bool) if x is None else jnp.asarray(x)  # noqa: E731
    reward = jnp.asarray(reward, jnp.float32)
    ends = flags(terminated), flags(truncated)
    return Batch(column(obs), column(action), reward, column(next_obs), *ends, jnp.arange(rows))


CRITICS = np.asarray([[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
TARGET_CRITICS = np.asarray([[0.5, 1.0, 0.0], [1.0, -1.0, 1.0], [-2.0, 0.5, 0.3]])


def linear_critics(critics, rows):
    """Q_j(s, a) = rows[j] . (s, a, 1)."""
    rows = jnp.asarray(rows, jnp.float32)
    where = lambda c: (c.layers[0].weight, c.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, critics, (rows[:, :2, None], rows[:, 2:]))


def linear_actor(actor, slope, shift):
    """pi(s) = tanh(slope s + shift)."""
    where = lambda a: (a.trunk.layers[0].weight, a.trunk.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, actor, (jnp.asarray([[slope]]), jnp.asarray([shift])))


def linear_state(config=LINEAR):
    state = fresh(config)
    parts = (
        linear_actor(state.actor, 0.5, 0.1),
        linear_actor(state.target_actor, -0.4, 0.2),
        linear_critics(state.critics, CRITICS),
        linear_critics(state.target_critics, TARGET_CRITICS),
    )
    where = lambda s: (s.actor, s.target_actor, s.critics, s.target_critics)  # noqa: E731
    return eqx.tree_at(where, state, parts)


def q(rows, obs, action):
    """(critics, rows) by NumPy."""
    return rows[:, :1] * obs + rows[:, 1:2] * action + rows[:, 2:]


OBS, ACTION = np.asarray([1.0, -2.0, 0.3]), np.asarray([1.0, -1.0, 0.2])


def loss_by_numpy(slope, shift, weight, scale=None):
    """The actor's loss; `scale`: what stands for mean|Q|."""
    own = np.tanh(slope * OBS + shift)
    value = q(CRITICS, OBS, own).mean(axis=0)
    scale = np.abs(value).mean() if scale is None else scale
    return -value.mean() / scale + weight * np.mean((own - ACTION) ** 2)


def test_actors_gradient_holds_the_scale_constant():
    state = linear_state()
    grad = jax.grad(adaptive_bc.actor_loss)(
        state.actor, state.critics, column(OBS), column(ACTION), jnp.asarray(0.7)
    )
    scale = np.abs(q(CRITICS, OBS, np.tanh(0.5 * OBS + 0.1)).mean(axis=0)).mean()
    loss = lambda x, scale: loss_by_numpy(x[0], x[1], 0.7, scale)  # noqa: E731
    held = optimize.approx_fprime([0.5, 0.1], loss, 1e-6, scale)
    free = optimize.approx_fprime([0.5, 0.1], loss, 1e-6, None)
    found = [float(leaf.squeeze()) for leaf in jax.tree.leaves(grad)]  # of slope and shift
    np.testing.assert_allclose(found, held, rtol=1e-3)
    assert not np.allclose(held, free, rtol=0.1)


def test_squared_error_is_a_mean_over_the_action_entries():
    state = fresh(SMALL, 2, 3)
    obs, action = jnp.ones((4, 2)), jnp.full((4, 3), 0.5)
    networks, weights = (state.actor, state.critics), (jnp.asarray(0.0), jnp.asarray(1.0))
    losses = [float(loss_of(*networks, obs, action, weight)) for weight in weights]
    own = np.asarray(state.actor(obs[:1]))[0]
    assert losses[1] - losses[0] == pytest.approx(((own - 0.5) ** 2).sum() / 3, rel=1e-4)


def test_values_that_are_all_zero_leave_the_loss_and_its_gradient_finite():
    state = linear_state()
    none = linear_critics(state.critics, np.zeros((3, 3))), column(OBS), column(ACTION)
    loss, grad = jax.value_and_grad(adaptive_bc.actor_loss)(state.actor, *none, jnp.asarray(0.0))
    assert float(loss) == 0.0
    assert bool(jnp.isfinite(grad.trunk.layers[0].weight).all())


def test_target_is_the_minimum_of_a_random_pair_and_stops_at_a_terminal_alone():
    data = batch(
        [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 4.0], [1.0, 2.0, -3.0],
        terminated=[False, True, False], truncated=[False, False, True],
    )  # fmt: skip
    next_obs = np.asarray([1.0, 2.0, -3.0])
    values = q(TARGET_CRITICS, next_obs, np.tanh(-0.4 * next_obs + 0.2))  # of the target actor
    possible = np.asarray([
        np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * values[pair].min(axis=0)
        for pair in ([0, 1], [0, 2], [1, 2])
    ])  # fmt: skip
    targets = jax.vmap(lambda key: adaptive_bc.targets(linear_state(), data, key, LINEAR))
    found = np.asarray(targets(jax.random.split(jax.random.key(0), 300)))
    is_pair = np.isclose(found[:, None], possible, atol=1e-4).all(axis=2)
    # Every draw is one pair for all rows, and each pair comes about 100 times.
    assert (is_pair.sum(axis=1) == 1).all()
    assert is_pair.sum(axis=0).min() > 70


def test_smoothing_noise_is_cut_and_so_is_the_action():
    config = dataclasses.replace(SMALL, target_noise=0.2, target_noise_limit=0.3)
    actor = linear_actor(linear_state().actor, 1.0, 0.0)
    obs = column(np.repeat([0.0, 3.0], 20_000))  # pi = 0 and 0.995
    action = adaptive_bc.smoothed_action(actor, obs, jax.random.key(0), config)
    middle, edge = np.asarray(action[:20_000, 0]), np.asarray(action[20_000:, 0])
    assert np.abs(middle).max() == pytest.approx(0.3, abs=1e-6)
    # Of a normal, 13.4% lie beyond 1.5 standard deviations.
    assert np.mean(np.abs(middle) > 0.2999) == pytest.approx(0.1336, abs=0.01)
    assert edge.max() == 1.0
    assert edge.min() == pytest.approx(np.tanh(3.0) - 0.3, abs=1e-5)


def test_critics_loss_and_gradient_with_the_target_held_constant():
    """The next observations are the observations, so that a leak would show."""
    data = batch(OBS, ACTION, [1.0, 0.0, 2.0], OBS)
    state, key = linear_state(), jax.random.key(3)
    state = eqx.tree_at(lambda s: s.target_critics, state, state.critics)
    after, metrics = update(state, data, key, LINEAR)
    target = np.asarray(adaptive_bc.targets(state, data, key, LINEAR))
    # d/db of the mean over 3 rows and 3 critics. Adam's first mean is a tenth of it.
    errors = q(CRITICS, OBS, ACTION) - target
    found = 10 * after.critic_opt[0].mu.layers[0].bias[:, 0]
    np.testing.assert_allclose(found, 2 * errors.mean(axis=1) / 3, rtol=1e-4)
    assert float(metrics["critic_loss"]) == pytest.approx((errors**2).sum() / 9, rel=1e-5)
    assert float(metrics["q_target"]) == pytest.approx(target.mean(), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(target.max(), rel=1e-5)


def test_actor_and_both_targets_wait_for_their_turn():
    config = dataclasses.replace(LINEAR, policy_delay=3, target_rate=0.1)
    data = batch(OBS, ACTION, [1.0, 0.0, 2.0], OBS)
    states, losses = [linear_state(config)], []
    for key in jax.random.split(jax.random.key(0), 6):
        state, metrics = update(states[-1], data, key, config)
        states.append(state)
        losses.append(float(metrics["actor_loss"]))
    rest = lambda s: (s.actor, s.target_actor, s.target_critics, s.actor_opt)  # noqa: E731
    waits = [eqx.tree_equal(rest(a), rest(b)) for a, b in itertools.pairwise(states)]
    assert waits == [True, True, False, True, True, False]
    assert all(not eqx.tree_equal(a.critics, b.critics) for a, b in itertools.pairwise(states))
    assert losses[:2] == [0.0, 0.0] and losses[2] == losses[3] == losses[4] != losses[5]
    (old_actor, old_critics), moved = rest(states[2])[1:3], rest(states[3])[1:3]
    step = lambda new, old: jax.tree.map(lambda x, y: 0.1 * x + 0.9 * y, new, old)  # noqa: E731
    expected = step(states[3].actor, old_actor), step(states[3].critics, old_critics)
    assert bool(eqx.tree_equal(moved, expected, rtol=1e-5, atol=1e-7))


def test_actor_step_uses_the_critics_after_theirs_and_the_weight_of_the_state():
    data = batch(OBS, ACTION, [10.0, 0.0, -2.0], OBS)
    config = dataclasses.replace(LINEAR, learning_rate=0.1)
    state = with_weight(linear_state(config), jnp.asarray(0.3))
    after, metrics = update(state, data, jax.random.key(0), config)
    layer = after.critics.layers[0]
    new = np.concatenate([layer.weight[..., 0], layer.bias], axis=1)
    own = np.tanh(0.5 * OBS + 0.1)
    value = q(new, OBS, own).mean(axis=0)
    expected = -value.mean() / np.abs(value).mean() + 0.3 * np.mean((own - ACTION) ** 2)
    assert float(metrics["actor_loss"]) == pytest.approx(expected, rel=1e-5)
    assert not np.isclose(expected, loss_by_numpy(0.5, 0.1, 0.3), rtol=1e-2)


@pytest.mark.parametrize(
    ("weight", "length", "current", "last", "expected"),
    [
        # 0.4 - 1000 * 3e-5 * (1.05 - 0.5): the return has risen, so K_D is silent.
        (0.4, 1000, 0.9, 0.5, 0.4 - 0.0165),
        # 0.2 + 1000 * (-3e-5 * 0.55 + 1e-4 * 0.4)
        (0.2, 1000, 0.1, 0.5, 0.2 - 0.0165 + 0.04),
        (0.2, 10, 0.1, 0.5, 0.2 + 0.000235),
        (0.39, 1000, 0.0, 0.5, 0.4),  # cut above
        (0.01, 1000, 0.5, 0.5, 0.0),  # cut below
        (0.2, 1000, 1.2, 1.15, 0.2 + 0.003),  # above the target the pull grows
    ],
)
def test_rule_of_adaptation_worked_by_hand(weight, length, current, last, expected):
    numbers = jnp.asarray(weight), jnp.asarray(length), jnp.asarray(current), jnp.asarray(last)
    result = adaptive_weight.adapted_weight(*numbers, AdaptiveBCConfig())
    assert float(result) == pytest.approx(expected, abs=1e-6)


SCALED = AdaptiveBCConfig(hidden=(4,), return_low=-10.0, return_high=30.0)


def by_numpy(episodes, config, weight):
    """Weight and R_last after episodes, each a list of rewards."""
    last = None
    for rewards in episodes:
        current = (sum(rewards) - config.return_low) / (config.return_high - config.return_low)
        last = current if last is None else last
        change = -3e-5 * (1.05 - last) + 1e-4 * max(0.0, last - current)
        weight = min(max(weight + len(rewards) * change, 0.0), config.online_bc_weight)
        last = 0.05 * current + 0.95 * last
    return weight, last


def episodes_of(count, seed=0):
    """Rewards of episodes of 1 to 300 steps; their returns go up and down."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 300, count)
    return [rng.normal(rng.uniform(0.0, 0.2), 0.5, n).astype(np.float32) for n in lengths]


def buffer(episodes, capacity=4000, *, size=None):
    """An online buffer of episodes; they end by termination and by truncation in turn."""
    replay = empty_replay(capacity, 1, 1, max_holdout=1)
    rows = sum(len(e) for e in episodes)
    reward, terminated, truncated = (np.zeros(capacity, t) for t in (np.float32, bool, bool))
    reward[:rows] = np.concatenate(episodes)
    lasts = np.cumsum([len(e) for e in episodes]) - 1
    terminated[lasts[::2]] = True
    truncated[lasts[1::2]] = True
    where = lambda r: (r.data.reward, r.data.terminated, r.data.truncated, r.size)  # noqa: E731
    values = reward, terminated, truncated, np.int32(rows if size is None else size)
    return eqx.tree_at(where, replay, tuple(jnp.asarray(v) for v in values))


def followed(online, state=None):
    """The state, or that of a fresh hand-over, after it has followed the online buffer."""
    state = adaptive_bc.hand_over(fresh(SCALED), SCALED) if state is None else state
    return follow(state, online, config=SCALED)


def test_the_weight_follows_every_finished_episode_in_order_wherever_the_calls_cut():
    episodes, state = episodes_of(20), None
    rows = sum(len(e) for e in episodes)
    for size in [0, 1, 1, 100, 700, rows - 1, rows]:
        state = followed(buffer(episodes, size=size), state)
    assert eqx.tree_equal(state, followed(buffer(episodes)))
    weight, last = by_numpy(episodes, SCALED, 0.4)
    assert 0.2 < weight < 0.4
    assert float(state.adaptation.bc_weight) == pytest.approx(weight, abs=1e-5)
    assert float(state.adaptation.last_return) == pytest.approx(last, abs=1e-5)
    assert int(state.adaptation.episodes) == 20


def test_one_episode_worked_by_hand_and_one_that_goes_on():
    first, second = np.ones(10, np.float32), np.full(6, 2.0, np.float32)
    found = followed(buffer([first, second], size=14)).adaptation
    # Return 10 is halfway from -10 to 30, and the first: R_last = R_cur = 0.5.
    assert float(found.last_return) == pytest.approx(0.5)
    assert float(found.bc_weight) == pytest.approx(0.4 - 10 * 3e-5 * 0.55, abs=1e-7)
    # The second changes nothing yet, but is kept in mind.
    assert (int(found.rows), int(found.steps), int(found.episodes)) == (14, 4, 1)
    assert float(found.episode_return) == 8.0


def test_padding_and_rows_past_the_end_are_not_read():
    episodes = episodes_of(3)
    rows = sum(len(e) for e in episodes)
    exact = buffer(episodes, rows)
    beyond = eqx.tree_at(lambda r: r.size, exact, jnp.asarray(rows + 7, jnp.int32))
    first = followed(exact)
    assert eqx.tree_equal(first, followed(beyond))
    assert int(first.adaptation.rows) == rows
    assert eqx.tree_equal(followed(empty_replay(0, 1, 1, max_holdout=1), first), first)


def test_the_offline_weight_is_constant_and_the_hand_over_sets_the_online_one():
    config = dataclasses.replace(SCALED, bc_weight=100.0)
    before = fresh(config)
    seen = follow(before, buffer(episodes_of(5), size=0), config=config)
    assert eqx.tree_equal(seen, before)
    _, metrics = update(before, batch([0.0], [0.0], [0.0], [0.0]), jax.random.key(0), config)
    assert float(metrics["bc_weight"]) == 100.0
    online = adaptive_bc.hand_over(before, config)
    assert float(online.adaptation.bc_weight) == np.float32(0.4)
    assert eqx.tree_equal(with_weight(online, before.adaptation.bc_weight), before)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_a_scale_without_length_is_refused(low, high):
    with pytest.raises(InputError, match="does not exceed return_low"):
        AdaptiveBCConfig(return_low=low, return_high=high)


def test_shapes_and_types_never_change():
    online = adaptive_bc.hand_over(fresh(SCALED), SCALED)
    seen = followed(buffer(episodes_of(2)))
    after, _ = update(seen, batch([0.0], [1.0], [0.0], [0.0]), jax.random.key(0), SCALED)
    kind = lambda s: [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(s)]  # noqa: E731
    assert kind(fresh(SCALED)) == kind(online) == kind(seen) == kind(after)


SIZE = 4000  # rows of every data set


@jax.jit
def learned(data: Batch, bc_weight):
    """A fresh agent after 2000 updates on random rows of a fixed data set; also its metrics."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, SIZE)
        drawn = jax.tree.map(lambda x: x[rows], data)
        return adaptive_bc.update(state, drawn, key_update, SMALL)

    state = with_weight(adaptive_bc.init(jax.random.key(0), 1, 1, SMALL), bc_weight)
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 2000))


def mode(state, obs):
    return float(adaptive_bc.act_mode(adaptive_bc.policy(state), jnp.asarray([obs]))[0])


@pytest.mark.parametrize("weight", [0.0, 1.0, 100.0])
def test_finds_the_optimum_between_the_best_action_and_the_datas(weight):
    """Reward 1 - (a - 0.5)^2, and a data set whose mean action is -0.1."""
    action, ones = np.random.default_rng(0).uniform(-1.0, 0.8, SIZE), np.ones(SIZE)
    data = batch(ones, action, 1 - (action - 0.5) ** 2, ones, terminated=np.ones(SIZE, bool))
    mean = action.mean()
    # Where the derivative of -Q/|Q| + w (a - mean)^2 is 0, with |Q| held.
    slope = lambda a: 2 * (a - 0.5) / (1 - (a - 0.5) ** 2) + 2 * weight * (a - mean)  # noqa: E731
    optimum = optimize.brentq(slope, -0.45, 0.5)
    state, metrics = learned(data, jnp.asarray(weight, jnp.float32))
    assert mode(state, 1.0) == pytest.approx(optimum, abs=0.06)
    assert all(bool(jnp.isfinite(values).all()) for values in metrics.values())


def test_goes_through_a_poor_step_to_a_good_one():
    """State 0: leave for 1, or go on for nothing to state 1, where a right step earns 3."""
    rng = np.random.default_rng(0)
    obs, action = np.tile([0.0, 1.0], SIZE // 2), rng.uniform(-1.0, 1.0, SIZE)
    goes_on = (obs == 0) & (action > 0)
    reward = np.where(obs == 0, np.where(goes_on, 0.0, 1.0), 3.0 * (action > 0))
    # A time limit is no end: the value of state 1 reaches state 0 all the same.
    data = batch(obs, action, reward, np.ones(SIZE), terminated=~goes_on, truncated=goes_on)
    state, metrics = learned(data, jnp.asarray(0.0, jnp.float32))
    assert mode(state, 0.0) > 0.1 and mode(state, 1.0) > 0.1
    assert float(metrics["q_target_max"][-100:].max()) < 4.0


def test_acting_adds_the_exploration_noise_inside_the_bounds():
    actor = adaptive_bc.policy(fresh(SMALL, 2, 3))
    obs = jnp.ones((20, 500, 2))
    action, centre = adaptive_bc.act(actor, obs, jax.random.key(1)), actor(obs)
    assert action.shape == (20, 500, 3)
    assert float(jnp.std(action - centre)) == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(action, adaptive_bc.act(actor, obs, jax.random.key(1)))
    np.testing.assert_array_equal(centre, adaptive_bc.act_mode(actor, obs))
    edge = linear_actor(linear_state().actor, 100.0, 0.0)
    assert float(adaptive_bc.act(edge, jnp.ones((999, 1)), jax.random.key(0)).max()) == 1.0


def test_the_critics_start_different_and_as_their_targets():
    state = fresh(AdaptiveBCConfig(), 3, 2)
    weight = state.critics.layers[0].weight
    assert weight.shape == (10, 5, 256)
    assert len({float(w[0, 0]) for w in weight}) == 10
    assert eqx.tree_equal(state.critics, state.target_critics)
    assert eqx.tree_equal(state.actor, state.target_actor)
