"""CQL and Cal-QL: worked numbers, gradients, and bandits whose solution is known."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from made_agents import linear_actor, linear_critics
from moore.agents import cql
from moore.agents.cql import CQLConfig, Proposals
from moore.replay.buffer import Batch, Replay, empty_replay

# Without hidden layers every network is linear, and its numbers can be worked by hand.
LINEAR = CQLConfig(hidden=(), discount=0.5, sampled_actions=4, warm_up=1)
CALIBRATED = dataclasses.replace(LINEAR, calibrated=True)
NONE = -1e30  # stands for "no return is known"

update = jax.jit(cql.update, static_argnames="config")


def batch(obs, action, reward, next_obs, terminated=None, truncated=None, row=None) -> Batch:
    """Rows of scalar observations and actions."""
    column = lambda x: jnp.asarray(x, jnp.float32)[:, None]  # noqa: E731
    rows = len(reward)
    flags = lambda x: jnp.zeros(rows, bool) if x is None else jnp.asarray(x)  # noqa: E731
    row = jnp.arange(rows) if row is None else jnp.asarray(row)
    rest = column(next_obs), flags(terminated), flags(truncated), row
    return Batch(column(obs), column(action), jnp.asarray(reward, jnp.float32), *rest)


def replay(reward, capacity, terminated=(), truncated=()) -> Replay:
    """The rewards in a buffer of that capacity; 99 where nothing is."""
    empty = empty_replay(capacity, 1, 1, max_holdout=1)
    size = len(reward)
    flags = lambda rows: jnp.asarray(np.isin(np.arange(capacity), rows))  # noqa: E731
    where = lambda r: (r.size, r.data.reward, r.data.terminated, r.data.truncated)  # noqa: E731
    rewards = jnp.full(capacity, 99.0).at[:size].set(jnp.asarray(reward, jnp.float32))
    new = jnp.asarray(size, jnp.int32), rewards, flags(terminated), flags(truncated)
    return eqx.tree_at(where, empty, new)


CRITICS = [[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]


def linear_state(log_std, config=LINEAR):
    state = cql.init(jax.random.key(0), 1, 1, config)
    parts = (
        linear_actor(state.actor, 0.5, 0.1, log_std),
        linear_critics(state.critics, CRITICS),
        linear_critics(state.target_critics, TARGET_CRITICS),
    )
    return eqx.tree_at(lambda s: (s.actor, s.critics, s.target_critics), state, parts)


def q(rows, obs, action):
    """Q of every critic by NumPy, along a leading axis."""
    obs, action = np.asarray(obs, np.float64), np.asarray(action, np.float64)
    return np.stack([of_obs * obs + of_action * action + bias for of_obs, of_action, bias in rows])


DATA = batch([1.0, 2.0], [0.5, -1.0], [0.0, 0.0], [0.0, 0.0])
PROPOSED = np.asarray([[0.9, -0.9], [0.0, 0.3], [-0.5, 1.0]])
LOG_DENSITY = np.asarray([[-0.7, -0.7], [0.4, 1.1], [-2.0, 0.2]])


def loss_and_grad(lower_bound):
    columns = PROPOSED[..., None], LOG_DENSITY, lower_bound
    proposals = Proposals(*(jnp.asarray(column, jnp.float32) for column in columns))
    return jax.value_and_grad(cql.critic_loss, has_aux=True)(
        linear_state(0.0).critics, DATA, jnp.asarray([2.0, -1.0]), proposals, LINEAR
    )


def by_hand(lower_bound):
    logged = q(CRITICS, [1.0, 2.0], [0.5, -1.0])
    counted = np.maximum(q(CRITICS, [1.0, 2.0], PROPOSED), lower_bound)
    soft_maximum = special.logsumexp(counted - LOG_DENSITY, axis=1)
    return logged, counted, soft_maximum


def test_critic_loss_is_the_squared_error_and_five_times_the_gap_to_the_soft_maximum():
    lower_bound = np.full((3, 2), NONE)
    (loss, parts), _ = loss_and_grad(lower_bound)
    logged, _, soft_maximum = by_hand(lower_bound)
    np.testing.assert_allclose(logged, [[2.5, 0.5], [-0.5, -3.0]])
    # The errors are 0.5, 1.5 and -2.5, -2: their mean squares 1.25 and 5.125.
    gap = (soft_maximum - logged).mean(axis=1).sum()
    assert float(loss) == pytest.approx(6.375 + 5 * gap, rel=1e-5)
    assert float(parts["conservative"]) == pytest.approx(5 * gap, rel=1e-5)
    assert float(parts["q_logged"]) == pytest.approx(-0.125)
    assert float(parts["bounded_share"]) == 0.0


def test_a_calibrated_value_counts_at_least_its_bound_and_is_not_pushed_below_it():
    lower_bound = np.asarray([[NONE, NONE], [2.0, NONE], [-3.0, 4.6]])
    (loss, parts), grad = loss_and_grad(lower_bound)
    logged, counted, soft_maximum = by_hand(lower_bound)
    gap = (soft_maximum - logged).mean(axis=1).sum()
    assert float(loss) == pytest.approx(6.375 + 5 * gap, rel=1e-5)
    # Cut: of critic 1 at (1, 0), Q = 1.5, and (2, 1), Q = 4.5; of critic 2, Q = -1 and -1.
    cut = q(CRITICS, [1.0, 2.0], PROPOSED) < lower_bound
    assert cut.sum() == 4
    assert float(parts["bounded_share"]) == pytest.approx(4 / 8)  # of 2 critics, actions, rows
    # d/db: twice the mean error, and of the gap what the cut values no longer push.
    share = special.softmax(counted - LOG_DENSITY, axis=1)
    expected = 2 * np.asarray([1.0, -2.25]) - 5 * (share * cut).sum(axis=1).mean(axis=1)
    np.testing.assert_allclose(grad.layers[0].bias[:, 0], expected, rtol=1e-4)


def test_without_a_bound_the_conservative_term_cannot_shift_all_values():
    before = linear_state(np.log(0.5))
    data = batch([1.0, -1.0, 0.5], [0.9, -0.2, 1.0], [1.0, 0.0, 2.0], [0.3, 0.1, -0.7])
    after, metrics = update(before, data, jax.random.key(3), LINEAR)
    # So d/db is that of the squared error to a constant target. Adam's first mean is a tenth.
    values = q(CRITICS, data.obs[:, 0], data.action[:, 0]).mean(axis=1)
    found = 10 * after.critic_opt[0].mu.layers[0].bias[:, 0]
    np.testing.assert_allclose(found, 2 * (values - float(metrics["q_target"])), rtol=1e-4)


def test_proposals_are_uniform_and_of_the_policy_at_both_states():
    data = batch([1.0, -2.0], [0.0, 0.0], [0.0, 0.0], [3.0, 0.5])
    config = dataclasses.replace(LINEAR, sampled_actions=500)
    proposals = cql.propose(linear_state(np.log(0.1)), data, jax.random.key(1), config)
    action, log_density = np.asarray(proposals.action[..., 0]), np.asarray(proposals.log_density)
    random, now, later = np.split(action, 3)
    assert stats.kstest(random.ravel(), "uniform", (-1, 2)).pvalue > 1e-3
    uniform, *densities = np.split(log_density, 3)
    np.testing.assert_allclose(uniform, np.log(0.5), rtol=1e-6)
    states = [1.0, -2.0], [3.0, 0.5]
    for sample, obs, density in zip((now, later), states, densities, strict=True):
        mean = 0.5 * np.asarray(obs) + 0.1
        np.testing.assert_allclose(np.arctanh(sample).mean(axis=0), mean, atol=0.03)
        expected = stats.norm.logpdf(np.arctanh(sample), mean, 0.1) - np.log(1 - sample**2)
        np.testing.assert_allclose(density, expected, atol=2e-3)
    assert float(proposals.lower_bound.max()) == np.float32(NONE)


def test_the_policys_proposals_are_bounded_by_the_return_of_their_row_and_random_ones_are_not():
    state = linear_state(0.0, CALIBRATED)
    state = eqx.tree_at(lambda s: s.returns, state, jnp.arange(9.0))
    data = batch([0.0] * 3, [0.0] * 3, [0.0] * 3, [0.0] * 3, row=[7, -1, 2])
    bound = cql.propose(state, data, jax.random.key(1), CALIBRATED).lower_bound
    np.testing.assert_array_equal(bound[:4], np.full((4, 3), NONE, np.float32))
    np.testing.assert_array_equal(bound[4:], np.tile(np.asarray([7, NONE, 2], np.float32), (8, 1)))


def test_returns_to_go_end_with_their_episode():
    data = replay([1, 2, 3, 4, 5, 6], 8, terminated=[1], truncated=[3])
    found, nothing = cql.returns_to_go(data, 0.5), cql.returns_to_go(replay([], 2), 0.5)
    # Episodes 1, 2; 3, 4 (cut); 5, 6 (not over yet); discounted by a half.
    np.testing.assert_allclose(found, [2, 2, 5, 4, 8, 6, NONE, NONE], rtol=1e-6)
    np.testing.assert_array_equal(nothing, np.float32([NONE, NONE]))


def test_returns_to_go_of_a_long_log_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    reward, ends = rng.normal(1.0, 3.0, 5000), np.flatnonzero(rng.random(5000) < 0.003)
    expected = np.zeros(5001)
    for i in reversed(range(5000)):
        expected[i] = reward[i] + 0.99 * expected[i + 1] * (i not in ends)
    data = replay(reward, 5000, terminated=ends)
    found = jax.jit(lambda log: cql.returns_to_go(log, 0.99))(data)
    np.testing.assert_allclose(found, expected[:-1], rtol=1e-4, atol=1e-3)


def test_look_finds_the_returns_of_both_stages_by_joint_row():
    state = cql.init(jax.random.key(0), 1, 1, CALIBRATED)
    log = replay([1.0, 2.0, 4.0], 3, terminated=[2])
    before = cql.summarise_data(state, log, replay([], 1), CALIBRATED)
    np.testing.assert_allclose(before.returns, [3, 4, 4, NONE], rtol=1e-6)
    after = cql.summarise_data(before, log, replay([5.0, 6.0], 5), CALIBRATED)
    np.testing.assert_allclose(after.returns, [3, 4, 4, 8, 6] + 3 * [NONE], rtol=1e-6)
    # Row 3 is the first online one; -1 is imagined, and of row 8 nothing is kept.
    found = cql.returns_of(after, jnp.asarray([2, 3, -1, 8]))
    np.testing.assert_allclose(found, [4, 8, NONE, NONE], rtol=1e-6)
    assert state.returns.dtype == after.returns.dtype


def test_look_does_nothing_without_calibration():
    log = replay([1.0], 9)
    plain = linear_state(0.0)
    assert plain.returns.shape == (0,)
    assert eqx.tree_equal(cql.summarise_data(plain, log, log, LINEAR), plain)
    assert eqx.tree_equal(cql.AGENT.hand_over(plain, LINEAR), plain)


NEXT = np.asarray([1.0, 2.0, -3.0])
CUTS = batch(
    [0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 4.0], NEXT,
    terminated=[False, True, False], truncated=[False, False, True],
)  # fmt: skip


def targets(log_std, key, **options):
    config = dataclasses.replace(LINEAR, **options)
    return np.asarray(cql.bellman_targets(linear_state(log_std), CUTS, key, config))


def test_a_target_may_be_judged_by_a_random_subset_of_the_critics():
    """One of two critics judges: over many keys each does, and never their minimum alone."""
    pairs = q(TARGET_CRITICS, NEXT, np.tanh(0.5 * NEXT + 0.1))
    rewards, goes_on = np.asarray([1.0, 2.0, 4.0]), 0.5 * np.asarray([1.0, 0.0, 1.0])
    seen = [targets(-20.0, jax.random.key(seed), critic_subset=1) for seed in range(8)]
    for expected in rewards + goes_on * pairs:
        assert any(np.allclose(found, expected, rtol=1e-5) for found in seen)


def test_target_has_no_entropy_and_stops_at_a_terminal_alone():
    # The policy is tanh(0.5 s + 0.1), all but surely.
    following = q(TARGET_CRITICS, NEXT, np.tanh(0.5 * NEXT + 0.1)).min(axis=0)
    expected = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * following
    np.testing.assert_allclose(targets(-20.0, jax.random.key(1)), expected, rtol=1e-5)
    _, metrics = update(linear_state(-20.0), CUTS, jax.random.key(1), LINEAR)
    assert float(metrics["q_target"]) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(metrics["q_target_max"]) == pytest.approx(expected.max(), rel=1e-5)


def test_with_the_flag_the_target_counts_the_next_actions_entropy():
    key, mean = jax.random.key(1), 0.5 * NEXT + 0.1
    action = cql.sample_actions(linear_state(-1.0).actor, CUTS.next_obs, key, 1)[0][0, :, 0]
    action = np.asarray(action, np.float64)
    log_density = stats.norm.logpdf(np.arctanh(action), mean, np.exp(-1)) - np.log(1 - action**2)
    # The temperature starts at 1, the discount is a half, and row 1 is terminal.
    gain = targets(-1.0, key, entropy_backup=True) - targets(-1.0, key)
    np.testing.assert_allclose(gain, [-0.5, 0.0, -0.5] * log_density, atol=1e-3)


def test_the_best_of_several_next_actions_is_that_of_the_lowest_critic():
    key = jax.random.key(1)
    action, _ = cql.sample_actions(linear_state(0.0).actor, CUTS.next_obs, key, 4)
    values = q(TARGET_CRITICS, NEXT, np.asarray(action[..., 0]))
    best = values.min(axis=0).max(axis=0)
    expected = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1.0, 0.0, 1.0]) * best
    np.testing.assert_allclose(targets(0.0, key, max_target_backup=True), expected, rtol=1e-5)
    # It is not the minimum of the critics' own best ones.
    assert not np.allclose(values.max(axis=1).min(axis=0), best)


def test_warming_up_the_actor_scores_the_logged_actions_also_at_the_border():
    state, key = linear_state(np.log(0.5)), jax.random.key(2)
    obs, logged = np.asarray([1.0, 0.0, 2.0]), np.asarray([0.3, 1.0, -1.0])
    data = batch(obs, logged, np.zeros(3), obs)
    loss = lambda warming: cql.actor_loss(  # noqa: E731
        state.actor, state.critics, jnp.asarray(0.7), data, jnp.asarray(warming), key
    )
    mean = 0.5 * obs + 0.1
    log_density = lambda a: stats.norm.logpdf(np.arctanh(a), mean, 0.5) - np.log(1 - a**2)  # noqa: E731
    own = np.asarray(cql.sample_action(state.actor, data.obs, key)[0][:, 0], np.float64)
    kept = np.clip(logged, -(1 - 1e-5), 1 - 1e-5)
    imitating, entropy = loss(True)
    # arctanh near 1 keeps four digits in single precision.
    expected = 0.7 * log_density(own).mean() - log_density(kept).mean()
    assert float(imitating) == pytest.approx(expected, rel=3e-3)
    assert float(entropy) == pytest.approx(-log_density(own).mean(), rel=1e-3)
    expected = 0.7 * log_density(own).mean() - q(CRITICS, obs, own).min(axis=0).mean()
    assert float(loss(False)[0]) == pytest.approx(expected, rel=1e-4)


def test_the_critics_guide_the_actor_after_the_warm_up_and_not_before():
    first = linear_state(0.0)
    other = eqx.tree_at(lambda s: s.critics.layers[0].weight, first, jnp.ones((2, 2, 1)))
    step = lambda state: update(state, CUTS, jax.random.key(1), LINEAR)[0]  # noqa: E731
    assert eqx.tree_equal(step(first).actor_opt, step(other).actor_opt)
    assert int(step(first).updates) == 1
    late = lambda state: eqx.tree_at(lambda s: s.updates, state, jnp.asarray(1, jnp.int32))  # noqa: E731
    assert not eqx.tree_equal(step(late(first)).actor_opt, step(late(other)).actor_opt)


def test_every_part_moves_by_its_own_rate():
    before = linear_state(0.0)
    config = dataclasses.replace(LINEAR, target_entropy=-50.0)
    after, _ = update(before, CUTS, jax.random.key(1), config)
    # Adam's first step has the size of the learning rate.
    moved = lambda new, old: np.abs(np.asarray(new - old)).max()  # noqa: E731
    actor, critics = (lambda s: s.actor.trunk.layers[0].bias), (lambda s: s.critics.layers[0].bias)
    assert moved(actor(after), actor(before)) == pytest.approx(1e-4, rel=1e-2)
    assert moved(critics(after), critics(before)) == pytest.approx(3e-4, rel=1e-2)
    assert float(after.log_temperature) == pytest.approx(-1e-4, rel=1e-2)
    old, new = before.target_critics.layers[0].weight, after.critics.layers[0].weight
    np.testing.assert_allclose(
        after.target_critics.layers[0].weight, 0.995 * old + 0.005 * new, rtol=1e-6
    )


def test_the_critics_start_different_and_as_their_targets():
    state = cql.init(jax.random.key(0), 3, 2, CQLConfig(critics=3, hidden=(16,)))
    weight = state.critics.layers[0].weight
    assert weight.shape == (3, 5, 16)
    assert not np.allclose(weight[0], weight[1])
    assert eqx.tree_equal(state.critics, state.target_critics)


SIZE = 2000  # rows of every data set, so that one program learns from all of them
RATES = dict(learning_rate=3e-3, actor_learning_rate=3e-3)
SMALL = CQLConfig(hidden=(32, 32), warm_up=100, conservative_weight=2.0, **RATES)
SMALL_CALIBRATED = dataclasses.replace(SMALL, calibrated=True)


def bandit(action, reward) -> Batch:
    return batch(np.ones(SIZE), action, reward, np.ones(SIZE), terminated=np.ones(SIZE, bool))


@partial(jax.jit, static_argnames=("config", "updates"))
def learned(data: Batch, config=SMALL, updates=1200):
    """A fresh agent after updates on random rows of a fixed data set; also its metrics."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, SIZE)
        drawn = jax.tree.map(lambda column: column[rows], data)
        return cql.update(state, drawn, key_update, config)

    state = cql.init(jax.random.key(0), 1, 1, config)
    log = replay(data.reward, SIZE, terminated=range(SIZE))
    state = cql.summarise_data(state, log, replay([], 1), config)
    return jax.lax.scan(step, state, jax.random.split(jax.random.key(1), updates))


