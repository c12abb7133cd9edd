"""Who acts, how an action moves after a switch, and what interlocks do to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.guarding.interlocks import DeadMan, Interlocks, allowed
from moore.guarding.modes import Conditions, Mode, first_switchboard, step, who_acts

OBS = np.zeros(2, np.float32)


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


WIDE = Interlocks(array(-10.0), array(10.0))


@pytest.mark.parametrize(
    "mode, conditions, actor",
    [
        (Mode.OFF, Conditions(), "old"),
        (Mode.SHADOW, Conditions(), "old"),
        (Mode.CANARY, Conditions(), "new"),
        (Mode.CANARY, Conditions(affordable=False), "old"),
        (Mode.ON, Conditions(affordable=False), "new"),
        (Mode.ON, Conditions(trusted=False), "old"),
        (Mode.CANARY, Conditions(trusted=False), "old"),
        (Mode.ON, Conditions(stopped="The observation is 9 s old; 1 s are allowed."), "old"),
    ],
)
def test_who_acts_in_which_mode(mode, conditions, actor):
    assert who_acts(mode, conditions)[0] == actor


def test_the_reason_is_the_one_that_counts():
    assert who_acts(Mode.ON, Conditions(stopped="Too old."))[1] == "Too old."
    assert who_acts(Mode.CANARY, Conditions(affordable=False))[1] == (
        "The loss budget does not allow a trial."
    )


def acts(board, old, new, now, policy=None, **conditions):
    return step(
        board, obs=OBS, old=array(old), new=None if new is None else array(new), policy=policy,
        now=now, conditions=Conditions(**conditions),
    )  # fmt: skip


def test_shadow_sends_the_old_action_and_reports_both():
    _, sent = acts(first_switchboard(Mode.SHADOW, WIDE), 1.0, 5.0, 0.0)
    assert (sent.action, sent.old, sent.new, sent.actor) == (1.0, 1.0, 5.0, "old")


def test_after_a_switch_the_action_moves_at_the_rate_and_is_then_free():
    board, _ = acts(first_switchboard(Mode.SHADOW, WIDE, array(2.0)), 0.0, 5.0, 0.0)
    board, sent = acts(board.in_mode(Mode.ON), 0.0, 5.0, 1.0)
    assert (sent.action, sent.switched, sent.in_transfer) == (2.0, True, True)
    board, sent = acts(board, 0.0, 5.0, 1.5)
    assert (sent.action, sent.switched) == (3.0, False)
    board, sent = acts(board, 0.0, 5.0, 2.5)
    assert (sent.action, sent.in_transfer) == (5.0, False)
    _, sent = acts(board, 0.0, -5.0, 2.6)  # arrived: no rate limit any more
    assert sent.action == -5.0


def test_where_another_policy_takes_over_the_action_moves_at_the_rate_too():
    board, sent = acts(first_switchboard(Mode.ON, WIDE, array(2.0)), 0.0, 5.0, 0.0, "a")
    board, sent = acts(board, 0.0, -5.0, 1.0, "a")
    assert sent.action == -5.0, "the same policy does as it wants"
    board, sent = acts(board, 0.0, 5.0, 2.0, "b")
    assert (sent.action, sent.switched, sent.in_transfer) == (-3.0, False, True)
    board, sent = acts(board, 0.0, -2.0, 3.0, "b")
    assert (sent.action, sent.in_transfer) == (-2.0, False)


def test_a_policy_that_nobody_can_name_is_not_taken_for_another_one():
    """A session's log may be of a version that did not tell."""
    board, _ = acts(first_switchboard(Mode.ON, WIDE, array(2.0)), 0.0, 5.0, 0.0)
    _, sent = acts(board, 0.0, -5.0, 1.0, "b")
    assert (sent.action, sent.in_transfer) == (-5.0, False)


def test_an_entry_that_has_arrived_is_free_while_another_still_moves():
    wide = Interlocks(array(-10.0, -10.0), array(10.0, 10.0))
    board, now = first_switchboard("shadow", wide, array(1.0, 1.0)), 0.0
    for new in ([0.5, 5.0], [0.5, 5.0], [-3.0, 5.0]):
        board, sent = step(
            board, obs=OBS, old=array(0.0, 0.0), new=array(*new), now=now, conditions=Conditions()
        )
        board, now = board.in_mode("on"), now + 1.0
    assert sent.action.tolist() == [-3.0, 2.0]


@given(
    wanted=st.lists(st.floats(-10.0, 10.0, width=32), min_size=2, max_size=20),
    rate=st.floats(0.125, 4.0, width=32),
)
def test_during_a_transfer_no_step_is_larger_than_the_rate_allows(wanted, rate):
    board, _ = acts(first_switchboard(Mode.SHADOW, WIDE, array(rate)), 0.0, 0.0, 0.0)
    board, before, now = board.in_mode(Mode.ON), 0.0, 0.0
    for value in wanted:
        now += 1.0
        board, sent = acts(board, 0.0, value, now)
        if sent.in_transfer:
            assert abs(float(sent.action[0]) - before) <= rate + 1e-5
        before = float(sent.action[0])


def test_on_an_alarm_the_old_controller_has_the_next_action():
    board, _ = acts(first_switchboard(Mode.ON, WIDE), 0.0, 5.0, 0.0)
    _, sent = acts(board, 0.0, 5.0, 1.0, trusted=False)
    assert (sent.action, sent.actor, sent.switched) == (0.0, "old", True)
    assert sent.why == "The guard does not trust the new policy."


