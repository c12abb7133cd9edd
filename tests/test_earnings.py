"""What the reference earns, worked by hand: early ends, stretches, places between the marks."""

import math

import numpy as np
import pytest

from moore.errors import InputError
from moore.stages.earnings import Earnings, at_step, drawdown, earnings_of_log


def test_after_an_early_end_the_steps_earn_zero_reward_which_lies_above_the_floor():
    """Seven steps of 0.5 over a floor of -1, then thirteen of 0: 7 * 1.5 + 13 * 1."""
    log = [np.full(7, 0.5), np.full(20, 0.5)]
    earnings = earnings_of_log(log, length=20, floor=-1.0, ends=True)
    assert earnings.worths == [pytest.approx(23.5), pytest.approx(30.0)]
    assert earnings.level == pytest.approx(26.75)
    assert earnings.units(0, 7) == pytest.approx(2 * 10.5 / (2 * 26.75))
    assert earnings.units(7, 20) == pytest.approx((13.0 + 19.5) / (2 * 26.75))
    assert earnings.units(0, 20) == pytest.approx(1.0)


def test_a_course_is_known_between_its_marks_and_stays_after_the_last():
    course, marks = [0.0, 2.0, 6.0], [0, 10, 20]
    values = {0: 0.0, 5: 1.0, 10: 2.0, 15: 4.0, 20: 6.0, 25: 6.0}
    assert {step: at_step(course, marks, step) for step in values} == values


def test_a_reference_that_earns_below_the_floor_for_a_while_is_no_part_of_the_loss():
    rewards = np.concatenate([np.full(10, -1.0), np.full(10, 3.0)])
    earnings = earnings_of_log([rewards] * 4, length=20, floor=0.0, ends=False)
    assert earnings.units(0, 10) == pytest.approx(-0.5) and earnings.part(0, 10) == 0.0
    assert earnings.part(10, 20) == pytest.approx(1.5)
    assert earnings.units(10, 10) == earnings.units(12, 10) == 0.0


def test_the_most_units_may_come_at_the_very_next_mark_and_none_come_at_the_end():
    """Ten steps of 1, one of 2, and from then on half a point is lost at every step."""
    rewards = np.concatenate([np.full(10, 1.0), [2.0], np.full(9, -0.5)])
    earnings = earnings_of_log([rewards] * 4, length=20, floor=0.0, ends=False)
    assert earnings.level == pytest.approx(7.5)
    assert earnings.most_units(10) == pytest.approx(2.0 / 7.5)
    assert earnings.most_units(20) == 0.0


def test_bounds_on_the_mean_worth_never_fall_below_zero_and_are_open_with_one_episode():
    """Three episodes that scatter more widely than their mean say nothing of a lower bound."""
    wide = [np.full(20, value) for value in (0.05, 1.0, 5.0)]
    low, high = earnings_of_log(wide, length=20, floor=0.0, ends=False).level_within(0.05)
    assert low == 0.0 and high > 40.0
    one = earnings_of_log(wide[:1], length=20, floor=0.0, ends=False)
    assert one.level_within(0.05) == (0.0, math.inf)


def test_a_mean_above_the_floor_is_enough_however_small_and_none_is_refused():
    small = earnings_of_log([np.full(20, 0.01)] * 3, length=20, floor=0.0, ends=False)
    assert small.level == pytest.approx(0.2)
    with pytest.raises(InputError, match="earns 20 an episode, which is not above the floor of 20"):
        earnings_of_log([np.ones(20)] * 3, length=20, floor=1.0, ends=False)
    with pytest.raises(InputError, match="at least one"):
        Earnings(0, 0.0, False)


def test_long_records_are_cut_into_whole_stretches_and_the_rest_is_left_out():
    earnings = earnings_of_log([np.arange(50.0)], length=20, floor=0.0, ends=False)
    assert earnings.worths == [pytest.approx(190.0), pytest.approx(590.0)]
    assert earnings.episodes == 2 and Earnings(20, 0.0, False).episodes == 0
    assert earnings_of_log([], length=20, floor=0.0, ends=False).episodes == 0


@pytest.mark.parametrize(
    ("rewards", "ends", "length", "lost"),
    [
        ([1.0, 2.0, 0.0], [], 3, 0.0),
        ([1.0, -2.0, 1.0, -3.0, 9.0], [4], 9, 4.0),
        ([-1.0, -2.0, 5.0], [2], 9, 3.0),
        ([1.0, -2.0, -2.0, 1.0], [1, 3], 9, 2.0),
        ([1.0, -2.0, -2.0, 1.0], [3], 2, 2.0),
        ([0.0, -4.0, 0.0, -1.0, 2.0, 2.0], [1, 3, 5], 9, 1.0),
    ],
    ids=(
        "never",
        "from a height",
        "at first",
        "not over an end",
        "not over the length",
        "the median of three",
    ),
)
def test_what_an_episode_loses_at_a_stretch(rewards, ends, length, lost):
    flags = np.isin(np.arange(len(rewards)), ends)
    assert drawdown(np.array(rewards) + 7.0, flags, length, 7.0) == lost
