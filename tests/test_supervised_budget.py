"""The account of trials where somebody else decides who acts, and tells it."""

import json
import warnings

import numpy as np
import pytest

from moore.runs.budgeting import dip_budget
from moore.stages.budget import REFERENCE
from moore.stages.budget_summary import pack, unpack
from moore.stages.earnings import earnings_of_log
from moore.stages.rate import Rate
from moore.stages.supervised import SupervisedBudget, supervised

LENGTH = 10


@pytest.fixture
def budget():
    """The reference earned about 10 in each of twenty episodes; policy 1 waits to be tried."""
    log = [np.full(LENGTH, 1.0 + 0.001 * episode) for episode in range(20)]
    earnings = earnings_of_log(log, length=LENGTH, floor=0.0, ends=False)
    made = supervised(dip_budget(0.5, earnings))
    assert made.offer(1)
    return made


def goes(budget, by, *, free=True, reward=1.0):
    """One episode or a part of it, in which `by` says who acts: a word for each step."""
    for who in by.split():
        budget.told(by_reference=who == "old", free=free, policy=1)
        budget.step(reward)


class TestRecordOfALog:
    """Twenty episodes of a log that the reference itself has written."""

    @pytest.fixture
    def budget(self, request):
        rng = np.random.default_rng(0)
        log = [rng.normal(1.0, 0.02) + np.zeros(LENGTH) for _ in range(20)]
        earnings = earnings_of_log(log, length=LENGTH, floor=0.0, ends=request.param)
        made = supervised(dip_budget(0.5, earnings), by_log=True)
        assert made.offer(1) and made.affordable() > 0.0
        return made

    @pytest.mark.parametrize("budget", [False, True], indirect=True)
    def test_nobody_else_acts_before_the_reference_has_in_a_live_episode(self, budget):
        for _ in range(LENGTH):
            assert not budget.lets_others_act
            goes(budget, "old")
        assert budget.earnings.episodes == 21 and budget.trials == 0
        assert budget.lets_others_act
        goes(budget, "new " * LENGTH)
        assert budget.trials == 1

    @pytest.mark.parametrize("budget", [False], indirect=True)
    @pytest.mark.parametrize("reward", [0.5, 2.0])
    def test_live_episodes_that_earn_something_else_void_the_log(self, budget, reward):
        with pytest.warns(UserWarning, match=r"does not count as its record any more"):
            goes(budget, "old " * LENGTH, reward=reward)
        assert budget.earnings.episodes == 1 and budget.logged == 0
        assert budget.earnings.level == pytest.approx(reward * LENGTH)
        assert budget.affordable() < 0.0 and not budget.lets_others_act
        course = np.asarray(budget.earnings.course)
        assert course == pytest.approx(reward * np.asarray(budget.earnings.marks))

    def test_the_log_s_episodes_tell_no_rate_either_once_they_are_void(self):
        log = [np.ones(LENGTH)] * 20
        earnings = earnings_of_log(log, length=LENGTH, floor=0.0, ends=True)
        rate = Rate(LENGTH, [float(LENGTH)] * 20, [LENGTH] * 20, cuts=False)
        budget = supervised(dip_budget(0.5, earnings, rate=rate), by_log=True)
        with pytest.warns(UserWarning, match=r"does not count as its record any more"):
            goes(budget, "old " * LENGTH, reward=3.0)
        assert budget.logged == 0
        assert (budget.rate.worths, budget.rate.steps) == ([3.0 * LENGTH], [LENGTH])
        assert unpack(json.loads(json.dumps(pack(budget))), SupervisedBudget) == budget

    def test_equal_episodes_do_not_mean_that_every_difference_counts(self):
        log = [np.ones(LENGTH)] * 20
        earnings = earnings_of_log(log, length=LENGTH, floor=0.0, ends=False)
        budget = supervised(dip_budget(0.5, earnings), by_log=True)
        goes(budget, "old " * LENGTH, free=False, reward=1.0 + 1e-6)
        assert budget.logged == 20 and budget.earnings.episodes == 21

    @pytest.mark.parametrize("budget", [False], indirect=True)
    def test_it_is_stored_with_the_account(self, budget):
        again = unpack(json.loads(json.dumps(pack(budget))), SupervisedBudget)
        assert again == budget and again.logged == 20

    def test_episodes_that_are_alike_are_seldom_held_to_be_others(self):
        rng, voided = np.random.default_rng(0), 0
        for _ in range(200):
            worths = rng.normal(10.0, 1.0, 60)
            log = [np.full(LENGTH, worth / LENGTH) for worth in worths[:30]]
            earnings = earnings_of_log(log, length=LENGTH, floor=0.0, ends=False)
            budget = supervised(dip_budget(0.5, earnings), by_log=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for worth in worths[30:]:
                    goes(budget, "old " * LENGTH, free=False, reward=worth / LENGTH)
            voided += budget.logged == 0
        assert voided <= 4


def test_without_trials_the_reference_becomes_better_known(budget):
    goes(budget, "old " * LENGTH, free=False)
    assert budget.earnings.episodes == 21 and budget.trials == 0
    assert budget.ledger.own == pytest.approx(10.0) and budget.ledger.units == 0.0


def test_a_trial_that_nobody_lets_begin_is_put_off_and_booked_from_its_beginning(budget):
    assert budget.acting == 1
    goes(budget, "old old old")
    assert budget.ledger.own == pytest.approx(3.0)
    assert budget.acting == 1, "it may still begin"
    goes(budget, "new " * (LENGTH - 3))
    assert budget.trials == 1 and budget.ledger.other == pytest.approx(7.0)
    assert budget.ledger.units == pytest.approx(0.7)
    assert budget.record_of(1)[1] == pytest.approx(0.7)


def test_a_trial_that_never_begins_leaves_an_episode_of_the_reference(budget):
    goes(budget, "old " * LENGTH)
    assert budget.trials == 0 and budget.earnings.episodes == 21
    assert budget.ledger.units == 0.0 and budget.ledger.nearest == []


def test_it_is_not_put_off_where_episodes_may_end_early(budget):
    budget.earnings.ends = True
    assert budget.acting == 1
    goes(budget, "old")
    assert budget.acting == REFERENCE and budget.trials == 0


def test_a_trial_that_is_cut_short_is_no_verdict(budget):
    goes(budget, "new new new old")
    assert budget.acting == REFERENCE
    assert (budget.lost, budget.challenger) == (0, 1)
    assert budget.record_of(1)[1] == pytest.approx(0.3), "what it did so far counts"


def test_what_the_user_lets_act_is_booked_and_keeps_the_budget_from_trials(budget):
    for _ in range(3):
        goes(budget, "new " * LENGTH, free=False, reward=0.0)
    assert budget.ledger.units == pytest.approx(3.0) and budget.earnings.episodes == 20
    assert budget.affordable() < 0.0 and budget.acting == REFERENCE
    assert budget.trials == 0


def test_an_alarm_takes_back_every_promotion(budget):
    while budget.incumbent == REFERENCE:
        goes(budget, "new " * LENGTH, reward=1.5)
    budget.offer(2)
    budget.take_back()
    assert budget.incumbents == [REFERENCE] and budget.kept == {REFERENCE}
    assert budget.demoted == 1 and budget.acting == REFERENCE
    assert budget.offer(3), "a newer one may be tried"