def mode(state) -> float:
    return float(cql.act_mode(cql.policy(state), jnp.ones(1))[0])


def learned_q(state, action):
    action = jnp.asarray(action, jnp.float32)[:, None]
    return np.asarray(cql.q_values(state.target_critics, jnp.ones_like(action), action)).mean(0)


GRID = np.linspace(-0.975, 0.975, 40)


def conservative_solution(reward, weight):
    """Minimises mean[(Q - r)^2] + w (log mean exp Q - mean Q) over the grid: convex in Q."""
    values = np.asarray(reward, np.float64)
    for _ in range(2000):
        push = special.softmax(values) * len(values) - 1
        values = values - 0.1 * (2 * (values - reward) + weight * push)
    return values


UNIFORM = np.random.default_rng(0).uniform(-1.0, 1.0, SIZE)


@pytest.fixture(scope="module")
def solved():
    return learned(bandit(UNIFORM, -4 * (UNIFORM - 0.3) ** 2))[0]


@pytest.mark.slow
def test_finds_the_best_action_of_a_bandit_and_the_conservative_values_of_all(solved):
    assert mode(solved) == pytest.approx(0.3, abs=0.15)
    reward = -4 * (GRID - 0.3) ** 2
    expected = conservative_solution(reward, 2.0)
    # The true values are elsewhere: the best is 0, the conservative one of it below -0.5.
    assert expected.max() < -0.5
    inner = np.abs(GRID) < 0.9
    np.testing.assert_allclose(learned_q(solved, GRID)[inner], expected[inner], atol=0.3)


