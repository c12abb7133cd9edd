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
    guard, spent = first_guard(GOOD, error=0.1, limits=limits, recovery=0), 0.0
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


def steps(guard, values, by="old"):
    """The guard after these readings of the temperature, one a second."""
    for value in values:
        guard = guard.after_step({"temperature": value}, 0.0, by=by)
    return guard


def agreed(guard, **how):
    return guard.hand_over(lambda: True, **how)


class TestRecovery:
    LIMITS = (Limit("temperature", high=400.0),)

    def test_as_long_as_a_signal_is_out_of_its_limits_no_gate_can_hand_over(self):
        guard = steps(first_guard(None, limits=self.LIMITS, recovery=3), [500.0], by="new")
        for _ in range(20):
            guard = steps(guard, [500.0])
            assert not agreed(guard).trusted and not agreed(guard, seen_to=True).trusted

    def test_it_must_keep_its_limits_without_a_break(self):
        guard = steps(first_guard(None, limits=self.LIMITS, recovery=3), [500.0], by="new")
        guard = steps(guard, [390.0, 390.0, math.nan, 390.0, 390.0])
        assert not agreed(guard).trusted
        assert "temperature has kept its limits for 2 readings" in guard.awaits
        assert agreed(guard, seen_to=True).trusted, "a person need not wait"
        guard = steps(guard, [390.0])
        assert not guard.awaits and agreed(guard).trusted

    def test_every_further_alarm_asks_for_twice_as_long(self):
        guard = first_guard(None, limits=self.LIMITS, recovery=3)
        for needed in (3, 6, 12):
            guard = steps(guard, [500.0], by="new")
            assert guard.readings_needed == needed
            assert not agreed(steps(guard, [390.0] * (needed - 1))).trusted
            guard = agreed(steps(guard, [390.0] * needed))
            assert guard.trusted

    def test_other_signals_must_keep_their_limits_now(self):
        guard = first_guard(None, limits=[*self.LIMITS, Limit("p", high=3.0)], recovery=3)

        def goes(guard, temperature, p, by="old"):
            return guard.after_step({"temperature": temperature, "p": p}, 0.0, by=by)

        guard = goes(guard, 500.0, 1.0, by="new")
        for p in (1.0, 4.0, 4.0, 4.0):  # the old controller may break a limit, too
            guard = goes(guard, 390.0, p)
        assert guard.awaits == "p is out of its limits." and not agreed(guard).trusted
        assert agreed(goes(guard, 390.0, 2.0)).trusted

    def test_after_an_alarm_on_returns_too(self):
        guard = fallen_back(limits=self.LIMITS)
        assert guard.alarm.monitor == "returns" and guard.suspects == ()
        assert not agreed(steps(guard, [500.0])).trusted
        assert agreed(steps(guard, [390.0])).trusted

    def test_all_signals_that_were_out_at_the_alarm_are_suspected(self):
        guard = first_guard(None, limits=[*self.LIMITS, Limit("p", high=3.0)], recovery=3)
        guard = guard.after_step({"temperature": 500.0, "p": 4.0}, 0.0, by="new")
        assert guard.suspects == ("temperature", "p")

    def test_a_signal_that_may_break_at_times_must_do_so_more_rarely_than_allowed(self):
        limit = Limit("temperature", high=400.0, allowed=0.1)
        guard = first_guard(None, limits=[limit], recovery=20)
        guard = steps(guard, [500.0] * 50, by="new")
        often, rarely = [500.0, *[390.0] * 4] * 100, [500.0, *[390.0] * 39] * 2
        assert not agreed(steps(guard, often)).trusted
        assert agreed(steps(guard, rarely)).trusted

    def test_what_it_has_kept_before_the_alarm_does_not_count(self):
        limit = Limit("temperature", high=400.0, allowed=0.1)
        guard = steps(first_guard(None, limits=[limit], recovery=20), [390.0] * 500, by="new")
        while guard.trusted:
            guard = steps(guard, [500.0], by="new")
        assert not agreed(steps(guard, [390.0] * 19)).trusted
        assert agreed(steps(guard, [390.0] * 20)).trusted

    def test_without_signals_the_gate_decides_alone(self):
        assert agreed(fallen_back()).trusted


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
        (lambda: first_guard(None, recovery=-1), "recovery is -1"),
        (lambda: first_guard(None, limits=[Limit("p"), Limit("p")]), "have the same name: p, p"),
        (lambda: first_guard([1.0]), "has 1 returns of whole episodes; expected at least 10"),
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
