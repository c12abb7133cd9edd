"""Imagined observations that stay within the range of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER, TINY, models
from moore.config import GateConfig
from moore.dynamics.imagine import rollout
from moore.experience.diagnostics import widened
from moore.runs.setup import prepare
from steps import imagine
from tiny import ENV, tiny_config, tiny_log

# s' = s + 1, r = 0.
RUNS_AWAY = models([(0.0, 1.0)], [(TINY, TINY)])


@pytest.mark.parametrize(
    ("within", "ends_at"), [(None, 5.0), ((-1.0, 2.5), 2.5), ((6.0, 9.0), 9.0)]
)
def test_what_is_predicted_beyond_is_cut_to_the_range(within, ends_at):
    limits = None if within is None else tuple(jnp.full(1, value) for value in within)
    transitions, happened, _ = rollout(
        RUNS_AWAY, lambda obs, key: jnp.zeros_like(obs), NEVER, jnp.zeros((1, 1)),
        jax.random.key(0), length=5, penalty_coef=0.0, obs_bound=float("inf"), within=limits,
    )  # fmt: skip
    assert happened.all(), "a rollout goes on at the limit"
    np.testing.assert_allclose(transitions.next_obs[-1, 0], ends_at, rtol=1e-5)


def test_a_range_is_widened_by_a_share_of_itself_on_either_side():
    low, high = jnp.asarray([0.0, -1.0]), jnp.asarray([10.0, 1.0])
    found = widened((low, high), 0.1)
    np.testing.assert_allclose(found, [[-1.0, -1.2], [11.0, 1.2]], rtol=1e-6)
    assert widened((low, high), None) is None


def test_imagination_and_the_gate_keep_to_it_and_to_what_the_system_has_shown_since():
    gate = GateConfig(enabled=True, rollouts=8, penalised=False)
    config = tiny_config(imagined_range=0.0, rollout_length=50, gate=gate)
    learner = prepare(config, dataset=tiny_log(), env=ENV).learner
    state, _ = imagine(learner, learner.init(jax.random.key(0)), 1, 50)
    log = learner.offline.data
    low, high = (f(np.concatenate([log.obs, log.next_obs])) for f in (np.min, np.max))
    ring = state.experience.imagined
    rows = np.asarray(ring.data.next_obs)[: int(ring.size)]
    assert low <= rows.min() and rows.max() <= high
    assert np.isclose(rows.max(), high) or np.isclose(rows.min(), low), "fresh models run away"

    online = learner.hand_over(state)
    row = jax.tree.map(lambda column: np.asarray(column[0]), log)
    far = jnp.asarray(row.obs) + 100.0
    seen = learner.observe(online, jax.tree.map(jnp.asarray, row).__class__(
        far, row.action, row.reward, far, row.terminated, row.truncated
    ))  # fmt: skip
    _, top = learner.models.within(seen.online)
    assert float(top[0]) == pytest.approx(float(far[0]))


def test_without_the_setting_nothing_is_cut():
    learner = prepare(tiny_config(), dataset=tiny_log(), env=ENV).learner
    assert learner.models.within(learner.init(jax.random.key(0)).online) is None
