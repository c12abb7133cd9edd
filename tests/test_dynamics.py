"""The ensemble, its fit, the penalty and imagined rollouts."""

import functools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.dynamics import fit as fitting
from moore.dynamics import holdout
from moore.dynamics.ensemble import (
    Dense,
    Ensemble,
    Networks,
    Normaliser,
    init_ensemble,
    loss,
    mean_squared_error,
    predict,
    soft_clamp,
    weight_decay,
)
from moore.dynamics.fit import fit_ensemble, init_model
from moore.dynamics.imagine import imagine_step, rollout
from moore.dynamics.inputs import weighted_normaliser
from moore.dynamics.model_config import ModelConfig
from moore.dynamics.penalty import max_std_norm, penalised_reward
from moore.replay.buffer import Transition, append, empty_replay, full_replay

CONFIG = ModelConfig(
    members=4,
    elites=2,
    hidden=(32, 32),
    weight_decay=(1e-5, 1e-5, 1e-5, 1e-5),
    batch_size=64,
    max_holdout=100,
)


@functools.cache
def linear_log(size: int = 2000, noise: float = 0.05, seed: int = 0):
    """s' = 0.9 s + B a + noise, r = s_0 - s_1 / 2: a task whose model is known."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(size, 2)).astype(np.float32)
    action = rng.uniform(-1, 1, size=(size, 1)).astype(np.float32)
    next_obs = 0.9 * obs + action * [[0.1, 0.5]] + noise * rng.normal(size=(size, 2))
    reward = obs @ [1.0, -0.5]
    ends = np.zeros(size, bool)
    columns = obs, action, reward.astype(np.float32), next_obs.astype(np.float32), ends, ends
    data = Transition(*map(jnp.asarray, columns))
    return full_replay(
        data, np.ones(size, bool), jax.random.key(0), holdout_fraction=0.2, max_holdout=100
    )


NOTHING = empty_replay(1, 2, 1, max_holdout=1)


def fitted(warm_start: str):
    """A fit that has converged, its report, and the errors after each of its passes."""
    config, passes = replace(CONFIG, warm_start=warm_start), []
    model, report = fit_ensemble(
        init_model(jax.random.key(0), 2, 1, config),
        linear_log(300),
        NOTHING,
        0.0,
        jax.random.key(1),
        config,
        max_steps=20_000,
        on_pass=lambda steps, errors: passes.append(errors),
    )
    return model, report, passes


@pytest.fixture(scope="module")
def converged():
    return fitted(CONFIG.warm_start)


def made_up(means: list[float], log_vars: list[float], elites: list[int]) -> Ensemble:
    """One observation entry, one action; member k predicts (r, delta) = means[k], log_vars[k]."""
    members = len(means)
    bias = jnp.broadcast_to(jnp.asarray(means)[:, None], (members, 2))
    log_var = jnp.broadcast_to(jnp.asarray(log_vars)[:, None], (members, 2))
    zeros = jnp.zeros((members, 2, 2))
    networks = Networks(
        trunk=(),
        mean_head=Dense(zeros, bias),
        log_var_head=Dense(zeros, log_var),
        max_log_var=jnp.full(2, 50.0),
        min_log_var=jnp.full(2, -50.0),
    )
    normaliser = Normaliser(jnp.zeros(2), jnp.ones(2))
    return Ensemble(networks, normaliser, jnp.asarray(elites), jnp.ones(2))


class TestHandWorkedNumbers:
    def test_penalty_is_the_largest_norm_over_all_members_and_all_outputs(self):
        std = jnp.asarray([[[3.0, 4.0]], [[1.0, 1.0]], [[5.0, 12.0]]])  # 3 members, 1 row
        np.testing.assert_allclose(max_std_norm(std), [13.0])
        np.testing.assert_allclose(penalised_reward(jnp.ones(1), max_std_norm(std), 0.5), [-5.5])

    def test_the_penalty_counts_members_that_are_no_elites_and_the_reward_entry(self):
        # sigma = exp(log_var / 2) = 1, 2, 3 in both outputs; the widest member is no elite.
        ensemble = made_up([0.0, 0.0, 0.0], [0.0, 2 * np.log(2.0), 2 * np.log(3.0)], [0, 1])
        step = imagine_step(ensemble, jnp.zeros((1, 1)), jnp.zeros((1, 1)), jax.random.key(0))
        np.testing.assert_allclose(step.uncertainty, [3.0 * np.sqrt(2.0)], rtol=1e-5)

    def test_soft_bounds(self):
        low, high = jnp.asarray([-10.0]), jnp.asarray([0.5])
        inside = soft_clamp(jnp.asarray([-3.0]), low, high)
        # high - softplus(3.5) = -3.02975, then low + softplus(6.97025) = -3.02881
        np.testing.assert_allclose(inside, [-3.02881], atol=1e-4)
        # Far above: 0.5 - log(2) at the bound itself, and never past it.
        np.testing.assert_allclose(soft_clamp(jnp.asarray([0.5]), low, high), [-0.19311], atol=1e-4)
        assert -10.0 <= float(soft_clamp(jnp.asarray([-1e4]), low, high)[0]) < -9.99
        assert 0.49 < float(soft_clamp(jnp.asarray([1e4]), low, high)[0]) <= 0.5 + 1e-4

    def test_loss_of_a_made_up_member(self):
        # mu - y = 2, sigma^2 = e^0 = 1 in both outputs: mean[4 * 1 + 0] = 4, and the bound term.
        ensemble = made_up([2.0], [0.0], [0])
        value = loss(
            ensemble.networks,
            ensemble.normaliser,
            jnp.zeros((1, 3, 2)),
            jnp.zeros((1, 3, 2)),
            (0.0, 0.0),
        )
        assert float(value) == pytest.approx(4.0 + 0.01 * (2 * 50 + 2 * 50), rel=1e-5)

    def test_weight_decay_is_half_the_squared_norm_per_layer_over_all_members(self):
        ensemble = init_ensemble(jax.random.key(0), 1, 1, members=3, elites=1, hidden=(2,))
        ones = jax.tree.map(jnp.ones_like, ensemble.networks)
        # Trunk 3*2*2 = 12 weights, each head 3*2*2 = 12; biases do not count.
        assert float(weight_decay(ones, (1.0, 10.0, 100.0))) == pytest.approx(6 + 60 + 600)

    def test_initial_weights_are_truncated_normals_of_the_stated_width(self):
        ensemble = init_ensemble(jax.random.key(1), 11, 3, members=7, elites=5, hidden=(200, 200))
        weight = ensemble.networks.trunk[1].weight
        limit = 2.0 / (2.0 * np.sqrt(200))
        assert float(jnp.abs(weight).max()) <= limit + 1e-6
        assert float(jnp.std(weight)) == pytest.approx(0.88 * limit / 2.0, rel=0.02)

    def test_validation_weighs_rows_and_ignores_variances(self):
        ensemble = made_up([1.0, 3.0], [5.0, -5.0], [0])
        error = mean_squared_error(
            ensemble.networks,
            ensemble.normaliser,
            jnp.zeros((2, 2)),
            jnp.asarray([[0.0, 0.0], [1.0, 1.0]]),
            jnp.asarray([3.0, 1.0]),
        )
        # Member 1: (3 * 1 + 1 * 0) / 4; member 2: (3 * 9 + 1 * 4) / 4.
        np.testing.assert_allclose(error, [0.75, 7.75])


class TestFit:
    def test_learns_a_known_linear_system_down_to_its_noise(self):
        model = init_model(jax.random.key(0), 2, 1, CONFIG)
        model, report = fit_ensemble(
            model, linear_log(), NOTHING, 0.0, jax.random.key(1), CONFIG, max_steps=4000
        )
        # Two of three outputs have noise variance 0.05^2, the reward has none.
        noise = 2 / 3 * 0.05**2
        assert min(report.holdout_mse) < 2.5 * noise
        ensemble = model.ensemble
        inputs = jnp.broadcast_to(jnp.asarray([[0.5, -0.5, 0.2]]), (4, 1, 3))
        mean, log_var = predict(ensemble.networks, ensemble.normaliser, inputs)
        truth = [0.75, -0.05 + 0.02, 0.05 + 0.1]
        np.testing.assert_allclose(mean[:, 0].mean(axis=0), truth, atol=0.04)
        std = np.exp(0.5 * np.asarray(log_var[:, 0, 1:]))
        # The 1% rule watches the error of the mean alone and stops with sigma on its way to 0.05.
        assert 0.05 < np.median(std) < 0.11

    def test_converges_by_the_one_per_cent_rule_and_says_so(self, converged):
        _, report, passes = converged
        assert report.stopped_by == "converged"
        assert report.passes == len(passes) >= 7, "one first pass and six stale ones"
        best = np.full(4, 1e10)
        stale = 0
        for errors in passes:  # the rule, restated
            improved = (best - errors) / best > 0.01
            best = np.where(improved, errors, best)
            stale = 0 if improved.any() else stale + 1
        assert stale == 6
        np.testing.assert_allclose(report.holdout_mse, best, rtol=1e-6)

    def test_every_member_goes_back_to_its_best_weights(self, converged):
        model, report, _ = converged
        ensemble = model.ensemble
        error = holdout.holdout_error(
            ensemble.networks, ensemble.normaliser, linear_log(300), NOTHING, jnp.float32(0.0)
        )
        np.testing.assert_allclose(error, report.holdout_mse, rtol=1e-4)
        np.testing.assert_array_equal(ensemble.elites, np.argsort(report.holdout_mse)[:2])

    @pytest.mark.parametrize("warm_start", ["best", "last"])
    def test_a_refit_goes_on_from_the_weights_that_were_asked_for(self, warm_start, converged):
        model, _, _ = converged if warm_start == CONFIG.warm_start else fitted(warm_start)
        at_best = eqx.tree_equal(model.training.trunk, model.ensemble.networks.trunk)
        assert at_best == (warm_start == "best"), "a converged fit ends past its best weights"
        fit = fitting.begin_fit(
            model, linear_log(300), NOTHING, jnp.float32(0.0), jax.random.key(2), 64
        )
        assert eqx.tree_equal(fit.networks, model.training)

    @pytest.mark.parametrize("keep", [True, False])
    def test_a_refit_standardises_anew_or_as_before(self, keep):
        config, key = CONFIG, jax.random.key(1)
        model = init_model(jax.random.key(0), 2, 1, config)
        model, _ = fit_ensemble(model, linear_log(300), NOTHING, 0.0, key, config, max_steps=20)
        narrow = eqx.tree_at(lambda r: r.data.obs, linear_log(300), 0.1 * linear_log(300).data.obs)
        after, _ = fit_ensemble(
            model, narrow, NOTHING, 0.0, key, config, max_steps=20, keep_normaliser=keep
        )
        ratio = after.ensemble.normaliser.std[:2] / model.ensemble.normaliser.std[:2]
        np.testing.assert_allclose(ratio, 1.0 if keep else 0.1, rtol=1e-3)

    def test_the_cap_stops_a_fit_within_a_pass_and_says_so(self):
        model = init_model(jax.random.key(0), 2, 1, CONFIG)
        _, report = fit_ensemble(
            model, linear_log(), NOTHING, 0.0, jax.random.key(1), CONFIG, max_steps=37
        )
        assert (report.steps, report.stopped_by) == (37, "cap")

    def test_members_are_fitted_to_different_bootstraps(self):
        model = init_model(jax.random.key(0), 2, 1, CONFIG)
        fit = fitting.begin_fit(
            model, linear_log(), NOTHING, jnp.float32(0.0), jax.random.key(2), 1900
        )
        rows = np.asarray(fit.rows)
        distinct = len(np.unique(rows[0])) / 1900
        assert distinct == pytest.approx(1 - np.exp(-1), abs=0.03), "drawn with replacement"
        assert (rows[0] != rows[1]).mean() > 0.99
        shuffled = np.asarray(fitting._shuffle(fit, 1900, jax.random.key(3)).rows)
        assert (shuffled != rows).mean() > 0.9
        np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(rows, axis=1))

    def test_a_fit_that_diverges_is_undone(self):
        reward = jnp.full_like(linear_log(300).data.reward, jnp.inf)
        poisoned = eqx.tree_at(lambda r: r.data.reward, linear_log(300), reward)
        model = init_model(jax.random.key(0), 2, 1, CONFIG)
        after, report = fit_ensemble(
            model, poisoned, NOTHING, 0.0, jax.random.key(1), CONFIG, max_steps=20
        )
        assert report.stopped_by == "non-finite"
        assert eqx.tree_equal(after, model)

    def test_one_step_maps_over_a_seed_axis(self):
        log = linear_log(300)
        models = jax.vmap(lambda k: init_model(k, 2, 1, CONFIG))(
            jax.random.split(jax.random.key(0), 3)
        )
        rows = jnp.arange(3 * 4 * 8).reshape(3, 4, 8)
        step = lambda m, r: fitting.train_step(  # noqa: E731
            m.ensemble.networks, m.opt_state, m.ensemble.normaliser, log, NOTHING, r, CONFIG
        )
        batched, _ = jax.jit(jax.vmap(step))(models, rows)
        single, _ = jax.jit(step)(jax.tree.map(lambda x: x[1], models), rows[1])
        np.testing.assert_allclose(
            batched.trunk[0].weight[1], single.trunk[0].weight, rtol=1e-4, atol=1e-6
        )


class TestGroups:
    def online(self, count: int = 50):
        replay, add = (
            empty_replay(64, 2, 1, max_holdout=20),
            jax.jit(append, static_argnames="holdout_fraction"),
        )
        rows = np.asarray(linear_log(count).data.obs) + 3.0
        for i in range(count):
            row = rows[i]
            zero, no = np.float32(0.0), np.zeros((), bool)
            transition = Transition(row, np.zeros(1, np.float32), np.asarray(zero), row, no, no)
            key = jax.random.fold_in(jax.random.key(9), i)
            replay = add(replay, transition, key, holdout_fraction=0.2)
        return replay

    def test_normaliser_is_that_of_the_weighted_mixture(self):
        offline, online, share = linear_log(300), self.online(), 0.3
        normaliser = weighted_normaliser(offline, online, jnp.float32(share))

        def inputs(replay):
            rows = np.asarray(replay.train_rows)[: int(replay.train_size)]
            return np.c_[np.asarray(replay.data.obs), np.asarray(replay.data.action)][rows]

        off, on = inputs(offline), inputs(online)
        weight = np.r_[np.full(len(off), 0.7 / len(off)), np.full(len(on), 0.3 / len(on))]
        both = np.r_[off, on]
        mean = weight @ both
        np.testing.assert_allclose(normaliser.mean, mean, atol=1e-5)
        np.testing.assert_allclose(normaliser.std, np.sqrt(weight @ (both - mean) ** 2), rtol=1e-4)

    def test_a_constant_input_is_left_unscaled(self):
        zeros = jnp.zeros_like(linear_log(300).data.action)
        flat = eqx.tree_at(lambda r: r.data.action, linear_log(300), zeros)
        assert float(weighted_normaliser(flat, NOTHING, jnp.float32(0.0)).std[2]) == 1.0

    def test_holdout_error_has_the_weights_of_the_training(self):
        offline, online = linear_log(300), self.online()
        ensemble = init_ensemble(jax.random.key(0), 2, 1, members=3, elites=1, hidden=(8,))

        def error(share):
            return holdout.holdout_error(
                ensemble.networks, ensemble.normaliser, offline, online, jnp.float32(share)
            )

        np.testing.assert_allclose(error(0.25), 0.75 * error(0.0) + 0.25 * error(1.0), rtol=1e-5)

    def test_without_online_holdout_rows_the_log_alone_judges(self):
        offline, online = linear_log(300), empty_replay(8, 2, 1, max_holdout=4)
        ensemble = init_ensemble(jax.random.key(0), 2, 1, members=3, elites=1, hidden=(8,))
        errors = [
            holdout.holdout_error(
                ensemble.networks, ensemble.normaliser, offline, online, jnp.float32(share)
            )
            for share in (0.0, 0.9)
        ]
        np.testing.assert_array_equal(*errors)


def zero_policy(obs, key):
    return jnp.zeros((obs.shape[0], 1))


class TestImagination:
    def roll(self, ensemble, starts, terminated, *, length=6, penalty_coef=0.0, bound=jnp.inf):
        return rollout(
            ensemble,
            zero_policy,
            terminated,
            jnp.asarray(starts),
            jax.random.key(0),
            length=length,
            penalty_coef=penalty_coef,
            obs_bound=bound,
        )

    def test_each_row_is_a_sample_of_one_elite_chosen_anew_each_step(self):
        # Members move by 1, 10 and 100 without noise; the elites are the first two.
        ensemble = made_up([1.0, 10.0, 100.0], [-40.0] * 3, [0, 1])
        never = lambda obs, action, next_obs: jnp.zeros((), bool)  # noqa: E731
        data, _, _ = self.roll(ensemble, np.zeros((400, 1), np.float32), never)
        moves = np.asarray(data.next_obs - data.obs)[..., 0].round()
        assert set(np.unique(moves)) == {1.0, 10.0}
        assert 0.45 < (moves == 1.0).mean() < 0.55
        assert (moves[0] != moves[1]).mean() > 0.4, "not one member for a whole rollout"
        np.testing.assert_allclose(data.reward, moves, rtol=1e-4)

    def test_samples_have_the_predicted_spread(self):
        ensemble = made_up([0.0], [2 * np.log(0.3)], [0])
        never = lambda obs, action, next_obs: jnp.zeros((), bool)  # noqa: E731
        data, _, u = self.roll(ensemble, np.zeros((4000, 1), np.float32), never, length=1)
        assert float(jnp.std(data.next_obs)) == pytest.approx(0.3, rel=0.05)
        np.testing.assert_allclose(u, 0.3 * np.sqrt(2), rtol=1e-4)

    def test_nothing_happens_after_a_predicted_termination(self):
        ensemble = made_up([1.0], [-40.0], [0])
        above_three = lambda obs, action, next_obs: next_obs[0] >= 2.99  # noqa: E731
        starts = np.asarray([[0.0], [2.0], [-10.0]], np.float32)
        data, happened, _ = self.roll(ensemble, starts, above_three)
        np.testing.assert_array_equal(happened.sum(axis=0), [3, 1, 6])
        last = np.asarray(data.terminated & happened)
        np.testing.assert_array_equal(last.sum(axis=0), [1, 1, 0])
        assert bool(data.terminated[2, 0]) and bool(data.terminated[0, 1])
        assert not np.asarray(data.truncated).any(), "a rollout's end is no end of an episode"

    def test_a_row_ends_without_a_transition_beyond_the_bound_or_at_nan(self):
        ensemble = made_up([1.0], [-40.0], [0])
        never = lambda obs, action, next_obs: jnp.zeros((), bool)  # noqa: E731
        starts = np.asarray([[0.0], [np.nan]], np.float32)
        _, happened, _ = self.roll(ensemble, starts, never, bound=2.5)
        np.testing.assert_array_equal(happened.sum(axis=0), [2, 0])

    def test_maps_over_a_seed_axis(self):
        keys = jax.random.split(jax.random.key(0), 3)
        ensembles = jax.vmap(lambda k: init_ensemble(k, 1, 1, members=3, elites=2, hidden=(8,)))(
            keys
        )
        obs, action = jnp.ones((3, 5, 1)), jnp.ones((3, 5, 1))
        batched = jax.vmap(imagine_step)(ensembles, obs, action, keys)
        single = imagine_step(jax.tree.map(lambda x: x[2], ensembles), obs[2], action[2], keys[2])
        np.testing.assert_allclose(batched.next_obs[2], single.next_obs, rtol=1e-4)


def test_the_defaults_are_mopos():
    config = ModelConfig()
    assert (config.members, config.elites, config.hidden) == (7, 5, (200,) * 4)
    assert config.weight_decay == (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4, 1e-4)
    assert replace(config) == config
