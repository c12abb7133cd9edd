"""Chains of imagined rollouts in models that are linear, so that every step is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER, models
from moore.dynamics.chains import (
    ChainsConfig,
    Usual,
    excess,
    roll_chains,
    two_apart,
    usual_distance,
)
from moore.dynamics.ensemble import init_ensemble, predict_all, predict_own, predict_two

PLAIN = ChainsConfig(price=0.0, restart=0.0)
FAR = (jnp.asarray([-1e6]), jnp.asarray([1e6]))
USUAL = Usual(jnp.ones(2), jnp.ones(()))
# r = 1 and s' = s + 1, in both members.
STEADY = models([[1.0, 1.0]] * 2, [[1.0, 1.0]] * 2)


def roll(ensemble=STEADY, chains=(0.0, 0.0), fresh=(100.0,), **changes):
    settings = {"length": 3, "usual": USUAL, "config": PLAIN, "within": FAR} | changes
    rule = settings.pop("rule", NEVER)
    draw = settings.pop("draw", lambda obs, key: jnp.zeros_like(obs))
    return roll_chains(
        ensemble,
        draw,
        rule,
        jnp.asarray(chains)[:, None],
        jnp.asarray(fresh)[:, None],
        jax.random.key(0),
        **settings,
    )


def test_a_chain_goes_on_where_the_last_round_stopped():
    chains, first = roll()
    assert first.obs[:, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert first.reward.tolist() == [[1.0, 1.0]] * 3
    _, second = roll(chains=chains[:, 0])
    assert second.obs[:, 0, 0].tolist() == [3.0, 4.0, 5.0]


def test_a_chain_that_terminates_begins_anew():
    _, steps = roll(rule=lambda obs, action, next_obs: next_obs[0] > 1.5)
    assert steps.terminated[:, 0].tolist() == [False, True, True]
    assert steps.obs[:, 0, 0].tolist() == [0.0, 1.0, 100.0]
    assert not steps.cut.any()


def test_a_chain_that_is_begun_anew_by_chance_has_not_terminated():
    _, steps = roll(config=dataclasses.replace(PLAIN, restart=1.0))
    assert steps.cut.all() and not steps.terminated.any()
    assert steps.obs[1:, :, 0].tolist() == [[100.0, 100.0]] * 2
    assert steps.next_obs[0, 0, 0] == 1.0


def test_every_chain_keeps_its_member():
    ensemble = models([[0.0, 1.0], [0.0, -1.0]], [[1.0, 1.0]] * 2)
    chains, _ = roll(ensemble, config=dataclasses.replace(PLAIN, most=1.0))
    assert chains[:, 0].tolist() == [3.0, -3.0]


def test_observations_are_cut_to_the_range_counted_and_as_dear_as_can_be():
    config = dataclasses.replace(PLAIN, price=0.25, most=4.0)
    _, steps = roll(within=(jnp.asarray([0.0]), jnp.asarray([1.5])), config=config)
    assert steps.next_obs[:, 0, 0].tolist() == [1.0, 1.5, 1.5]
    assert steps.outside[:, 0].tolist() == [False, True, True]
    assert steps.excess[:, 0].tolist() == [0.0, 4.0, 4.0]
    assert (steps.reward[1, 0] - steps.reward[0, 0]).tolist() == -1.0


def test_an_action_is_clipped_before_it_acts_but_kept_as_it_was_drawn():
    ensemble = models([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2, mean_slope=((0, 0), (1.0, 0)))
    _, steps = roll(ensemble, draw=lambda obs, key: jnp.full_like(obs, 3.0))
    assert steps.action.tolist() == [[[3.0], [3.0]]] * 3
    assert steps.reward.tolist() == [[1.0, 1.0]] * 3


def test_members_that_differ_more_than_usually_cost_the_price():
    # Their rewards are 2 apart: sqrt(0.5 * (4 + 0) / 2) = 1, which is twice what is usual.
    ensemble = models([[1.0, 0.0], [3.0, 0.0]], [[1.0, 1.0]] * 2)
    usual = Usual(jnp.ones(2), jnp.asarray(0.5))
    _, steps = roll(ensemble, usual=usual, config=dataclasses.replace(PLAIN, price=0.25))
    assert steps.excess[0].tolist() == [1.0, 1.0]
    assert steps.reward[0].tolist() == [1.0 - 0.25, 3.0 - 0.25]


def test_the_excess_has_a_floor_and_a_ceiling():
    mean = jnp.asarray([[[0.0, 0.0]] * 3, [[0.5, 0.0], [4.0, 0.0], [400.0, 0.0]]])
    assert two_apart(mean, jnp.ones(2)).tolist() == pytest.approx([0.25, 2.0, 200.0])
    assert excess(mean, USUAL, 5.0).tolist() == [0.0, 1.0, 5.0]


def test_what_is_usual_is_a_quantile_of_the_log():
    # The members differ by the observation: 0, 1, ..., 9 times two thirds of the reward's scale.
    ensemble = models([[0.0, 0.0]] * 2, [[1.0, 1.0]] * 2)
    slope = jnp.asarray([[[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    head = dataclasses.replace(ensemble.networks.mean_head, weight=slope)
    networks = dataclasses.replace(ensemble.networks, mean_head=head)
    ensemble = dataclasses.replace(ensemble, networks=networks)
    obs = jnp.arange(10.0)[:, None]
    outputs = jnp.stack([jnp.tile(jnp.asarray([-1.0, 1.0]), 5)] * 2, axis=1)
    found = usual_distance(ensemble, obs, jnp.zeros((10, 1)), outputs, 1.0)
    assert found.scale.tolist() == [1.0, 1.0]
    assert float(found.distance) == pytest.approx(9.0)
    half = usual_distance(ensemble, obs, jnp.zeros((10, 1)), outputs, 0.5)
    assert float(half.distance) == pytest.approx(4.5)


def test_own_and_other_members_say_what_all_of_them_say():
    ensemble = init_ensemble(jax.random.key(0), 2, 1, members=4, elites=3, hidden=(5,))
    inputs = jax.random.normal(jax.random.key(1), (6, 3))
    mean, std = predict_all(ensemble, inputs)
    own, row = np.asarray([0, 0, 1, 1, 2, 2]), np.arange(6)
    own_mean, own_std = predict_own(ensemble, inputs)
    assert np.allclose(own_mean, mean[own, row], atol=1e-5)
    assert np.allclose(own_std, std[own, row], atol=1e-5)
    both = predict_two(ensemble, inputs, jnp.asarray(1))
    assert np.allclose(both[0], own_mean, atol=1e-5)
    assert np.allclose(both[1], mean[(own + 1) % 3, row], atol=1e-5)
