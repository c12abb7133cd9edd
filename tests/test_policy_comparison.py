"""The gate, by hand: what the models say of a new policy, and what the acting one has earned."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from made_models import NEVER, TINY, models
from moore.agents.sac import AGENT as SAC
from moore.experience.policy_comparison import (
    NO_BAR,
    compare_policies,
    doubt_about,
)
from moore.experience.settings import RolloutSettings
from moore.stages.gate import after_episodes, after_replacement, no_returns_yet


@pytest.mark.parametrize(
    ("predicted", "earned", "doubt"),
    [(10.0, 10.0, 0.0), (11.5, 10.0, 1.0), (-1150.0, -1000.0, 1.0), (7.0, 10.0, 2.0)],
)
def test_the_doubt_about_models_is_their_error_as_a_share_of_what_it_may_be(
    predicted, earned, doubt
):
    assert doubt_about(predicted, earned) == pytest.approx(doubt)


def test_errors_may_be_measured_against_what_is_earned_above_a_floor():
    assert doubt_about(-100.0, -400.0, 2000.0) == pytest.approx(1.0)


def told(policy, obs, key):
    """Acts with what the policy says."""
    return jnp.full_like(obs, policy)


def shaken(policy, obs, key):
    return policy + 0.3 * jax.random.normal(key, obs.shape)


class TestGate:
    """Reward 1 + 0.1 a; the sigma of one output is 2^a, the other's next to nothing; gamma 0.9.

    A constant reward or u counts 1 / (1 - 0.9) = 10 times. From a = -1 to a = 1 the return goes
    from 9 to 11, and U from 5 to 20.
    """

    def compare_policies(
        self, old, new, *, noisy="move", penalty=0.0, confidence=0.0, act=told, bar=NO_BAR,
        reward=1.0, bound=np.inf, calibrated=False, drawn=True,
    ):  # fmt: skip
        of_reward = noisy == "reward"
        ensemble = models(
            [(reward, 0.0)] * 2,
            [(1.0, TINY) if of_reward else (TINY, 1.0)] * 2,
            mean_slope=[(0.0, 0.0), (0.1, 0.0)],
            log_std_slope=[(0.0, 0.0), np.log(2.0) * np.asarray([of_reward, not of_reward])],
        )
        return compare_policies(
            jnp.asarray(old), jnp.asarray(new), ensemble, jnp.zeros((2000, 1)),
            jnp.asarray(penalty), jax.random.key(0),
            agent=replace(SAC, act=act, act_mode=lambda policy, obs: told(policy, obs, None)),
            terminated_fn=NEVER,
            settings=RolloutSettings(rollout_length=3, imagined_bound=bound), discount=0.9,
            confidence=confidence, bar=jnp.asarray(bar), calibrated=calibrated, drawn=drawn,
        )  # fmt: skip

    def test_a_policy_is_no_worse_than_itself(self):
        accepted, chosen, metrics = self.compare_policies(
            0.5, 0.5, penalty=1.0, noisy="reward", act=shaken
        )
        assert accepted and chosen == 0.5
        assert metrics["gate/gain"] == 0 and metrics["gate/uncertainty_gain"] == 0

    def test_a_better_return_passes_where_uncertainty_costs_nothing(self):
        accepted, chosen, metrics = self.compare_policies(-1.0, 1.0)
        assert accepted and chosen == 1.0 and metrics["gate/accepted"] == 1.0
        np.testing.assert_allclose(metrics["gate/gain"], 2.0, rtol=1e-3)
        np.testing.assert_allclose(metrics["gate/uncertainty_gain"], 15.0, rtol=1e-3)

    def test_the_same_policy_is_refused_where_uncertainty_costs_more_than_it_gains(self):
        accepted, chosen, metrics = self.compare_policies(-1.0, 1.0, penalty=1.0)
        assert not accepted and chosen == -1.0 and metrics["gate/accepted"] == 0.0
        np.testing.assert_allclose(metrics["gate/gain"], 2.0 - 15.0, rtol=1e-3)

    @pytest.mark.parametrize(("old", "new", "confidence"), [(-1.0, 1.0, 30.0), (1.0, -1.0, -30.0)])
    def test_confidence_counts_in_standard_errors_of_the_difference(self, old, new, confidence):
        # The same noise is in both rewards, times 2 and 1/2: the difference of a step has deviation
        # 1.5. The weights 1, 0.9, 0.81 over 1 - 0.729 have the norm sqrt(2.4661) / 0.271 = 5.7948;
        # 1.5 * 5.7948 / sqrt(2000) = 0.19436. The gain is ten of these, up or down.
        accepted, chosen, metrics = self.compare_policies(
            old, new, noisy="reward", confidence=confidence
        )
        assert bool(accepted) == (confidence < 0)
        assert chosen == (new if accepted else old)
        np.testing.assert_allclose(metrics["gate/standard_error"], 0.19436, rtol=0.06)
        np.testing.assert_allclose(metrics["gate/gain"], new - old, atol=4 * 0.19436)
        at_zero, *_ = self.compare_policies(old, new, noisy="reward")
        assert bool(at_zero) != bool(accepted), "without confidence the sign alone decides"

    def test_policies_that_act_without_noise_are_compared_without_it(self):
        calm, shaky = (
            self.compare_policies(-1.0, 1.0, noisy="reward", act=shaken, drawn=drawn)[2]
            for drawn in (False, True)
        )
        untouched = self.compare_policies(-1.0, 1.0, noisy="reward", act=told)[2]
        assert calm["gate/gain"] == untouched["gate/gain"] != shaky["gate/gain"]

    @pytest.mark.parametrize(
        ("penalty", "bar", "expected"),
        [(0.0, 10.9, True), (0.0, 11.1, False), (0.0, np.inf, False), (-0.1, 12.9, True)],
    )
    def test_a_better_policy_must_also_reach_the_bar(self, penalty, bar, expected):
        # It earns 11 in the models; a penalty of -0.1 on U = 20 makes it 13.
        accepted, _, metrics = self.compare_policies(-1.0, 1.0, penalty=penalty, bar=bar)
        assert bool(accepted) == expected and metrics["gate/gain"] > 0
        np.testing.assert_allclose(metrics["gate/return"], 11.0 - 20 * penalty, rtol=1e-3)
        shown = float(metrics["gate/bar"])
        assert np.isnan(shown) if np.isinf(bar) else shown == pytest.approx(bar)

    @pytest.mark.parametrize(
        ("earned", "needed"),
        [
            (9.0, 10.8),  # nothing wrong is said of the acting policy; a fifth must be gained
            (10.0, 11.0),  # one too little, a tenth of 10
            (8.0, 10.6),  # one too much, an eighth of 8
            (7.0, np.inf),  # two too much: such models are not believed
            (11.0, np.inf),
            (NO_BAR, 9.45),  # nothing is known: a twentieth more than 9
        ],
    )
    def test_calibrated_models_must_promise_more_than_their_error(self, earned, needed):
        # The acting policy earns 9 in the models, the candidate 11.
        accepted, _, metrics = self.compare_policies(-1.0, 1.0, bar=earned, calibrated=True)
        assert bool(accepted) == (needed < 11.01)
        shown = needed if np.isfinite(needed) else np.nan
        np.testing.assert_allclose(metrics["gate/bar"], shown, rtol=1e-3)

    @pytest.mark.parametrize(("bound", "expected"), [(np.inf, True), (4.0, False)])
    def test_to_leave_the_numbers_is_no_way_to_a_better_return(self, bound, expected):
        # A step is worth -1 or so, and nothing beyond the bound, where sigma = 2 often leads.
        accepted, _, metrics = self.compare_policies(-1.0, 1.0, reward=-1.0, bound=bound)
        assert bool(accepted) == expected and metrics["gate/gain"] > 1.0
        assert (metrics["gate/broken"] > 0.05) == (bound < np.inf)


class TestRecord:
    """What the acting policy has earned, episode by episode."""

    def test_nobody_has_a_record_before_an_episode_has_ended(self):
        assert after_episodes(no_returns_yet(np.inf), []).bar == np.inf
        assert after_episodes(no_returns_yet(np.inf), [3.0]).bar == 3.0

    def test_it_is_the_mean_of_all_episodes_of_one_policy(self):
        acting_returns = after_episodes(after_episodes(no_returns_yet(np.inf), [3.0]), [5.0, 10.0])
        assert (acting_returns.bar, acting_returns.episodes) == (6.0, 3)

    def test_the_episode_that_another_policy_has_begun_does_not_count(self):
        acting_returns = after_replacement(after_episodes(no_returns_yet(np.inf), [3.0]))
        assert acting_returns.bar == 3.0, "the bar stays until the new one has finished an episode"
        acting_returns = after_episodes(acting_returns, [100.0])
        assert (acting_returns.bar, acting_returns.episodes) == (3.0, 0)
        assert after_episodes(acting_returns, [7.0]).bar == 7.0
        assert after_episodes(after_replacement(acting_returns), [100.0, 7.0, 9.0]).bar == 8.0
        between = after_replacement(acting_returns, in_episode=False)
        assert after_episodes(between, [9.0]).bar == 9.0, "begun by the new policy"

    def test_where_nothing_ended_it_stays_as_it_is(self):
        acting_returns = after_replacement(no_returns_yet(np.inf))
        assert after_episodes(acting_returns, []).mixed
