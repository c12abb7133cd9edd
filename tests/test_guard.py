"""The guard: alarms on returns and signals, the way back, and the spending of the error rate."""

import math

import numpy as np
import pytest

from moore.errors import InputError
from moore.guarding.comparison import Range
from moore.guarding.guard import first_guard
from moore.guarding.signals import Limit, first_signal

GOOD = np.random.default_rng(0).normal(100.0, 10.0, 60).tolist()


def fallen_back(**kwargs):
    """A guard after an alarm on returns."""
    guard = first_guard(GOOD, **kwargs)
    for _ in range(30):
        guard = guard.after_episode(50.0, by="new")
    assert not guard.trusted
    return guard


def test_a_policy_that_earns_less_than_the_reference_is_not_trusted_any_more():
    alarm = fallen_back().alarm
    assert alarm.monitor == "returns"
    assert alarm.evidence >= alarm.needed == 40.0
    assert "earns less than the controller that ran before (after " in alarm.text


def test_a_policy_that_earns_as_much_stays_trusted():
    guard, rng = first_guard(GOOD), np.random.default_rng(1)
    for _ in range(200):
        guard = guard.after_episode(rng.normal(100.0, 10.0), by="new")
    assert guard.trusted


def test_bad_episodes_of_the_reference_are_not_held_against_the_policy():
    guard = first_guard(GOOD)
    for _ in range(50):
        guard = guard.after_episode(0.0, by="old").after_episode(0.0, by="both")
    assert guard.trusted and guard.comparison.acting.count == 0


def test_the_policy_is_handed_over_again_only_if_the_gate_agrees():
    guard = fallen_back()
    assert guard.hand_over(lambda: False) is guard
    again = guard.hand_over(lambda: True)
    assert again.trusted and again.tests == 2 and again.alarms == guard.alarms


def test_episodes_of_a_policy_that_is_not_trusted_do_not_count():
    guard = fallen_back()
    assert guard.after_episode(0.0, by="new") is guard


def test_the_gate_is_not_asked_while_the_policy_is_trusted():
    def gate() -> bool:
        raise AssertionError("asked")

    guard = first_guard(GOOD)
    assert guard.hand_over(gate) is guard


def test_what_is_known_of_the_reference_stays_and_the_test_of_the_policy_begins_anew():
    before = fallen_back().after_episode(100.0, by="old")
    after = before.hand_over(lambda: True)
    assert after.comparison.reference is before.comparison.reference
    assert after.comparison.acting.count == 0 and after.comparison.evidence() < 40.0


def test_all_tests_together_have_the_stated_error_rate():
    limits = [Limit("temperature", high=400.0), Limit("pressure", high=3.0, allowed=0.01)]
    guard, spent = first_guard(GOOD, error=0.1, limits=limits), 0.0
    for _ in range(200):
        spent += 2.0 / guard.needed  # two monitors alarm by chance: returns, and pressure
        guard = guard.after_step({"temperature": 500.0, "pressure": 1.0}, 0.0, by="new")
        guard = guard.hand_over(lambda: True)
    assert guard.tests == 201
    assert spent == pytest.approx(0.1, rel=0.01) and spent <= 0.1


def test_a_limit_that_may_never_break_alarms_at_once_and_says_what_broke_it():
    guard = first_guard(None, limits=[Limit("temperature", low=250.0, high=400.0, rate=5.0)])
    guard = guard.after_step({"temperature": 390.0}, 0.0, by="new")
    assert guard.after_step({"temperature": 394.0}, 1.0, by="new").trusted
    for value, now, told in (
        (401.0, 60.0, "temperature is 401, above 400"),
        (249.0, 60.0, "temperature is 249, below 250"),
        (396.0, 1.0, "temperature went from 390 to 396 in 1 s"),
        (math.nan, 1.0, "temperature is not a finite number"),
    ):
        alarm = guard.after_step({"temperature": value}, now, by="new").alarm
        assert alarm.text.startswith(f"{told}; the controller that ran before acts")


def test_what_a_signal_does_while_the_reference_acts_is_not_held_against_the_policy():
    guard = first_guard(None, limits=[Limit("temperature", high=400.0)])
    guard = guard.after_step({"temperature": 500.0}, 0.0, by="old")
    assert guard.trusted
    assert guard.after_step({"temperature": 390.0}, 1.0, by="new").trusted


def test_a_signal_that_may_break_at_times_alarms_when_it_does_so_too_often():
    guard = first_guard(None, limits=[Limit("pressure", high=3.0, allowed=0.01)])
    for step in range(300):
        guard = guard.after_step({"pressure": 4.0 if step == 150 else 1.0}, float(step), by="new")
    assert guard.trusted
    for step in range(300, 310):
        guard = guard.after_step({"pressure": 4.0}, float(step), by="new")
    assert not guard.trusted
    assert "pressure breaks its limits in more than 0.01 of the blocks" in guard.alarm.text


def test_a_block_counts_once_however_often_the_limit_breaks_in_it():
    limit = Limit("pressure", high=3.0, allowed=0.1, block=5)
    once = often = first_signal(limit)
    for step in range(10):
        once = once.begun().after(4.0 if step == 2 else 1.0, float(step))
        often = often.begun().after(4.0 if step < 5 else 1.0, float(step))
    assert once.detector.count == often.detector.count == 2
    assert once.evidence() == often.evidence()


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: Limit("p", low=2.0, high=1.0), "has the limits 2.0 and 1.0"),
        (lambda: Limit("p", rate=0.0), "has rate 0.0"),
        (lambda: Limit("p", allowed=1.0), "has allowed 1.0"),
        (lambda: Limit("p", block=0), "has block 0"),
        (lambda: first_guard(None, error=0.0), "error is 0.0"),
        (lambda: first_guard(None, limits=[Limit("p"), Limit("p")]), "have the same name: p, p"),
        (lambda: first_guard([1.0]), "has 1 returns; expected at least 10"),
        (
            lambda: first_guard(GOOD).after_episode(math.nan, by="new"),
            "return of an episode is nan",
        ),
        (
            lambda: first_guard(None, limits=[Limit("p")]).after_step({"q": 1.0}, 0.0, by="new"),
            "watched signal p was not read",
        ),
    ],
)
def test_impossible_settings_and_readings_are_told(make, told):
    with pytest.raises(InputError, match=told):
        make()


def test_a_range_of_the_user_lets_all_returns_of_the_reference_count():
    given = first_guard(GOOD, range=Range(50.0, 110.0))
    assert given.comparison.reference.total.max() > (
        first_guard(GOOD).comparison.reference.total.max()
    )