@pytest.mark.parametrize("new", [None, math.nan, math.inf])
def test_a_policy_without_a_usable_action_does_not_act(new):
    _, sent = acts(first_switchboard(Mode.ON, WIDE), 1.0, new, 0.0)
    assert (sent.action, sent.why) == (1.0, "The new policy has no usable action.")


def test_a_mode_is_chosen_by_its_name():
    board = first_switchboard(Mode.OFF, WIDE)
    assert [board.in_mode(mode).mode for mode in ("shadow", "canary", "on")] == [*Mode][1:]
    with pytest.raises(InputError, match="mode is auto; expected one of off, shadow, canary, on"):
        board.in_mode("auto")


def limited(wanted, last=None, seconds=1.0, **kwargs):
    limits = {"low": array(-1.0, 0.0), "high": array(1.0, 4.0)} | kwargs
    return allowed(
        Interlocks(**limits), np.asarray(wanted, np.float32), obs=OBS, last=last, seconds=seconds
    )


def test_actions_are_moved_into_the_bounds_and_it_is_said():
    found = limited([3.0, 2.0])
    assert found.action.tolist() == [1.0, 2.0]
    assert found.reasons == ("The action was outside its bounds and is moved to them.",)
    assert limited([0.5, 2.0]).reasons == ()


def test_one_rate_holds_for_every_entry():
    low, high = array(0.0, 0.0), array(1.0, 1.0)
    assert Interlocks(low, high, rate=np.asarray(0.25)).rate.tolist() == [0.25, 0.25]


def test_an_action_changes_by_at_most_its_rate():
    found = limited([1.0, 4.0], array(0.0, 0.0), seconds=0.5, rate=array(1.0, 100.0))
    assert found.action.tolist() == [0.5, 4.0]
    assert found.reasons == ("The action may not change that fast.",)


def test_an_entry_without_a_rate_limit_is_free_also_where_no_time_has_passed():
    found = limited([1.0, 4.0], array(0.0, 0.0), seconds=0.0, rate=array(math.inf, 1.0))
    assert found.action.tolist() == [1.0, 0.0]


def test_the_bounds_have_the_last_word_after_the_rate():
    found = limited([0.5, 1.0], array(0.0, 9.0), seconds=1.0, rate=array(9.0, 1.0))
    assert found.action.tolist() == [0.5, 4.0]


def test_an_action_that_is_no_number_is_replaced_by_the_last_one():
    found = limited([math.nan, 1.0], array(0.5, 2.0))
    assert found.action.tolist() == [0.5, 2.0] and found.unusable == found.reasons[0]
    with pytest.raises(InputError, match=r"the first action is \[nan, 1.0\]"):
        limited([math.nan, 1.0])


def test_a_projection_may_couple_entries_and_the_bounds_have_the_last_word():
    def not_both(obs, action):
        return np.array([action[0], 9.0 if action[0] > 0.0 else action[1]])

    found = limited([0.5, 2.0], project=not_both)
    assert found.action.tolist() == [0.5, 4.0]
    assert found.reasons == (
        "The projection has changed the action.",
        "The action was outside its bounds and is moved to them.",
    )
    assert found.unusable == ""


@pytest.mark.parametrize(
    "broken",
    [
        lambda obs, a: a[:1],
        lambda obs, a: 1 / 0,
        lambda obs, a: exit(3),
        lambda obs, a: a * np.nan,
        lambda obs, a: a * 1j,
        lambda obs, a: np.ma.array(a, mask=True),
    ],
)
def test_a_projection_that_fails_holds_the_last_action(broken):
    found = limited([0.5, 2.0], array(0.0, 1.0), project=broken)
    assert found.action.tolist() == [0.0, 1.0]
    assert found.reasons[0].endswith("the last action is held.")
    assert found.unusable == found.reasons[0]
    with pytest.raises(InputError, match="no earlier action to hold"):
        limited([0.5, 2.0], project=broken)


def test_time_outs_say_how_long_nothing_was_asked_and_how_old_an_observation_is():
    dead = DeadMan(between_calls=2.0, observation_age=1.0)
    assert dead.expired(10.0, last_call=8.5) == dead.expired(10.0, last_call=None) == ""
    assert dead.expired(10.0, last_call=7.0) == ("No action was asked for in 3 s; 2 s are allowed.")
    assert dead.stale(10.0, observed_at=9.5) == ""
    assert dead.stale(10.0, observed_at=8.0) == "The observation is 2 s old; 1 s are allowed."
    assert "2 s in the future" in dead.stale(10.0, observed_at=12.0)
    assert "nan s old" in dead.stale(10.0, observed_at=math.nan)


def test_without_time_outs_nothing_is_ever_late():
    assert DeadMan().expired(1e9, last_call=0.0) == DeadMan().stale(1e9, observed_at=0.0) == ""


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda: Interlocks(array(1.0), array(0.0)), "the bounds are"),
        (lambda: Interlocks(array(0.0), array(1.0), rate=array(0.0)), "rate limits are"),
        (lambda: DeadMan(between_calls=0.0), "between_calls is 0.0"),
    ],
)
def test_impossible_limits_are_told(make, told):
    with pytest.raises(InputError, match=told):
        make()
