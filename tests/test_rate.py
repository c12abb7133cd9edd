"""An account of the dip budget that counts steps: an early end costs the steps until then."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_budgets import LENGTH, steady
from moore.errors import InputError
from moore.runs.budgeting import check_budget, dip_budget, earnings_of, empty_rate
from moore.runs.setup import prepare
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.budget_summary import everything, summary
from moore.stages.earnings import earnings_of_log
from moore.stages.rate import Rate
from tiny import ENV, tiny_config, tiny_log

# Falls after 5, 10 or 20 steps, and earns 1 a step until then.
STEPS = [5, 10, 20] * 4


def by_steps(share: float = 0.05) -> DipBudget:
    """A reference that falls now and then, of which twelve episodes are known."""
    episodes = [np.ones(steps) for steps in STEPS]
    earnings = earnings_of_log(episodes, length=LENGTH, floor=0.0, ends=True)
    return dip_budget(
        share, earnings, rate=Rate(LENGTH, [float(x) for x in STEPS], list(STEPS), cuts=True)
    )


def fall(budget: DipBudget, after: int, reward: float = 1.0) -> int:
    """An episode that ends after so many steps; who began it."""
    who = budget.acting
    for _ in range(after):
        budget.step(reward)
    if after < LENGTH:
        budget.end(terminated=True)
    return who


def test_the_rate_is_that_of_all_steps_together():
    rate = Rate(LENGTH, [10.0, 40.0], [10, 20])
    assert rate.level == pytest.approx(50.0 / 30.0)
    assert rate.credit == pytest.approx(15.0)


def test_a_rate_is_known_well_where_episodes_differ_in_length_alone():
    """Returns from 5 to 20 leave the mean episode uncertain, and the rate is 1 in all of them."""
    budget = by_steps()
    of_episode = budget.earnings.level_within(0.05)
    of_step = budget.rate.level_within(0.05)
    assert (of_step[1] - of_step[0]) * budget.rate.credit < 0.1 * (of_episode[1] - of_episode[0])
    assert of_step[0] < 1.0 < of_step[1]


def test_the_bounds_of_a_rate_hold_at_all_counts_together():
    rng = np.random.default_rng(3)
    failed = 0
    for _ in range(200):
        steps = rng.integers(20, 200, size=25)
        worths = 2.0 * steps + 15.0 * rng.standard_normal(25)
        known = [Rate(200, worths[:n].tolist(), steps[:n].tolist()) for n in range(4, 26)]
        failed += any(not low <= 2.0 <= high for low, high in (x.level_within(0.05) for x in known))
    assert 0 < failed / 200 <= 0.1  # 5% at either end


@pytest.mark.parametrize("known", [0, 1])
def test_nothing_is_known_from_less_than_two_episodes(known):
    assert Rate(LENGTH, [5.0] * known, [5] * known).level_within(0.05) == (0.0, math.inf)


def test_a_fall_costs_what_the_reference_earns_in_as_many_steps():
    budget = by_steps()
    before = budget.ledger.margin(budget.rate.level)
    assert budget.offer(1)
    assert fall(budget, 4, reward=0.75) == 1
    # 3 earned, and 95% of 4 were to be earned.
    assert budget.ledger.margin(budget.rate.level) == pytest.approx(before + 3.0 - 0.95 * 4.0)
    assert summary(budget)["spent"] == pytest.approx(1.0)


def test_by_episodes_the_same_fall_costs_the_rest_of_the_episode():
    budget = replace(by_steps(), rate=None)
    before = budget.ledger.margin(budget.earnings.level)
    assert budget.offer(1)
    assert fall(budget, 4, reward=0.75) == 1
    lost = 0.95 * budget.earnings.level - 3.0
    assert budget.ledger.margin(budget.earnings.level) == pytest.approx(before - lost)


def test_a_policy_that_falls_at_once_can_be_tried_often_and_is_never_promoted():
    budget, tried = by_steps(), 0
    for number in range(1, 31):
        budget.offer(number)
        tried += fall(budget, 1) == number
        fall(budget, 10)
    assert tried == 30
    assert (budget.promoted, budget.incumbent) == (0, REFERENCE)


@pytest.mark.parametrize("cuts", [True, False])
def test_a_policy_that_stands_still_does_not_break_the_line(cuts):
    """It earns nothing and does not fall. Its episode is cut, or goes on without earnings."""
    budget, least, steps = by_steps(), [], []
    budget.rate.cuts = cuts
    for number in range(1, 60):
        budget.offer(number)
        for _ in range(LENGTH):
            free = budget.running.others_since is None and budget.acting == REFERENCE
            budget.step(1.0 if free else 0.0)
            least.append(budget.ledger.margin(1.0))
            if budget.running.over:
                steps.append(budget.running.steps)
                budget.end(terminated=False)
                break
    assert budget.trials > 1
    assert min(least) >= -1e-6
    assert (len(steps) > 1 and max(steps) < LENGTH // 2) if cuts else not steps


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, LENGTH), st.integers(0, 8)), min_size=1, max_size=25),
    st.sampled_from([0.02, 0.05, 0.2]),
    st.booleans(),
)
def test_the_line_holds_whenever_others_fall_and_whatever_they_earn(script, share, cuts):
    earnings = steady(ends=True, episodes=300)
    rate = Rate(LENGTH, [float(LENGTH)] * 300, [LENGTH] * 300, cuts=cuts)
    budget = dip_budget(share, earnings, rate=rate)
    least, earned, steps = 0.0, 0.0, 0
    for number, (falls, quarters) in enumerate(script, start=1):
        budget.offer(number)
        for step in range(1, LENGTH + 1):
            reward = 1.0 if budget.acting == REFERENCE else quarters / 4.0
            budget.step(reward)
            earned, steps = earned + reward, steps + 1
            least = min(least, earned - (1.0 - share) * steps + LENGTH)
            fell = budget.running.others_since is not None and falls <= step < LENGTH
            if fell or budget.running.over:
                budget.end(terminated=fell)
                break
    assert least >= -1e-6
    told = everything(budget)
    assert told["budget/least_margin"] >= -1e-6
    assert told["budget/credit"] == pytest.approx(LENGTH, rel=0.01)


def test_worth_is_counted_from_the_floor_and_no_rest_is_added():
    """Two steps of -1 above a floor of -2, then a fall: 2 of worth in 2 steps."""
    episodes = [np.full(steps, 1.0) for steps in STEPS]
    earnings = earnings_of_log(episodes, length=LENGTH, floor=-2.0, ends=True)
    rate = Rate(LENGTH, [3.0 * x for x in STEPS], list(STEPS), cuts=True)
    budget = dip_budget(0.05, earnings, rate=rate)
    assert budget.offer(1)
    assert fall(budget, 2, reward=-1.0) == 1
    assert budget.ledger.other == pytest.approx(2.0)
    assert budget.rate.level == pytest.approx(3.0)


def test_the_references_own_episodes_go_on_to_tell_the_rate():
    budget = by_steps()
    fall(budget, 10, reward=3.0)
    assert (budget.rate.worths[-1], budget.rate.steps[-1]) == (30.0, 10)
    assert budget.ledger.credit == pytest.approx(budget.rate.credit)


class TestRunsThatCountSteps:
    """What `dip_budget_per = "step"` makes of a log."""

    @pytest.fixture
    def log(self):
        log = tiny_log()
        terminated = np.arange(len(log.reward)) % 20 == 19
        return replace(log, terminated=terminated, truncated=np.zeros_like(terminated))

    def rate(self, log, per="step"):
        config = tiny_config(dip_budget=0.05, dip_budget_per=per)
        setup = replace(prepare(config, dataset=tiny_log(), env=ENV), dataset=log)
        check_budget(setup)
        return empty_rate(setup, earnings_of(setup))

    def test_nothing_is_known_of_the_rate_at_first(self, log):
        assert self.rate(log) == Rate(20)
        assert self.rate(log, per="episode") is None

    def test_where_no_episode_ends_early_episodes_and_steps_are_the_same(self):
        assert self.rate(tiny_log()) is None

    def test_equal_rewards_make_every_policy_alike_and_are_refused(self, log):
        costs = replace(
            log,
            reward=np.full_like(log.reward, -1.0),
            episode_returns=np.full_like(log.episode_returns, -20.0),
        )
        with pytest.raises(InputError, match=r'give dip_budget_per = "episode"'):
            self.rate(costs)
