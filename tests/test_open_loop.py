"""The open-loop error: stretches of a log replayed in models that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER, TINY, models, transitions
from moore.dynamics.ensemble import (
    Normaliser,
    init_ensemble,
    normalised,
    predict,
)
from moore.dynamics.imagine import rollout
from moore.dynamics.open_loop import open_loop_errors, stretch_starts
from moore.dynamics.penalty import disagreement, of_std
from moore.replay.buffer import full_replay

# A ramp: every step adds 1, and earns 2.
RAMP = transitions(np.arange(8.0), [2.0] * 8, np.arange(8.0) + 1.0)
SPREAD = Normaliser(jnp.zeros(1), jnp.asarray([2.0]))


def test_stretches_lie_within_one_episode_and_in_usable_rows():
    ends = np.array([0, 0, 1, 0, 0, 0, 1, 0], bool)
    usable = np.array([1, 1, 1, 0, 1, 1, 1, 1], bool)
    assert stretch_starts(ends, usable, 2).tolist() == [0, 1, 4, 5]
    assert stretch_starts(ends, usable, 3).tolist() == [0, 4]
    assert stretch_starts(ends, usable, 5).tolist() == []


def errors(step, reward, **settings):
    ensemble = models([[reward, step]], [[TINY, TINY]])
    found = open_loop_errors(
        ensemble,
        RAMP,
        jnp.asarray([0, 1]),
        jax.random.key(0),
        horizons=(1, 4),
        spread=SPREAD,
        **settings,
    )
    return {name: float(value) for name, value in found.items()}


def test_models_that_are_right_have_no_error():
    assert errors(1.0, 2.0) == pytest.approx(dict.fromkeys(errors(1.0, 2.0), 0.0), abs=1e-6)


def test_the_error_grows_with_the_horizon_and_counts_in_standard_deviations_of_the_log():
    # 0.5 too far a step, of a standard deviation of 2; 0.25 too little a step.
    assert errors(1.5, 1.75) == pytest.approx(
        {
            "open_loop_1": 0.25,
            "open_loop_4": 1.0,
            "open_loop_reward_1": 0.25,
            "open_loop_reward_4": 0.25,
        },
        rel=1e-5,
    )


def test_a_prediction_that_leaves_the_numbers_counts_as_ten():
    assert errors(1e20, 2.0)["open_loop_4"] == pytest.approx(10.0)


def imagined(**settings):
    """Two members: one adds 1 a step, the other takes 1 away."""
    return rollout(
        models([[0.0, 1.0], [0.0, -1.0]], [[TINY, TINY]] * 2),
        lambda obs, key: jnp.zeros_like(obs),
        NEVER,
        jnp.zeros((64, 1)),
        jax.random.key(1),
        length=8,
        penalty_coef=0.0,
        obs_bound=float("inf"),
        **settings,
    )


def test_a_rollout_with_one_member_never_changes_its_mind():
    data, _, _ = imagined(one_member=True)
    assert set(np.unique(np.round(data.next_obs[-1]))) == {-8.0, 8.0}
    data, _, _ = imagined()
    assert len(np.unique(np.round(data.next_obs[-1]))) > 2


def test_rollouts_that_ask_one_member_alone_ask_another_one_at_every_step():
    data, _, _ = imagined(uncertainty_fn=None, noise=False)
    steps = np.round(np.asarray(data.next_obs - data.obs)[..., 0])
    assert (np.sort(steps, axis=1) == np.repeat([-1.0, 1.0], 32)).all(), "half of them each"
    assert len({tuple(row) for row in steps}) == len(steps)


@pytest.mark.parametrize("uncertainty_fn", [of_std, None], ids=["all members", "one alone"])
def test_without_noise_a_member_says_its_mean(uncertainty_fn):
    def last(noise):
        data, _, _ = rollout(
            models([[0.0, 1.0]], [[1.0, 1.0]]),
            lambda obs, key: jnp.zeros_like(obs),
            NEVER,
            jnp.zeros((4, 1)),
            jax.random.key(1),
            length=3,
            penalty_coef=0.0,
            obs_bound=float("inf"),
            uncertainty_fn=uncertainty_fn,
            noise=noise,
        )
        return data.next_obs[-1, :, 0]

    assert last(False).tolist() == [3.0] * 4
    assert not np.allclose(last(True), 3.0)


def test_disagreement_counts_in_the_given_units():
    mean = jnp.asarray([[[1.0, 0.0]], [[3.0, 0.0]]])
    # Standard deviations 1 and 0, the first in units of 0.5.
    assert float(disagreement(mean, jnp.asarray([0.5, 1.0]))[0]) == pytest.approx(np.sqrt(2.0))


def test_a_normalised_layer_does_not_feel_the_size_of_its_inputs():
    x = jnp.asarray([[1.0, 2.0, 6.0]])
    assert np.allclose(normalised(100.0 * x), normalised(x), rtol=1e-4)
    assert float(normalised(x).mean()) == pytest.approx(0.0, abs=1e-6)
    kind = dict(members=1, elites=1, hidden=(8,))
    plain, bounded = (
        init_ensemble(jax.random.key(0), 2, 1, layer_norm=flag, **kind) for flag in (False, True)
    )
    far = jnp.full((1, 1, 3), 1e4)

    def size(ensemble):
        return float(jnp.abs(predict(ensemble.networks, ensemble.normaliser, far)[0]).max())

    assert size(plain) > 100.0 > size(bounded)


def test_a_holdout_of_stretches_holds_rows_that_follow_one_another():
    data = transitions(np.arange(40.0), [0.0] * 40, np.arange(40.0) + 1.0)
    log = full_replay(
        data,
        np.ones(40, bool),
        jax.random.key(0),
        holdout_fraction=0.25,
        max_holdout=10,
        stretch=5,
    )
    held = np.sort(np.asarray(log.holdout_rows[: int(log.holdout_size)]))
    assert len(held) == 10 and set(np.bincount(held // 5, minlength=8)) == {0, 5}
    train = np.asarray(log.train_rows[: int(log.train_size)])
    assert sorted([*held, *train]) == list(range(40))
