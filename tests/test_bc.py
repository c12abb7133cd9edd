"""Cloning: worked numbers of the regression, and controllers that are known."""

import dataclasses
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_agents import batch, linear_actor
from moore.agents import bc
from moore.agents.bc import BCConfig
from moore.agents.nets import Actor
from moore.algorithms import find
from moore.config import Config
from moore.data.better_part import Part
from moore.experience.part import part_of
from moore.experience.protocol import Moment, Task
from moore.replay.buffer import Transition, full_replay
from moore.replay.sampler import gather
from moore.stages import clone

# Without hidden layers the network is linear, and its numbers can be worked by hand.
LINEAR = BCConfig(hidden=(), updates=100)
SMALL = BCConfig(hidden=(32, 32), updates=1000, learning_rate=3e-3, share=0.5)


def replay_of(obs, action, *, reward=None, ends=None):
    """A log on the device; one episode unless it is said where others end."""
    rows = len(obs)
    data = Transition(
        obs=np.asarray(obs, np.float32),
        action=np.asarray(action, np.float32),
        reward=np.zeros(rows, np.float32) if reward is None else np.asarray(reward, np.float32),
        next_obs=np.asarray(obs, np.float32),
        terminated=np.zeros(rows, bool),
        truncated=np.zeros(rows, bool) if ends is None else np.asarray(ends, bool),
    )
    key = jax.random.key(0)
    return full_replay(data, np.ones(rows, bool), key, holdout_fraction=0.0, max_holdout=1)


def whole(offline):
    """All rows of a log, as the part to clone."""
    rows = np.arange(offline.capacity)
    return Part(rows, np.zeros(1), np.asarray([len(rows)]), 0.0)


def noisy_controller(rows=6000, noise=0.3, seed=0):
    """A log of a = tanh(K s + 0.2) with noise, of observations in units of their own; and a."""
    rng = np.random.default_rng(seed)
    obs = rng.normal([1000.0, 0.0, 5.0], [20.0, 1e-3, 1.0], (rows, 3))
    gain = np.asarray([[0.02, 0.0], [300.0, -500.0], [0.0, 0.4]])
    wanted = np.tanh((obs - [1000.0, 0.0, 5.0]) @ gain + 0.2)
    return obs, np.clip(wanted + noise * rng.normal(size=wanted.shape), -1.0, 1.0), wanted


def test_the_loss_worked_by_hand():
    state = bc.init(jax.random.key(0), 1, 1, LINEAR)
    actor = linear_actor(state.actor, 0.5, 0.1, -1.0)
    # tanh(0.6) and tanh(1.1) against 0.5 and -1; the log standard deviation is 0.5 above -1.5.
    expected = (np.square(np.tanh(0.6) - 0.5) + np.square(np.tanh(1.1) + 1.0)) / 2
    loss, error = bc.cloning_loss(
        actor, jnp.asarray([[1.0], [2.0]]), jnp.asarray([[0.5], [-1.0]]), -1.5
    )
    assert float(error) == pytest.approx(expected)
    assert float(loss) == pytest.approx(expected + 0.25)


def test_the_loss_sums_over_action_entries_and_averages_over_rows():
    actor = Actor(1, 2, (), key=jax.random.key(0))
    actor = eqx.tree_at(lambda a: a.trunk.layers[0].weight, actor, jnp.zeros((1, 4)))
    action = jnp.asarray([[1.0, -1.0], [0.5, 0.0], [0.0, 0.0]])
    loss, error = bc.cloning_loss(actor, jnp.zeros((3, 1)), action, -2.0)
    assert float(error) == pytest.approx((2.0 + 0.25 + 0.0) / 3)
    assert float(loss) == pytest.approx(2.25 / 3 + 8.0)


def test_the_first_step_of_adam_is_the_learning_rate_down_the_slope():
    state = bc.init(jax.random.key(0), 1, 1, LINEAR)
    state = dataclasses.replace(state, actor=linear_actor(state.actor, 0.0, 0.0, -1.5))
    rows = batch([1.0, 3.0], [0.8, 0.8], [0.0, 0.0], [0.0, 0.0])
    after, metrics = bc.update(state, rows, jax.random.key(1), LINEAR)
    layer = after.actor.trunk.layers[0]
    np.testing.assert_allclose(layer.weight, [[1e-3, 0.0]], atol=1e-7)
    np.testing.assert_allclose(layer.bias, [1e-3, -1.5], atol=1e-6)
    assert float(metrics["cloning_error"]) == pytest.approx(0.64)


def test_after_its_updates_a_clone_does_not_change():
    config = BCConfig(hidden=(), updates=3)
    state = bc.init(jax.random.key(0), 1, 1, config)
    rows = batch([1.0], [0.8], [0.0], [0.0])
    seen = [state]
    for _ in range(6):
        seen.append(bc.update(seen[-1], rows, jax.random.key(1), config)[0])
    moved = [not eqx.tree_equal(a.actor, b.actor) for a, b in itertools.pairwise(seen)]
    assert moved == [True, True, True, False, False, False]


