"""COMBO: the conservative term between imagined and real rows, by hand, and a bandit."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from made_agents import batch, linear_actor, linear_critics
from moore.agents import combo
from moore.agents.combo import COMBOConfig
from moore.agents.cql import Proposals

LINEAR = COMBOConfig(hidden=(), discount=0.5, sampled_actions=2, conservative_weight=3.0)
CRITICS = [[1.0, 2.0, 0.5], [-1.0, 1.0, 0.0]]
TARGET_CRITICS = [[0.5, 1.0, 0.0], [1.0, -1.0, 1.0]]
OBS, ACTION = np.asarray([1.0, 2.0, 0.5, -1.0]), np.asarray([0.5, -1.0, 0.2, 0.8])
TARGET = np.asarray([2.0, -1.0, 0.0, 1.0])
PROPOSED = np.asarray([[0.9, -0.9, 0.3, 0.0], [0.0, 0.3, -0.2, 0.7], [-0.5, 1.0, 0.1, -0.6]])
LOG_DENSITY = np.asarray([[-0.7] * 4, [0.4, 1.1, -0.3, 0.0], [-2.0, 0.2, 0.5, -1.0]])
HALF = [4, -1, 9, -1]  # the second and the last row are imagined


def q(rows, obs, action):
    return np.stack([s * obs + a * action + b for s, a, b in np.asarray(rows, np.float64)])


def loss(row, config=LINEAR):
    state = combo.init(jax.random.key(0), 1, 1, config)
    rows = dataclasses.replace(batch(OBS, ACTION, TARGET, OBS), row=jnp.asarray(row))
    columns = PROPOSED[..., None], LOG_DENSITY, np.full((3, 4), -1e30)
    proposals = Proposals(*(jnp.asarray(column, jnp.float32) for column in columns))
    return combo.critic_loss(
        linear_critics(state.critics, CRITICS), rows, jnp.asarray(TARGET), proposals, config
    )


@pytest.mark.parametrize(("pushed_down", "down"), [("imagined", [1, 3]), ("all", [0, 1, 2, 3])])
def test_values_are_pushed_down_at_imagined_states_and_up_at_real_rows(pushed_down, down):
    found, parts = loss(HALF, dataclasses.replace(LINEAR, pushed_down=pushed_down))
    values = q(CRITICS, OBS, ACTION)
    soft_maximum = special.logsumexp(q(CRITICS, OBS, PROPOSED) - LOG_DENSITY, axis=1)
    gap = soft_maximum[:, down].mean(axis=1) - values[:, [0, 2]].mean(axis=1)
    errors = ((values - TARGET) ** 2).mean(axis=1)
    assert float(found) == pytest.approx((errors + 3 * gap).sum(), rel=1e-5)
    assert float(parts["conservative"]) == pytest.approx(3 * gap.sum(), rel=1e-5)
    assert float(parts["q_logged"]) == pytest.approx(values[:, [0, 2]].mean(), rel=1e-5)
    assert float(parts["q_imagined"]) == pytest.approx(values[:, [1, 3]].mean(), rel=1e-5)


@pytest.mark.parametrize("row", [[0, 1, 2, 3], [-1, -1, -1, -1]])
def test_a_batch_of_one_kind_has_the_bellman_error_alone(row):
    found, parts = loss(row)
    errors = ((q(CRITICS, OBS, ACTION) - TARGET) ** 2).mean(axis=1)
    assert float(found) == pytest.approx(errors.sum(), rel=1e-5)
    assert float(parts["conservative"]) == 0.0


def test_targets_of_real_and_imagined_rows_are_alike_and_without_entropy():
    """The policy is tanh(0.5 s + 0.1), all but surely; the last row is terminal."""
    state = combo.init(jax.random.key(0), 1, 1, LINEAR)
    parts = (
        linear_actor(state.actor, 0.5, 0.1, -20.0),
        linear_critics(state.target_critics, TARGET_CRITICS),
    )
    state = eqx.tree_at(lambda s: (s.actor, s.target_critics), state, parts)
    ends = [False, False, False, True]
    rows = dataclasses.replace(batch(OBS, ACTION, TARGET, OBS, ends), row=jnp.asarray(HALF))
    _, metrics = jax.jit(combo.update, static_argnames="config")(
        state, rows, jax.random.key(1), LINEAR
    )
    following = q(TARGET_CRITICS, OBS, np.tanh(0.5 * OBS + 0.1)).min(axis=0)
    expected = TARGET + 0.5 * np.asarray([1, 1, 1, 0]) * following
    assert float(metrics["q_target"]) == pytest.approx(expected.mean(), rel=1e-5)
    found = combo.value(state, rows.obs, jax.random.key(2))
    np.testing.assert_allclose(found, following, rtol=1e-5)


BANDIT = COMBOConfig(
    hidden=(32,), sampled_actions=4, learning_rate=3e-3, actor_learning_rate=3e-3
)  # fmt: skip


@partial(jax.jit, static_argnames="config")
def mode_learned(real, imagined, config):
    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = jax.random.randint(key_rows, (32,), 0, 500)
        drawn = jax.tree.map(
            lambda *parts: jnp.concatenate([part[rows] for part in parts]), real, imagined
        )
        return combo.update(state, drawn, key_update, config)[0], None

    state = combo.init(jax.random.key(0), 1, 1, config)
    state, _ = jax.lax.scan(step, state, jax.random.split(jax.random.key(1), 1000))
    return combo.act_mode(combo.policy(state), jnp.zeros((1, 1)))[0, 0]


@pytest.mark.slow
def test_it_does_not_follow_models_that_promise_more_than_the_log():
    """The log earns -(a + 0.5)^2 with a in (-1, 0); the models promise 1 for a in (0.5, 1)."""
    rng = np.random.default_rng(0)
    nothing, ends = np.zeros(500), np.ones(500, bool)
    logged, dreamt = rng.uniform(-1, 0, 500), rng.uniform(0.5, 1, 500)
    real = batch(nothing, logged, -((logged + 0.5) ** 2), nothing, ends)
    imagined = batch(nothing, dreamt, np.ones(500), nothing, ends)
    imagined = dataclasses.replace(imagined, row=jnp.full(500, -1))
    assert float(mode_learned(real, imagined, BANDIT)) < 0.2
    trusting = dataclasses.replace(BANDIT, conservative_weight=0.0)
    assert float(mode_learned(real, imagined, trusting)) > 0.4
