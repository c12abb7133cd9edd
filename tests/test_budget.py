"""The dip budget: who acts when, with ledgers worked by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from made_budgets import LENGTH, steady, whole_episode
from moore.errors import InputError
from moore.runs.budgeting import dip_budget
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.budget_summary import metrics, of_incumbent, summary
from moore.stages.earnings import Earnings, earnings_of_log
from moore.stages.trial_rules import Rules


@pytest.mark.parametrize(("earned", "lost"), [(1.0, 0), (0.7, 1)])
def test_only_a_challenger_that_is_worse_has_lost(earned, lost):
    budget = dip_budget(0.5, steady())
    assert budget.offer(1)
    for _ in range(12):
        whole_episode(budget, {REFERENCE: 1.0, 1: earned})
        budget.end(terminated=False)
    assert budget.challenger is None and budget.trials > 0
    assert (budget.lost, budget.promoted) == (lost, 0)


def test_what_the_incumbent_earns_is_known_as_well_as_both_records_allow():
    budget = dip_budget(0.5, steady(episodes=1))
    assert of_incumbent(budget) is None
    budget = dip_budget(0.5, steady(floor=-1.0, episodes=16))
    known = of_incumbent(budget)
    assert known == (LENGTH, pytest.approx(budget.earnings.spread / 4.0), 2 * LENGTH)
    assert budget.offer(1)
    for _ in range(4):
        whole_episode(budget, {REFERENCE: 1.0, 1: 1.5})
        budget.end(terminated=False)
    assert budget.incumbent == 1
    promoted = of_incumbent(budget)
    assert promoted.mean == pytest.approx(1.5 * LENGTH, rel=1e-3) and promoted.error > known.error


def test_one_episode_may_decide():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    whole_episode(budget, {1: 1.2})
    assert budget.incumbents == [REFERENCE, 1]


def test_one_good_episode_is_not_enough_where_episodes_differ_widely():
    """Good or bad by chance: 10 or 30 an episode. Where they hardly differ, one decides."""
    wide = [np.full(LENGTH, reward) for reward in (0.5, 1.5) * 6]
    budget = dip_budget(0.05, earnings_of_log(wide, length=LENGTH, floor=0.0, ends=False))
    budget.offer(1)
    while budget.trials < 1 or budget.running.steps:
        assert budget.acting in (REFERENCE, 1)
        budget.step(1.5)
    assert budget.promoted == 0


def test_the_next_trial_waits_for_the_incumbent_only_after_a_failure():
    earns = {REFERENCE: 1.0, 1: 1.2, 2: 1.4, 3: 1.3, 4: 1.6}
    budget = dip_budget(0.05, steady())
    acted = []
    for newest in (1, 2, 3, 4, 4):
        if newest not in acted:
            budget.offer(newest)
        acted.append(whole_episode(budget, earns)[0])
        budget.end(terminated=False)
    # Number 1 was promoted and number 2 follows at once; number 3 is worse than number 2, whose
    # own record is then tested before number 4 is tried.
    assert acted == [1, 2, 3, 2, 4]
    assert budget.incumbent == 4


def test_a_better_challenger_acts_for_as_long_as_it_must_and_is_promoted():
    budget = dip_budget(0.05, steady(), Rules(least_parts=1.5))
    assert whole_episode(budget, {REFERENCE: 1.0}) == [REFERENCE] * LENGTH
    assert budget.offer(1)
    assert whole_episode(budget, {1: 1.2}) == [1] * LENGTH
    assert budget.incumbents == [REFERENCE], "it must act for one and a half"
    assert whole_episode(budget, {1: 1.2}) == [1] * LENGTH
    assert budget.incumbents == [REFERENCE, 1]
    record = summary(budget)
    # 5% of the reference's 20; then 24 - 19 and again; the start was the nearest moment.
    assert budget.ledger.margin(20.0) == pytest.approx(20.0 + 1.0 + 5.0 + 5.0)
    assert record == {
        "share": 0.05,
        "credit": pytest.approx(20.0),
        "spent": 0.0,
        "least_margin": pytest.approx(20.0),
        "trials": 2,
        "promoted": 1,
        "demoted": 0,
        "explored": 0,
    }


def test_a_worse_challenger_is_stopped_at_once_and_the_reference_takes_over():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    acted = whole_episode(budget, {1: 0.0, REFERENCE: 1.0})
    # Behind by 2% of the episode and three of its standard deviations (1%) over a tenth of it.
    assert acted == [1] + [REFERENCE] * (LENGTH - 1)
    assert budget.challenger is None and budget.promoted == 0
    assert summary(budget)["spent"] == pytest.approx(1.0)
    assert summary(budget)["least_margin"] == pytest.approx(20.0 - 1.0 + 0.05)


def test_trials_begin_later_in_the_episode_when_less_can_be_lost():
    budget = dip_budget(0.05, steady())
    budget.ledger.other -= 12.0
    bound = budget.affordable()
    budget.offer(1)
    acted = whole_episode(budget, {1: 1.2, REFERENCE: 1.0})
    first = acted.index(1)
    assert first > 0 and acted[first:] == [1] * (LENGTH - first)
    assert 0.95 * (LENGTH - first) <= bound + 0.05 * first < 0.95 * (LENGTH - first + 1)


def test_where_episodes_end_early_trials_are_whole_episodes():
    budget = dip_budget(0.05, steady(ends=True))
    budget.offer(1)
    assert budget.acting == 1
    budget.step(1.0)
    budget.end(terminated=True)
    # The fall cost the other 19 steps; the next trial must wait until 19 can be lost again.
    assert budget.ledger.margin(20.0) == pytest.approx(20.0 + 1.0 - 19.0)
    for policy in range(2, 18):
        budget.offer(policy)
        assert whole_episode(budget, {REFERENCE: 1.0}) == [REFERENCE] * LENGTH
    while REFERENCE in whole_episode(budget, {REFERENCE: 1.0, 17: 1.0}):
        assert budget.affordable() < 20.0
    assert budget.trials == 2


def test_where_episodes_can_end_early_three_of_them_decide():
    budget, won = dip_budget(0.5, steady(ends=True)), []
    assert budget.offer(1)
    for _ in range(4):
        whole_episode(budget, {REFERENCE: 1.0, 1: 1.2})
        won.append(budget.promoted)
    assert won == [0, 0, 1, 1]


def test_an_incumbent_that_earns_less_than_its_predecessor_makes_room():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    for _ in range(3):
        whole_episode(budget, {1: 1.5})
    budget.offer(2)
    whole_episode(budget, {2: 2.0})
    assert budget.incumbents == [REFERENCE, 1, 2]
    whole_episode(budget, {2: 1.2, REFERENCE: 1.0})
    assert budget.incumbents == [REFERENCE, 1]
    assert budget.demoted == 1
    assert budget.acting == 1


def late(worth: float) -> Callable[[int], float]:
    """The reward at a step of one that earns all of it in the second half of an episode."""
    return lambda step: 2.0 * worth if step >= LENGTH // 2 else 0.0


def episode_of(budget: DipBudget, earns: dict[int, Callable[[int], float]]) -> list[int]:
    """As `whole_episode`, for policies whose reward depends on the step."""
    acted = []
    for step in range(LENGTH):
        acted.append(budget.acting)
        budget.step(earns[acted[-1]](step))
    return acted


@pytest.fixture
def late_incumbent():
    """A budget whose incumbent, policy 1, earns late: the reference's course says nothing of it."""
    rules = Rules(stop_loss=math.inf, envelope=math.inf)
    budget = dip_budget(0.5, steady(), rules)
    budget.offer(1)
    for _ in range(4):
        episode_of(budget, {REFERENCE: lambda _: 1.0, 1: late(1.5)})
    assert budget.incumbent == 1
    budget.rules = Rules(least_parts=1.5)
    return budget