def test_the_policy_takes_observations_as_they_are():
    obs = np.random.default_rng(0).normal([1000.0, -3.0], [50.0, 1e-3], (64, 2))
    offline = replay_of(obs, np.zeros((64, 2)))
    state = bc.summarise_data(bc.init(jax.random.key(0), 2, 2, SMALL), offline, offline, SMALL)
    np.testing.assert_allclose(state.obs_mean, obs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(state.obs_std, obs.std(axis=0), rtol=1e-3)
    seen = (offline.data.obs - state.obs_mean[None]) / state.obs_std[None]
    for folded, inner in zip(bc.policy(state)(offline.data.obs), state.actor(seen), strict=True):
        np.testing.assert_allclose(folded, inner, atol=3e-3)  # float32: 1000 / 50 and -3 / 1e-3


def test_an_entry_that_never_varies_is_not_divided_by_nothing():
    offline = replay_of(np.full((8, 2), [0.1, 7e5]), np.zeros((8, 1)))
    state = bc.summarise_data(bc.init(jax.random.key(0), 2, 1, LINEAR), offline, offline, LINEAR)
    np.testing.assert_array_equal(state.obs_std, [1.0, 1.0])
    assert np.isfinite(bc.act_mode(bc.policy(state), offline.data.obs)).all()


@pytest.mark.parametrize("stage", ["offline", "online"])
@pytest.mark.parametrize(("share", "rows"), [(0.25, 2), (0.5, 6), (1.0, 8), (None, 6)])
def test_batches_are_rows_of_the_part_in_both_stages(share, rows, stage):
    """Episodes of two rows that earn 6, 4, 4 and 1; the rule leaves out the last."""
    reward, ends = [6, 0, 4, 0, 0, 4, 1, 0], [0, 1] * 4
    offline = replay_of(np.arange(8)[:, None], np.zeros((8, 1)), reward=reward, ends=ends)
    section = BCConfig(hidden=(), batch_size=100, share=share)
    task = Task(Config(bc=section), find("bc").agent, offline, lambda *_: False)
    experience = find("bc").experience.build(task)
    now = Moment(stage, 1, None, offline)
    found = experience.batches(experience.begin(jax.random.key(0)), now, jax.random.key(1), 2)
    assert found.planned.shape == (2, 100)
    batch, _, _ = found.how.draw(None, None, offline, offline, found.planned[0], jax.random.key(2))
    assert set(np.unique(batch.row)) == set(range(rows))
    np.testing.assert_array_equal(batch.obs, gather(offline, offline, batch.row).obs)


def test_a_noisy_controller_is_cloned_and_its_spread_is_set():
    obs, action, wanted = noisy_controller()
    offline = replay_of(obs, action)
    found = clone.fit_clone(offline, whole(offline), jax.random.key(0), SMALL)
    assert found.too_poor == ""
    # What remains is the noise; of 0.3 a little is lost where actions are cut at the border.
    noise_share = np.mean((action - wanted) ** 2) / np.var(action, axis=0).mean()
    assert found.explained == pytest.approx(1.0 - noise_share, abs=0.08)
    mean, log_std = found.actor(offline.data.obs)
    assert np.abs(np.tanh(mean) - wanted).mean() < 0.05
    assert np.abs(log_std + 1.5).mean() < 0.05


def test_actions_at_the_border_are_cloned():
    obs = np.linspace(-1.0, 1.0, 2000)[:, None]
    offline = replay_of(obs, np.sign(obs))
    found = clone.fit_clone(offline, whole(offline), jax.random.key(0), SMALL)
    assert found.explained > 0.95
    acted = bc.act_mode(found.actor, jnp.asarray([[-0.5], [0.5]]))
    np.testing.assert_allclose(acted, [[-1.0], [1.0]], atol=0.05)


def test_random_actions_are_called_too_poor_to_clone():
    rng = np.random.default_rng(0)
    offline = replay_of(rng.normal(size=(3000, 3)), rng.uniform(-1, 1, (3000, 2)))
    found = clone.fit_clone(offline, whole(offline), jax.random.key(0), SMALL)
    assert "the actions look random" in found.too_poor
    assert found.updates < SMALL.updates  # the held-out rows end the fit


def test_actions_that_drift_whatever_is_observed_are_too_poor_to_clone():
    rng = np.random.default_rng(1)
    action = np.sin(np.cumsum(rng.normal(scale=0.3, size=(3000, 2)), axis=0))
    offline = replay_of(rng.normal(size=(3000, 3)), action)
    found = clone.fit_clone(offline, whole(offline), jax.random.key(0), SMALL)
    assert found.explained < 0.1
    assert found.too_poor


def test_a_few_rows_are_too_poor_to_clone():
    obs = np.linspace(-1.0, 1.0, 30)[:, None]
    offline = replay_of(obs, obs)
    found = clone.fit_clone(offline, whole(offline), jax.random.key(0), SMALL)
    assert "has 30 rows" in found.too_poor
    assert np.isfinite(bc.act_mode(found.actor, offline.data.obs)).all()


@pytest.mark.parametrize("rows", [1, 2, 19, 40, 1000, 12_345, 300_000])
def test_held_out_rows_are_apart_from_the_others(rows):
    given = 3 * np.arange(rows)
    train, held = clone.split_holdout(given, np.random.default_rng(0))
    if rows == 1:
        np.testing.assert_array_equal(train, held)
        return
    np.testing.assert_array_equal(np.sort(np.r_[train, held]), given)
    assert 1 <= len(held) <= max(5050, rows // 2)
    assert len(held) <= 0.08 * rows + 1
    assert len(np.flatnonzero(np.diff(held) > 3)) <= len(held) / 25 + 20


def test_what_is_cloned_of_a_log_earned_most():
    reward, ends = np.repeat([1.0, 5.0, 2.0, 3.0], 100) / 100, np.arange(400) % 100 == 99
    offline = replay_of(np.zeros((400, 1)), np.zeros((400, 1)), reward=reward, ends=ends)
    part = part_of(offline)
    np.testing.assert_allclose(part.returns, [5.0, 3.0], rtol=1e-5)
    np.testing.assert_array_equal(part.rows, np.r_[100:200, 300:400])
    assert (part.mean_return, part.sd_return) == pytest.approx((4.0, 1.0), rel=1e-5)
    assert part.log_return == pytest.approx(2.75, rel=1e-5)
