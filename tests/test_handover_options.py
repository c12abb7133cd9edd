"""Options of the hand-over, each by hand: critics, targets, calibration."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NOTHING, models, of_rewards, replay, transitions
from moore.agents import sac
from moore.agents.nets import MLP, LayerNorm
from moore.agents.sac import NO_LIMIT, SACConfig, largest_value, least_value
from moore.dynamics.ensemble import predict_all
from moore.dynamics.fit import fit_ensemble, init_model
from moore.dynamics.holdout import std_errors
from moore.dynamics.model_config import ModelConfig
from moore.replay.buffer import as_batch


class TestLayerNorm:
    def test_rows_go_to_mean_0_and_variance_1(self):
        rows = np.random.default_rng(0).normal(3.0, 5.0, (6, 4)).astype(np.float32)
        found = np.asarray(LayerNorm(4)(jnp.asarray(rows)))
        expected = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.var(axis=1), 1.0, rtol=1e-4)

    def test_it_is_scaled_and_shifted_before_each_relu_and_not_on_the_output(self):
        rng = np.random.default_rng(1)
        net = MLP(3, (5, 4), 2, key=jax.random.key(0), layer_norm=True)
        net = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), net)
        rows = rng.normal(size=(7, 3)).astype(np.float32)
        x = rows.astype(np.float64)
        for layer, norm in zip(net.layers[:-1], net.norms, strict=True):
            x = x @ np.asarray(layer.weight) + np.asarray(layer.bias)
            x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
            x = np.maximum(x * np.asarray(norm.scale) + np.asarray(norm.shift), 0.0)
        x = x @ np.asarray(net.layers[-1].weight) + np.asarray(net.layers[-1].bias)
        np.testing.assert_allclose(net(jnp.asarray(rows)), x, rtol=1e-3, atol=1e-4)

    def test_without_it_there_is_nothing_to_learn_but_weights_and_biases(self):
        leaves = jax.tree.leaves(MLP(3, (5, 4), 2, key=jax.random.key(0)))
        assert sorted(x.shape for x in leaves) == sorted([(3, 5), (5,), (5, 4), (4,), (4, 2), (2,)])

    def test_it_is_for_the_critics_alone(self):
        state = sac.init(jax.random.key(0), 3, 1, SACConfig(hidden=(5, 4), layer_norm=True))
        assert [norm.scale.shape for norm in state.critics.norms] == [(2, 5), (2, 4)]
        assert state.actor.trunk.norms == ()


def with_constant_critics(state: sac.SACState, values) -> sac.SACState:
    """Critic j and its target say values[j] everywhere."""

    bias = jnp.asarray(values, jnp.float32)[:, None]
    last = lambda c: (c.layers[-1].weight, c.layers[-1].bias)  # noqa: E731
    critics = eqx.tree_at(last, state.critics, (jnp.zeros_like(last(state.critics)[0]), bias))
    return replace(state, critics=critics, target_critics=critics)


WITHOUT_REWARD = as_batch(transitions(np.ones(16), np.zeros(16), np.ones(16)), jnp.arange(16))
FIVE = SACConfig(hidden=(8,), discount=0.99, critics=5, critic_subset=2)
update = jax.jit(sac.update, static_argnames="config")


def agent(config: SACConfig, values=None, *, log_temperature: float = -50.0) -> sac.SACState:
    state = sac.init(jax.random.key(0), 1, 1, config)
    state = replace(state, log_temperature=jnp.asarray(log_temperature))
    return state if values is None else with_constant_critics(state, values)


class TestCritics:
    def test_there_are_as_many_as_asked_for_and_all_differ(self):
        obs = jnp.ones((3, 1))
        q = np.asarray(sac.q_values(agent(FIVE).critics, obs, 0.5 * obs))
        assert q.shape == (5, 3)
        assert len(np.unique(q[:, 0])) == 5

    def test_the_target_is_the_minimum_of_a_pair_drawn_anew_at_each_update(self):
        state = agent(FIVE, [1, 2, 3, 4, 5])
        target = lambda k: sac.update(state, WITHOUT_REWARD, k, FIVE)[1]["q_target"]  # noqa: E731
        found = np.asarray(jax.jit(jax.vmap(target))(jax.random.split(jax.random.key(1), 3000)))
        lowest = np.round(found / 0.99).astype(int)
        np.testing.assert_allclose(found, 0.99 * lowest, rtol=1e-5)
        assert set(lowest) == {1, 2, 3, 4}, "5 is never the lower one of a pair"
        # Of the 10 pairs 4, 3, 2 and 1 have the minimum 1, 2, 3 and 4.
        shares = np.bincount(lowest, minlength=5)[1:] / 3000
        np.testing.assert_allclose(shares, [0.4, 0.3, 0.2, 0.1], atol=0.04)

    def test_without_a_subset_the_target_is_the_minimum_of_all(self):
        config = replace(FIVE, critic_subset=None)
        state = agent(config, [4, 2, 3, 5, 6])
        for seed in range(3):
            _, metrics = update(state, WITHOUT_REWARD, jax.random.key(seed), config)
            np.testing.assert_allclose(metrics["q_target"], 0.99 * 2, rtol=1e-5)

    @pytest.mark.parametrize(("subset", "followed"), [(2, 3.4), (None, 1.0)])
    def test_the_actor_follows_the_mean_only_with_a_subset(self, subset, followed):
        config = replace(FIVE, critic_subset=subset)
        state = agent(config, [1, 2, 3, 4, 7])  # their mean is 17 / 5
        free, obs, key = jnp.zeros(()), jnp.ones((4, 1)), jax.random.key(1)
        loss, _ = sac.actor_loss(state.actor, state.critics, free, obs, key, config)
        np.testing.assert_allclose(loss, -followed, rtol=1e-6)


class TestLargestValue:
    @pytest.mark.parametrize(
        ("reward", "temperature", "actions", "discount", "expected"),
        [
            (2.0, 0.0, 1, 0.9, 20.0),  # 2 / (1 - 0.9)
            (-3.0, 0.5, 2, 0.9, 0.0),  # -3 + log 2 < 0: the best is to end at once
            (1.0, 0.5, 2, 0.9, 16.931472),  # (1 + 0.5 * 2 * 0.6931472) / 0.1
            (2.0, 0.0, 1, 1.0, NO_LIMIT),
            (NO_LIMIT, 1.0, 1, 0.9, NO_LIMIT),
        ],
    )
    def test_by_hand(self, reward, temperature, actions, discount, expected):
        found = largest_value(jnp.asarray(reward), jnp.asarray(temperature), actions, discount)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("quantile", "expected"), [(1.0, -1), (0.5, -3), (0.25, -4), (None, -1)]
    )
    def test_the_best_reward_is_a_quantile_over_log_and_system(self, quantile, expected):
        # Five rows: -5 ... -2 in the log, -1 of the system; the other two are empty places.
        # Without a quantile it is the maximum.
        online = eqx.tree_at(lambda r: r.size, of_rewards([-1.0, 99.0, 0.0]), jnp.asarray(1))
        config = SACConfig(hidden=(8,), clip_targets=quantile)
        seen = sac.summarise_data(
            agent(config), of_rewards([-2.0, -5.0, -3.0, -4.0]), online, config
        )
        np.testing.assert_allclose(seen.best_reward, expected)

    def test_where_nothing_was_seen_there_is_no_limit(self):
        config = SACConfig(hidden=(8,), clip_targets=0.5)
        for state in (agent(config), sac.summarise_data(agent(config), NOTHING, NOTHING, config)):
            assert state.best_reward == jnp.float32(NO_LIMIT)
            assert state.worst_reward == jnp.float32(-NO_LIMIT)

    @pytest.mark.parametrize("clip", [1.0, None])
    def test_targets_end_there_if_they_are_clipped(self, clip):
        config = SACConfig(hidden=(8,), discount=0.9, clip_targets=clip)
        state = agent(config, [1e4, 1e4], log_temperature=0.0)
        state = sac.summarise_data(state, of_rewards([2.0, -1.0]), NOTHING, config)
        _, metrics = update(state, WITHOUT_REWARD, jax.random.key(1), config)
        # (2 + 1 * log 2) / 0.1
        np.testing.assert_allclose(metrics["q_possible"], 26.931472, rtol=1e-5)
        if clip is None:
            assert metrics["q_target_max"] > 8000
        else:
            assert metrics["q_target_max"] == metrics["q_possible"], "all of them are cut"


class TestLeastValue:
    @pytest.mark.parametrize(
        ("reward", "discount", "expected"),
        [
            (2.0, 0.9, 2.0),  # one step, and the end
            (-3.0, 0.9, -30.0),  # -3 / (1 - 0.9)
            (2.0, 1.0, 2.0),
            (-3.0, 1.0, -NO_LIMIT),
        ],
    )
    def test_by_hand(self, reward, discount, expected):
        found = least_value(jnp.asarray(reward), discount)
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("quantile", "expected"), [(0.0, -5), (0.5, -3), (0.75, -2), (None, -5)]
    )
    def test_the_worst_reward_is_a_quantile_over_log_and_system(self, quantile, expected):
        online = eqx.tree_at(lambda r: r.size, of_rewards([-1.0, -99.0, 0.0]), jnp.asarray(1))
        config = SACConfig(hidden=(8,), floor_targets=quantile, clip_targets=0.5)
        seen = sac.summarise_data(
            agent(config), of_rewards([-2.0, -5.0, -3.0, -4.0]), online, config
        )
        np.testing.assert_allclose(seen.worst_reward, expected)
        np.testing.assert_allclose(seen.best_reward, -3)

    def test_a_penalty_cannot_make_an_end_look_better_than_any_way_to_go_on(self):
        """Reward 1 at every step and lambda u = 3: to end at once is -2, to go on looks worse."""
        config = SACConfig(hidden=(8,), discount=0.9)
        penalised = replace(WITHOUT_REWARD, reward=jnp.full(16, -2.0))
        ends = replace(penalised, terminated=jnp.ones(16, bool))
        found = {}
        for floor in (None, 0.0):
            changed = replace(config, floor_targets=floor)
            state = sac.summarise_data(
                agent(changed, [-5.0, -5.0]), of_rewards([1.0]), NOTHING, changed
            )
            of = lambda batch: sac.targets(state, batch, jax.random.key(0), changed)[0]  # noqa: B023, E731
            found[floor] = float(of(penalised).max()), float(of(ends).min())
        np.testing.assert_allclose(found[None], (-2 - 0.9 * 5, -2.0), rtol=1e-5)
        np.testing.assert_allclose(found[0.0], (1.0, 1.0), rtol=1e-5)


class TestAveragedActor:
    def test_follows_the_actor_by_its_rate_and_is_the_policy(self):
        config = SACConfig(hidden=(8,), learning_rate=0.1, average_rate=0.25)
        state = agent(config)
        follower = state.actor
        for seed in range(2):
            state, _ = update(state, WITHOUT_REWARD, jax.random.key(seed), config)
            follower = jax.tree.map(lambda a, b: a + 0.25 * (b - a), follower, state.actor)
            assert eqx.tree_equal(follower, state.averaged, rtol=1e-5, atol=1e-6)
        assert sac.policy(state) is state.averaged
        assert not eqx.tree_equal(state.averaged, state.actor, rtol=1e-3)

    def test_without_a_rate_the_policy_is_the_actor(self):
        state = agent(SACConfig(hidden=(8,)))
        assert state.averaged is None and sac.policy(state) is state.actor


class TestCalibration:
    def noisy(self, sizes, count=8000):
        """Errors of known size on the holdout; the training rows are far off."""
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(count, 2)) * sizes
        held = replay(transitions(np.zeros(count), noise[:, 0], noise[:, 1]), max_holdout=5000)
        train = held.train_rows[: int(held.train_size)]
        return eqx.tree_at(lambda r: r.data.reward, held, held.data.reward.at[train].set(1e3))

    def test_sigma_that_is_twice_too_large_has_errors_of_half_its_size(self):
        both = models([(0.0, 0.0)] * 2, [(0.6, 1.4)] * 2)
        log, share = self.noisy([0.3, 0.7]), jnp.zeros(())
        found = std_errors(both.networks, both.normaliser, log, NOTHING, share)
        np.testing.assert_allclose(found, [0.5, 0.5], rtol=0.04)

    def test_the_groups_have_the_weights_of_the_training(self):
        one = models([(0.0, 0.0)], [(1.0, 1.0)])
        log, online = self.noisy([1.0, 1.0]), self.noisy([3.0, 2.0])
        found = std_errors(one.networks, one.normaliser, log, online, jnp.asarray(0.25))
        # 3/4 * 1 + 1/4 * 9 = 3 and 3/4 * 1 + 1/4 * 4 = 7/4
        np.testing.assert_allclose(found, np.sqrt([3.0, 1.75]), rtol=0.04)

    @pytest.mark.parametrize("calibrate", [True, False])
    def test_after_a_fit_the_errors_have_the_size_that_sigma_says_if_asked_for(self, calibrate):
        config = ModelConfig(
            members=3, elites=2, hidden=(16,), weight_decay=(1e-5,) * 3, calibrate=calibrate
        )
        rng = np.random.default_rng(1)
        obs = rng.normal(size=400)
        log = replay(
            transitions(obs, -(obs**2), 0.9 * obs + 0.1 * rng.normal(size=400)), max_holdout=250
        )
        model = init_model(jax.random.key(0), 1, 1, config)
        model, _ = fit_ensemble(model, log, NOTHING, 0.0, jax.random.key(1), config, max_steps=30)
        held = np.asarray(log.holdout_rows)[: int(log.holdout_size)]
        data = jax.tree.map(lambda x: np.asarray(x)[held], log.data)
        inputs = jnp.asarray(np.c_[data.obs, data.action])
        mean, std = map(np.asarray, predict_all(model.ensemble, inputs))
        z = (np.c_[data.reward, data.next_obs - data.obs] - mean) / std
        size = np.sqrt((z**2).mean(axis=(0, 1)))
        if calibrate:
            np.testing.assert_allclose(size, 1.0, rtol=1e-3)
        else:
            np.testing.assert_array_equal(model.ensemble.std_scale, 1.0)
            assert (np.abs(size - 1.0) > 0.05).all(), "so early in a fit sigma is not right"

    def test_the_scale_is_that_of_sigma_alone(self):
        plain = models([(1.0, 2.0), (3.0, 4.0)], [(1.0, 2.0), (0.5, 4.0)])
        scaled = replace(plain, std_scale=jnp.asarray([2.0, 3.0]))
        mean, std = predict_all(scaled, jnp.zeros((5, 2)))
        np.testing.assert_allclose(mean[:, 0], [(1.0, 2.0), (3.0, 4.0)])
        np.testing.assert_allclose(std[:, 0], [(2.0, 6.0), (1.0, 12.0)], rtol=1e-5)