def test_an_incumbent_may_earn_later_than_the_reference(late_incumbent):
    assert episode_of(late_incumbent, {1: late(1.5)}) == [1] * LENGTH


def test_a_challenger_is_compared_with_what_the_incumbent_earns_at_the_same_step(late_incumbent):
    late_incumbent.offer(2)
    assert episode_of(late_incumbent, {2: late(1.6)}) == [2] * LENGTH
    acted = episode_of(late_incumbent, {2: late(0.5), 1: late(1.5)})
    first = acted.index(1)
    assert LENGTH // 2 <= first < LENGTH and acted[first:] == [1] * (LENGTH - first)


def test_an_episode_that_another_began_is_not_in_a_challengers_course(late_incumbent):
    late_incumbent.rules = Rules(window=0.2)
    late_incumbent.offer(2)
    acted = episode_of(late_incumbent, {1: late(1.5), 2: late(1.6)})
    assert acted[0] == 1 and acted[-1] == 2
    assert late_incumbent.standings[2].joined.parts > 0.0
    assert not late_incumbent.standings[2].worths


def test_a_trial_that_was_stopped_by_bad_luck_is_no_verdict():
    luck = np.random.default_rng(0)
    log = [np.full(LENGTH, reward) for reward in luck.normal(1.0, 1.2, 40)]
    budget = dip_budget(0.5, earnings_of_log(log, length=LENGTH, floor=-2.0, ends=False))
    budget.offer(1)
    acted = whole_episode(budget, {1: 0.3, REFERENCE: 1.0})
    assert acted[0] == 1 and acted[-1] == REFERENCE, "it was stopped"
    assert budget.challenger == 1 and budget.lost == 0
    assert whole_episode(budget, {1: 1.4}) == [1] * LENGTH