@pytest.mark.slow
def test_calibration_raises_the_values_of_the_policy_to_what_was_earned(solved):
    data = bandit(UNIFORM, -4 * (UNIFORM - 0.3) ** 2)
    calibrated = learned(data, SMALL_CALIBRATED)[0]
    best = np.asarray([0.3])
    plain, raised = learned_q(solved, best)[0], learned_q(calibrated, best)[0]
    assert mode(calibrated) == pytest.approx(0.3, abs=0.15)
    assert plain + 0.15 < raised < 0.1


@pytest.mark.slow
def test_stays_where_the_data_is_although_the_reward_rises_towards_its_end():
    action = 0.5 * UNIFORM - 0.5
    state = learned(bandit(action, 2.0 * action))[0]
    assert -0.4 < mode(state) < 0.1
    # What lies beyond looks worse than the data's end; plain ones extrapolate and end at 0.9.
    values = learned_q(state, np.asarray([-0.05, 0.6]))
    assert values[1] < values[0] - 0.5


def test_stays_finite_on_actions_that_all_lie_on_the_border():
    sign = np.tile([1.0, -1.0], SIZE // 2)
    found = learned(bandit(sign, sign), updates=200)
    for leaf in jax.tree.leaves(eqx.filter(found, eqx.is_inexact_array)):
        assert bool(jnp.isfinite(leaf).all())


def test_the_policy_acts_inside_the_bounds_and_follows_the_key():
    policy = cql.policy(cql.init(jax.random.key(0), 2, 3, SMALL))
    obs = jnp.ones((4, 25, 2))
    action, same, other = (cql.act(policy, obs, jax.random.key(seed)) for seed in (1, 1, 2))
    assert action.shape == cql.act_mode(policy, obs).shape == (4, 25, 3)
    assert float(jnp.abs(action).max()) <= 1.0
    assert (action == same).all() and not np.allclose(action, other)
