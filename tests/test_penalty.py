"""What the models do not know: u of standard deviations or of values, trust, and lambda."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from made_models import NEVER, NOTHING, TINY, models, replay, transitions
from moore.agents.ppo import AGENT as PPO
from moore.agents.sac import AGENT as SAC
from moore.config import Config
from moore.dynamics.ensemble import predict_all
from moore.dynamics.fit import ModelState
from moore.dynamics.imagine import imagine_step, rollout
from moore.dynamics.penalty import value_spread
from moore.errors import InputError
from moore.experience import rollouts
from moore.experience.diagnostics import PolicyInModels, observed_range, sums
from moore.experience.penalty_calibration import calibrate_penalty
from moore.experience.policy_comparison import compare_policies
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.replay.buffer import empty_ring

# V(s) is the state of the agent times s; the policy is its action.
VALUES = replace(
    SAC,
    value=lambda state, obs, key: state * obs[:, 0],
    act=lambda policy, obs, key: jnp.full_like(obs, policy),
)


def discounted(discount: float, **settings) -> RolloutSettings:
    return RolloutSettings(discount=discount, **settings)


class TestValueSpread:
    """From s = 1 one member says (r, s' - s) = (1, 0.5), the other (0, 0); V(s) = 2 s, gamma 0.9.

    They predict 1 + 0.9 * 3 = 3.7 and 0.9 * 2 = 1.8 to be earned: 0.95 to either side of the mean.
    """

    TWO = models([(1.0, 0.5), (0.0, 0.0)], [(3.0, 4.0), (1.0, 1.0)])
    ONE, ZERO = jnp.ones((1, 1)), jnp.zeros((1, 1))

    def u(self, *, terminated_fn=NEVER, value=2.0, **settings):
        config = discounted(0.9, **{"uncertainty": "value", **settings})
        uncertainty_fn = make_uncertainty(config, VALUES, jnp.asarray(value), terminated_fn)
        key = jax.random.key(0)
        return imagine_step(self.TWO, self.ONE, self.ZERO, key, uncertainty_fn).uncertainty

    def test_by_hand(self):
        two_rows = value_spread(
            jnp.asarray([[1.0, 0.0], [3.0, 0.0]]), jnp.asarray([[10.0, 1.0], [20.0, 1.0]]), 0.9
        )
        np.testing.assert_allclose(two_rows, [5.5, 0.0], rtol=1e-6)
        np.testing.assert_allclose(self.u(), [0.95], rtol=1e-5)

    def test_std_is_the_default_and_asks_no_critic(self):
        np.testing.assert_allclose(self.u(uncertainty="std"), [5.0], rtol=1e-5)
        assert Config().uncertainty == "std"

    def test_what_ends_the_episode_is_worth_nothing(self):
        # 1 against 1.8.
        found = self.u(terminated_fn=lambda obs, action, next_obs: next_obs[0] > 1.2)
        np.testing.assert_allclose(found, [0.4], rtol=1e-5)

    def test_beyond_the_bound_values_are_those_of_the_bound(self):
        # 1 + 0.9 * 2 * 1.2 = 3.16 against 1.8.
        np.testing.assert_allclose(self.u(imagined_bound=1.2), [0.68], rtol=1e-5)

    def test_members_do_not_differ_by_the_action_that_the_critics_are_asked_about(self):
        # A value that is nothing but its draw, the same for every member.
        drawn = replace(SAC, value=lambda state, obs, key: jax.random.normal(key, obs.shape[:1]))
        uncertainty_fn = make_uncertainty(discounted(0.9, uncertainty="value"), drawn, None, NEVER)
        mean, std = predict_all(self.TWO, jnp.tile(jnp.asarray([[1.0, 0.0]]), (5, 1)))
        key, five = jax.random.key(0), jnp.ones((5, 1))
        u = uncertainty_fn(five, five, mean, std, key)
        np.testing.assert_allclose(u, 0.5, rtol=1e-5)

    def test_an_agent_that_values_no_states_is_refused(self):
        with pytest.raises(InputError, match=r"agent ppo has no critics .* --uncertainty std"):
            make_uncertainty(discounted(0.9, uncertainty="value"), PPO, None, NEVER)

    def test_its_draws_are_not_those_of_the_models_noise(self):
        noisy = models([(0.0, 0.0)], [(1.0, 1.0)])
        same_shape = lambda obs, action, mean, std, key: jax.random.normal(key, (4, 2))[:, 1]  # noqa: E731
        origin = jnp.zeros((4, 1))
        step = imagine_step(noisy, origin, origin, jax.random.key(0), same_shape)
        assert not np.isclose(step.uncertainty, step.next_obs[:, 0]).any()

    def test_is_what_imagination_takes_off_the_reward(self):
        log = replay(transitions([1.0] * 4, np.zeros(4), [1.0] * 4))
        certain = models([(1.0, 0.5), (0.0, 0.0)], [(TINY, TINY)] * 2)
        model = ModelState(certain, certain.networks, optax.adam(1e-3).init(certain.networks))
        ring, metrics = rollouts.imagine(
            empty_ring(50, 1, 1), jnp.zeros(()), model, log, NOTHING, observed_range(log),
            jnp.zeros(50, jnp.int32), jnp.asarray(3.0), jax.random.key(0),
            agent=VALUES, terminated_fn=NEVER, agent_state=jnp.asarray(2.0),
            settings=discounted(0.9, uncertainty="value", rollout_length=1, rollout_chunk=50),
        )  # fmt: skip
        np.testing.assert_allclose(metrics["model/uncertainty_mean"], 0.95, rtol=1e-5)
        # One member or the other, less 3 * 0.95.
        found = np.unique(np.round(np.asarray(ring.data.reward), 4))
        np.testing.assert_allclose(found, [-2.85, -1.85])


class TestWhoseCritics:
    """u of values is told by the critics of the pair that is asked, and by no others."""

    def test_u_of_a_snapshot_is_that_of_its_own_agent(self):
        # V = 2 s as above, and V = 0: members differ by their rewards alone, 0.5 to either side.
        config = discounted(0.9, uncertainty="value", rollout_length=1)
        for value, expected in [(2.0, 0.95), (0.0, 0.5)]:
            pair = PolicyInModels(jnp.zeros(()), TestValueSpread.TWO, jnp.asarray(value))
            u, _, _ = sums(pair, jnp.ones((4, 1)), jax.random.key(0), VALUES, NEVER, config, 0.9)
            # One step stands for 1 / (1 - 0.9) of them.
            np.testing.assert_allclose(u, 10 * expected, rtol=1e-5)

    def test_the_gate_asks_the_agent_that_it_is_given(self):
        # The members say s' = s + 0.5 + a and s' = s + a: from a = 0 to a = 1 nothing changes but
        # how far apart they are in V = s^2.
        squares = replace(VALUES, value=lambda state, obs, key: state * obs[:, 0] ** 2)
        ensemble = models(
            [(0.0, 0.5), (0.0, 0.0)], [(TINY, TINY)] * 2, mean_slope=[(0, 0), (0.0, 1.0)]
        )
        _, _, metrics = compare_policies(
            jnp.asarray(0.0), jnp.asarray(1.0), ensemble, jnp.ones((8, 1)),
            jnp.asarray(1.0), jax.random.key(0),
            agent=squares, terminated_fn=NEVER, discount=0.9, confidence=0.0,
            settings=discounted(0.9, uncertainty="value", rollout_length=1),
            agent_state=jnp.asarray(1.0),
        )  # fmt: skip
        # a = 0: 1.5^2 and 1, u = 0.9 * 1.25 / 2; a = 1: 2.5^2 and 2^2, u = 0.9 * 2.25 / 2.
        np.testing.assert_allclose(metrics["gate/uncertainty_gain"], 10 * 0.45, rtol=1e-4)

    def test_a_gate_that_compares_returns_alone_asks_no_critics(self):
        def unasked(state, obs, key):
            raise AssertionError("u is computed for nothing")

        better = models([(0.0, 0.0)] * 2, [(TINY, TINY)] * 2, mean_slope=[(0, 0), (0.5, 0.0)])
        accepted, _, metrics = compare_policies(
            jnp.asarray(0.0), jnp.asarray(1.0), better, jnp.ones((8, 1)), None, jax.random.key(0),
            agent=replace(VALUES, value=unasked), terminated_fn=NEVER, discount=0.9,
            confidence=0.0, settings=discounted(0.9, uncertainty="value", rollout_length=1),
        )  # fmt: skip
        assert accepted and "gate/uncertainty_gain" not in metrics
        np.testing.assert_allclose(metrics["gate/gain"], 10 * 0.5, rtol=1e-4)


class TestTrust:
    # Each step moves by 1 and has u = 2^s, by the sigma of the reward.
    WIDENING = models([(0.0, 1.0)], [(1.0, TINY)], log_std_slope=[(np.log(2.0), 0.0), (0.0, 0.0)])

    @pytest.mark.parametrize(("trusted", "steps"), [(3.0, [3, 6, 1]), (np.inf, [6, 6, 6])])
    def test_a_rollout_ends_after_its_first_step_beyond(self, trusted, steps):
        # From 0: u is 1, 2, 4; from -10 all are below 1; from 5 the first is 32.
        _, happened, u = rollout(
            self.WIDENING, lambda obs, key: jnp.zeros_like(obs), NEVER,
            jnp.asarray([[0.0], [-10.0], [5.0]]), jax.random.key(0),
            length=6, penalty_coef=0.0, obs_bound=float("inf"), trusted=trusted,
        )  # fmt: skip
        np.testing.assert_array_equal(happened.sum(axis=0), steps)
        np.testing.assert_allclose(u[:3, 0], [1.0, 2.0, 4.0], rtol=1e-3)

    def test_imagination_goes_as_far_as_a_quantile_of_u_over_real_rows(self):
        # u of the rows is 1/8, 1/4, 1/2, 1, their median 3/8. From -3 the steps have u = 1/8, 1/4,
        # 1/2; from -2 1/4, 1/2; from -1 and 0 the first is beyond: 3 + 2 + 1 + 1 steps.
        obs = np.asarray([-3.0, -2.0, -1.0, 0.0])
        log = replay(transitions(obs, np.zeros(4), obs))
        state = optax.adam(1e-3).init(self.WIDENING.networks)
        model = ModelState(self.WIDENING, self.WIDENING.networks, state)
        ring, metrics = rollouts.imagine(
            empty_ring(20, 1, 1), jnp.zeros(()), model, log, NOTHING, observed_range(log),
            jnp.arange(4, dtype=jnp.int32), jnp.zeros(()), jax.random.key(0),
            agent=VALUES, terminated_fn=NEVER,
            settings=RolloutSettings(rollout_length=5, trust_quantile=0.5, rollout_chunk=4),
        )  # fmt: skip
        assert int(ring.size) == 7
        np.testing.assert_allclose(metrics["model/rollout_steps"], 7 / 4)
        assert metrics["model/imagined_dropped"] == 0, "where trust ends, nothing is lost"


class TestCoveringPenalty:
    """Members say (1, 0.5) and (0, 0) of (r, s' - s); u = |(3, 4)| = 5; V(s) = 2 s, gamma 0.9.

    Row 1, 1 -> 2 with r = 2: really 2 + 0.9 * 4 = 5.6, by the members 1 + 0.9 * 3 = 3.7 and
    0 + 0.9 * 2 = 1.8: the larger error is 3.8, which is 0.76 u. Row 2 is the same and ends the
    episode: 2 against 1 and 0, 0.4 u. Row 3, 0 -> 0.5 with r = 1: 1.9 against 1.9 and 0, 0.38 u.
    Row 0, with an error beyond all, is not held out, but it is what empty places point to.
    """

    @pytest.mark.parametrize(
        ("coverage", "expected"), [(1.0, 0.76), (0.75, 0.58), (0.5, 0.4), (0.0, 0.38)]
    )
    def test_covers_the_share_of_held_out_rows(self, coverage, expected):
        data = transitions(
            [0, 1, 1, 0], [1e3, 2, 2, 1], [0, 2, 2, 0.5], [False, False, True, False]
        )
        log = eqx.tree_at(
            lambda r: (r.holdout_rows, r.holdout_size),
            replay(data, max_holdout=6),
            (jnp.asarray([3, 1, 2, 0, 0, 0]), jnp.asarray(3)),
        )
        found = calibrate_penalty(
            jnp.asarray(2.0), models([(1.0, 0.5), (0.0, 0.0)], [(3.0, 4.0), (1.0, 1.0)]),
            log, jax.random.key(0), agent=VALUES, terminated_fn=NEVER,
            settings=discounted(0.9), coverage=coverage,
        )  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    def test_covers_with_u_of_values(self):
        """u is 0.95 in every row: errors of 3.8, 2 and 1.9 are 4, 2.105 and 2 of it."""
        data = transitions([1, 1, 0], [2, 2, 1], [2, 2, 0.5], [False, True, False])
        log = eqx.tree_at(
            lambda r: (r.holdout_rows, r.holdout_size),
            replay(data, max_holdout=3),
            (jnp.arange(3), jnp.asarray(3)),
        )
        for coverage, expected in [(1.0, 4.0), (0.5, 2 / 0.95), (0.0, 2.0)]:
            found = calibrate_penalty(
                jnp.asarray(2.0), models([(1.0, 0.5), (0.0, 0.0)], [(3.0, 4.0), (1.0, 1.0)]),
                log, jax.random.key(0), agent=VALUES, terminated_fn=NEVER,
                settings=discounted(0.9, uncertainty="value"), coverage=coverage,
            )  # fmt: skip
            np.testing.assert_allclose(found, expected, rtol=1e-4)