def test_an_incumbent_that_falls_below_the_reference_is_stopped_within_the_episode():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    for _ in range(2):
        whole_episode(budget, {1: 1.5})
    acted = whole_episode(budget, {1: 0.0, REFERENCE: 1.0})
    assert acted[0] == 1 and acted[-1] == REFERENCE
    assert acted.count(1) == 1


def test_no_budget_means_no_trials():
    budget = dip_budget(0.0, steady())
    assert not budget.offer(1, predicted=100.0)
    assert whole_episode(budget, {REFERENCE: 1.0}) == [REFERENCE] * LENGTH
    assert summary(budget)["trials"] == 0


def test_the_reference_acts_first_where_nothing_is_known_of_it():
    budget = dip_budget(0.05, Earnings(LENGTH, 0.0, False))
    budget.offer(1)
    for _ in range(4):
        assert whole_episode(budget, {REFERENCE: 1.0}) == [REFERENCE] * LENGTH
    assert budget.earnings.level == pytest.approx(20.0)
    assert 1 in whole_episode(budget, {REFERENCE: 1.0, 1: 1.0})


def test_the_models_may_refuse_a_challenger_that_they_are_sure_is_worse():
    budget = dip_budget(0.05, steady())
    assert not budget.offer(1, predicted=-2.0, standard_error=1.0)
    assert budget.offer(2, predicted=-0.5, standard_error=1.0)
    assert budget.kept == {REFERENCE, 2}


def test_a_newer_policy_takes_the_place_of_one_that_waits():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    budget.offer(2)
    assert budget.acting == 2 and budget.kept == {REFERENCE, 2}


def test_worth_is_counted_from_the_floor_where_rewards_are_negative():
    budget = dip_budget(0.1, steady(-5.0, floor=-7.5))
    assert budget.earnings.level == pytest.approx(50.0)
    whole_episode(budget, {REFERENCE: -5.0})
    assert budget.ledger.margin(50.0) == pytest.approx(50.0 + 0.1 * 50.0)
    assert metrics(budget)["budget/reference"] == pytest.approx(-100.0)


def test_an_early_end_is_the_better_part_where_every_step_costs():
    """A goal reached after 5 steps at -1 each: the other 15 cost nothing."""
    budget = dip_budget(0.1, steady(-0.5, floor=-1.0, ends=True))
    for _ in range(5):
        budget.step(-1.0)
    budget.end(terminated=True)
    assert budget.ledger.own == pytest.approx(15.0)


def test_an_episode_that_was_cut_counts_as_far_as_it_went():
    budget = dip_budget(0.05, steady())
    budget.offer(1)
    for _ in range(4):
        assert budget.acting == 1
        budget.step(1.0)
    budget.end(terminated=False)
    assert budget.ledger.units == pytest.approx(0.2)
    assert budget.ledger.margin(20.0) == pytest.approx(20.0 + 0.05 * 4.0)


def test_a_reward_that_was_not_measured_counts_as_the_others_of_its_episode():
    budget = dip_budget(0.05, steady())
    budget.step(2.0)
    budget.step(math.nan)
    assert budget.ledger.own == pytest.approx(4.0)


@pytest.mark.parametrize("share", [-0.1, 1.0, math.nan])
def test_a_budget_is_a_share_below_one(share):
    with pytest.raises(InputError, match=r"at least 0 and below 1"):
        dip_budget(share, steady())


def test_a_reference_at_the_floor_has_no_scale():
    with pytest.raises(InputError, match=r"not above the floor"):
        steady(1.0, floor=1.0)
    with pytest.raises(InputError, match=r"floor of 0 or less"):
        steady(1.0, floor=0.5, ends=True)
    with pytest.raises(InputError, match=r"not finite"):
        steady(math.nan)
    with pytest.raises(InputError, match=r"1 to 10 steps"):
        earnings_of_log([np.ones(11)], length=10, floor=0.0, ends=True)
