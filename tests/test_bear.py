"""BEAR: the discrepancy from the log's actions, its multiplier, and the targets, by hand."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_agents import batch, linear_actor, linear_critics
from moore.agents import bear
from moore.agents.bear import BEARConfig
from moore.agents.nets import sample_actions

LINEAR = BEARConfig(hidden=(), model_hidden=(), discount=0.5, warm_up=1, bandwidth=0.5)
CRITICS = [[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]
NEXT = np.asarray([1.0, 2.0, -3.0])
ROWS = batch(
    [0.5, -1.0, 2.0], [0.2, -0.4, 0.9], [1.0, 2.0, 4.0], NEXT,
    terminated=[False, True, False], truncated=[False, False, True],
)  # fmt: skip


def linear_state(log_std=-1.0, config=LINEAR):
    state = bear.init(jax.random.key(0), 1, 1, config)
    actor = linear_actor(state.actor, 0.5, 0.1, log_std)
    critics = linear_critics(state.critics, CRITICS)
    target_critics = linear_critics(state.target_critics, TARGET_CRITICS)
    where = lambda s: (s.actor, s.target_actor, s.critics, s.target_critics)  # noqa: E731
    return eqx.tree_at(where, state, (actor, actor, critics, target_critics))


def q(rows, obs, action):
    return np.stack([s * obs + a * action + b for s, a, b in np.asarray(rows, np.float64)])


def actions(values):
    """(count, rows, entries)."""
    return jnp.asarray(values, jnp.float32)


@pytest.mark.parametrize(("kernel", "distance"), [("laplacian", 3.0), ("gaussian", 5.0)])
def test_the_discrepancy_of_two_single_actions(kernel, distance):
    """(0, 0) and (1, 2) are 3 apart, or squared 5; so MMD^2 = 2 - 2 exp(-distance / (2 sigma))."""
    config = dataclasses.replace(LINEAR, kernel=kernel, bandwidth=2.0)
    found = bear.discrepancy(actions([[[0.0, 0.0]]]), actions([[[1.0, 2.0]]]), config)
    assert float(found[0]) == pytest.approx(np.sqrt(2 - 2 * np.exp(-distance / 4)), rel=1e-4)


def test_the_discrepancy_compares_sets_row_by_row():
    # Row 0: {0, 1} and {0, 1}. Row 1: {0, 2} and {1}: means 1/2 + e^-2 / 2, 1 and e^-1.
    one, other = actions([[[0.0], [0.0]], [[1.0], [2.0]]]), actions([[[0.0], [1.0]]])
    same = bear.discrepancy(one[:, :1], one[:, :1], LINEAR)
    assert float(same[0]) == pytest.approx(1e-3, rel=1e-2)  # the root of 1e-6
    found = bear.discrepancy(one[:, 1:], other[:, 1:], LINEAR)
    expected = np.sqrt(0.5 + 0.5 * np.exp(-2.0) + 1.0 - 2.0 * np.exp(-1.0))
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_the_action_model_worked_by_hand():
    """The decoder says 0.3 whatever the latent variable; the encoder has the moments 1 and e."""
    model = jax.tree.map(jnp.zeros_like, linear_state().model)
    where = lambda m: (m.encoder.layers[0].bias, m.decoder.layers[0].bias)  # noqa: E731
    model = eqx.tree_at(where, model, (jnp.ones(4), jnp.asarray([0.3])))
    found = bear.model_loss(model, ROWS.obs, ROWS.action, jax.random.key(0))
    error = np.mean((np.tanh(0.3) - np.asarray([0.2, -0.4, 0.9])) ** 2)
    prior = -0.5 * (1 + 2 - 1 - np.exp(2.0))
    assert float(found) == pytest.approx(error + 0.5 * prior, rel=1e-5)


def test_compared_actions_have_their_noise_cut():
    state = linear_state(log_std=0.0)
    found = bear.policy_actions(state.actor, ROWS.obs, jax.random.key(0), 200)
    deviation = np.asarray(found[..., 0]) - (0.5 * np.asarray([0.5, -1.0, 2.0]) + 0.1)
    np.testing.assert_allclose([deviation.min(), deviation.max()], [-0.5, 0.5], atol=1e-5)
    assert bear.model_actions(state.model, ROWS.obs, jax.random.key(0), 7).shape == (7, 3, 1)


def test_a_target_is_the_best_sample_by_three_quarters_of_the_lowest_critic():
    state, key = linear_state(log_std=0.0), jax.random.key(1)
    action = np.asarray(sample_actions(state.target_actor, ROWS.next_obs, key, 10)[0][..., 0])
    values = q(TARGET_CRITICS, NEXT, action)  # (critics, samples, rows)
    mixed = 0.75 * values.min(axis=0) + 0.25 * values.max(axis=0)
    expected = np.asarray([1.0, 2.0, 4.0]) + 0.5 * np.asarray([1, 0, 1]) * mixed.max(axis=0)
    np.testing.assert_allclose(bear.targets(state, ROWS, key, LINEAR), expected, rtol=1e-4)


def test_the_actor_pays_the_multiplier_times_the_discrepancy_and_in_the_warm_up_that_alone():
    state, key = linear_state(), jax.random.key(2)
    key_model, key_policy = jax.random.split(key)
    own = bear.policy_actions(state.actor, ROWS.obs, key_policy, 5)
    logged = bear.model_actions(state.model, ROWS.obs, key_model, 5)
    far = float(bear.discrepancy(logged, own, LINEAR).mean())
    values = q(CRITICS, np.asarray([0.5, -1.0, 2.0]), np.tanh(np.asarray(own[..., 0])))
    value = values.mean(axis=1).min(axis=0).mean()
    for warming_up in (False, True):
        loss, mean = bear.actor_loss(
            state.actor, state.critics, state.model, jnp.asarray(2.0), ROWS.obs,
            jnp.asarray(warming_up), key, LINEAR,
        )  # fmt: skip
        assert float(mean) == pytest.approx(far, rel=1e-5)
        assert float(loss) == pytest.approx(2.0 * far - (not warming_up) * value, rel=1e-4)


@pytest.mark.parametrize(("far", "expected"), [(0.3, 1e-3), (0.01, -1e-3)])
def test_the_multiplier_rises_above_the_limit_and_falls_below_it(far, expected):
    """Adam's first step has the size of the learning rate."""
    found, _ = bear.multiplier_step(linear_state(), jnp.asarray(far), LINEAR)
    assert float(found) == pytest.approx(expected, rel=1e-3)


