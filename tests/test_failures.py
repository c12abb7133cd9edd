"""How often policies fail, as trials tell it: worked by hand."""

import json

import pytest

from made_budgets import LENGTH, steady, whole_episode
from moore.runs.budgeting import dip_budget
from moore.stages import budget_summary
from moore.stages.budget import DipBudget
from moore.stages.failures import Failures, usual_loss


def sound(*policies: int) -> Failures:
    """Policies of which each had one sound episode."""
    failures = Failures()
    for policy in policies:
        failures.add(policy, 1.0, 0.0)
    return failures


def failed_budget(*, failing: int, ends: bool = False) -> DipBudget:
    """A budget of which so many challengers have acted and earned nothing, one after the other."""
    budget = dip_budget(0.5, steady(episodes=100, ends=ends))
    earns = {0: 1.0}
    while budget.trials < failing or budget.challenger is not None:
        if budget.challenger is None and budget.waiting is None:
            number = len(earns)
            earns[number] = 0.0
            budget.offer(number)
        whole_episode(budget, earns)
    return budget


def episodes_until_promoted(budget: DipBudget, gain: float) -> int:
    """The number of trials that a challenger with this gain needs."""
    before, earns = budget.trials, {0: 1.0, 99: 1.0 + gain}
    budget.offer(99)
    for _ in range(20):
        whole_episode(budget, earns)
        if budget.promoted:
            return budget.trials - before
    pytest.fail("the challenger was never promoted")


def test_before_anything_is_known_policies_may_fail():
    assert Failures().expected() == pytest.approx(0.1 / 4.0)


def test_sound_first_episodes_of_others_lower_what_is_expected():
    assert sound(1, 2).expected() == pytest.approx(0.1 / 6.0)


def test_a_first_episode_that_fails_raises_it():
    failures = sound(1, 2)
    failures.add(3, 1.0, 0.9)
    assert failures.expected() == pytest.approx((0.1 + 0.9) / 7.0)


def test_a_small_loss_is_no_failure_and_a_gain_makes_good_for_none():
    failures = sound(1)
    failures.add(2, 1.0, 0.19)
    failures.add(3, 1.0, -0.5)
    assert failures.expected() == sound(1, 2, 3).expected()


def test_no_more_than_an_episode_can_be_lost_in_one():
    failures = Failures()
    failures.add(1, 1.0, 3.0)
    assert failures.expected() == pytest.approx((0.1 + 1.0) / 5.0)


def test_what_policies_do_later_takes_the_place_of_first_episodes():
    failures = sound(1)
    failures.add(1, 1.0, 0.0)
    first = 0.1 / 5.0
    assert failures.expected() == pytest.approx(2.0 * first / 3.0)
    failures.add(1, 1.0, 0.6)
    assert failures.expected() == pytest.approx((2.0 * first + 0.6) / 4.0)


def test_many_episodes_of_one_policy_tell_of_that_policy_alone():
    failures, few = sound(1), sound(1)
    for _ in range(30):
        failures.add(1, 1.0, 0.0)
    for _ in range(3):
        few.add(1, 1.0, 0.0)
    assert failures.expected() == few.expected()


def test_parts_of_an_episode_add_up_to_the_first_one():
    failures = Failures()
    failures.add(1, 0.5, 0.0)
    failures.add(1, 0.5, 0.0)
    assert failures.expected() == sound(1).expected()


def test_policies_of_long_ago_are_forgotten():
    failures = Failures()
    failures.add(0, 1.0, 1.0)
    for policy in range(1, 26):
        failures.add(policy, 1.0, 0.0)
    assert failures.expected() == sound(*range(1, 26)).expected()


def test_what_the_reference_loses_by_failing_is_in_its_mean_already():
    failures = sound(1, 2)
    assert failures.expected(0.01) == pytest.approx(0.1 / 6.0 - 0.01)
    assert failures.expected(0.5) == 0.0


def test_the_usual_loss_is_that_of_the_references_failures():
    worths = [12.0, 12.0, 12.0, 4.0]  # a mean of 10; one episode of four lost six tenths
    assert usual_loss(worths, 10.0) == pytest.approx(0.15)
    assert usual_loss([10.0, 9.0, 11.0], 10.0) == 0.0
    assert usual_loss([], 0.0) == 0.0


@pytest.mark.parametrize(("gain", "trials"), [(0.1, 1), (0.015, 3)])
def test_the_smaller_a_gain_the_more_sound_episodes_it_takes(gain, trials):
    assert episodes_until_promoted(dip_budget(0.5, steady(episodes=100)), gain) == trials


def test_where_others_have_failed_the_same_gain_takes_more_episodes():
    assert episodes_until_promoted(failed_budget(failing=1), 0.2) == 1
    assert episodes_until_promoted(failed_budget(failing=4), 0.2) > 1


def test_where_episodes_can_end_early_three_of_its_own_tell():
    assert episodes_until_promoted(failed_budget(failing=4, ends=True), 0.2) == 3


def test_a_challenger_that_is_stopped_has_failed_in_the_rest_of_its_episode():
    budget = dip_budget(0.5, steady(episodes=100))
    budget.offer(1)
    assert budget.acting == 1
    for _ in range(LENGTH // 2):
        budget.step(1.0)
    while budget.acting == 1:
        budget.step(0.0)
    (record,) = budget.failures.records.values()
    assert record == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_they_are_stored_and_a_run_of_an_earlier_version_has_none():
    budget = failed_budget(failing=2)
    packed = json.loads(json.dumps(budget_summary.pack(budget)))
    assert budget_summary.unpack(packed).failures == budget.failures
    del packed["failures"]
    assert budget_summary.unpack(packed).failures == Failures()