def test_the_multiplier_keeps_its_range():
    state = eqx.tree_at(lambda s: s.log_multiplier, linear_state(), jnp.asarray(10.0))
    assert float(bear.multiplier_step(state, jnp.asarray(0.9), LINEAR)[0]) == 10.0


def test_an_update_moves_every_network_and_its_target():
    before = linear_state()
    after, metrics = jax.jit(bear.update, static_argnames="config")(
        before, ROWS, jax.random.key(3), LINEAR
    )
    for name in ("actor", "target_actor", "critics", "target_critics", "model"):
        assert not eqx.tree_equal(getattr(after, name), getattr(before, name)), name
    old, new = before.target_actor.trunk.layers[0].bias, after.actor.trunk.layers[0].bias
    np.testing.assert_allclose(
        after.target_actor.trunk.layers[0].bias, 0.995 * old + 0.005 * new, rtol=1e-5
    )
    assert int(after.updates) == 1 and float(metrics["multiplier"]) == 1.0


BANDIT = BEARConfig(
    hidden=(32,), model_hidden=(32,), learning_rate=3e-3, multiplier_learning_rate=0.1,
    warm_up=100, target_actions=2, batch_size=64,
)  # fmt: skip


@partial(jax.jit, static_argnames="config")
def mode_learned(data, config):
    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (64,), 0, 500)
        drawn = jax.tree.map(lambda column: column[rows], data)
        return bear.update(state, drawn, key_update, config)[0], None

    state = bear.init(jax.random.key(0), 1, 1, config)
    state, _ = jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 1200))
    return bear.act_mode(bear.policy(state), jnp.zeros((1, 1)))[0, 0]


@pytest.mark.slow
def test_it_stays_where_most_of_the_log_is_although_rare_actions_earn_more():
    """Nine rows in ten play (-0.6, 0), the tenth (0.6, 1), and an action earns 2 a.

    The critics know what the rare actions earn. Where the log has none at all, the lower of two
    critics has its maximum anywhere, and a policy without a limit stops there.
    """
    rng = np.random.default_rng(0)
    action = np.concatenate([rng.uniform(-0.6, 0.0, 450), rng.uniform(0.6, 1.0, 50)])
    data = batch(np.zeros(500), action, 2.0 * action, np.zeros(500), np.ones(500, bool))
    assert -0.6 < float(mode_learned(data, BANDIT)) < 0.1
    free = dataclasses.replace(BANDIT, mmd_limit=1e3)
    assert float(mode_learned(data, free)) > 0.6
