"""Tests by betting: hand-worked wealth, and error rates that hold whenever the wealth is read."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.guarding.betting import SHARES, factors, first_detector, first_wealth
from moore.guarding.comparison import Range, first_comparison, split_reference

HALF = np.array([0.5])


def test_a_bet_on_low_values_wins_below_the_level_and_loses_above_it():
    # 1 + share (0.5 - x) / 0.5 at x = 0, 0.5 and 1.
    assert factors(0.0, HALF)[:, 0] == pytest.approx(1.0 + SHARES)
    assert factors(0.5, HALF)[:, 0] == pytest.approx(1.0)
    assert factors(1.0, HALF)[:, 0] == pytest.approx(1.0 - SHARES)


def test_wealth_is_the_mean_of_what_the_bets_have_made():
    after = first_wealth(HALF).after(0.0).after(1.0)
    assert after.total[0] == pytest.approx(np.mean((1.0 + SHARES) * (1.0 - SHARES)))


def test_a_detector_bets_half_on_the_first_value_and_a_sixth_from_the_second_on():
    one = first_detector(HALF).after(0.0)
    grown = np.mean(1.0 + SHARES)
    assert one.total[0] == pytest.approx(0.5 * grown + 0.5)
    two = one.after(0.0)
    assert two.total[0] == pytest.approx(
        0.5 * np.mean((1.0 + SHARES) ** 2) + grown / 6.0 + 1.0 / 3.0
    )


@given(
    level=st.floats(0.0, 1.0),
    wins=st.floats(0.0, 1.0),
    low=st.floats(0.0, 1.0),
    high=st.floats(0.0, 1.0),
)
def test_no_bet_gains_in_the_mean_if_the_mean_is_at_least_the_level(level, wins, low, high):
    mean = wins * low + (1.0 - wins) * high
    levels = np.array([min(level, mean)])
    expected = wins * factors(low, levels) + (1.0 - wins) * factors(high, levels)
    assert (expected <= 1.0 + 1e-9).all()
    assert (factors(high, levels) >= 0.0).all()


def test_the_error_rate_holds_although_the_wealth_is_read_after_every_value():
    rng, runs = np.random.default_rng(0), 2000
    state, most = first_detector(np.array([0.3]), (runs,)), np.zeros(runs)
    for _ in range(300):
        state = state.after((rng.random(runs) < 0.3).astype(float))
        most = np.maximum(most, state.total[:, 0])
    assert np.mean(most >= 10.0) <= 0.1
    assert np.mean(most >= 10.0) > 0.0  # not held by being deaf


def test_a_change_after_a_thousand_good_values_is_found_within_ten():
    state = first_detector(np.array([0.5]))
    for _ in range(1000):
        state = state.after(0.9)
    for _ in range(10):
        state = state.after(0.0)
    assert state.total[0] < 1.0 / 0.05  # 1000 good values are not forgotten at once
    assert first_loss(state) < 30


def first_loss(state) -> int:
    """How many more values of 0 it takes to find that the mean is below 0.5."""
    count = 0
    while state.total[0] < 20.0:
        state, count = state.after(0.0), count + 1
    return count


def test_the_reference_is_tested_at_the_upper_end_of_a_cell_and_the_policy_at_its_lower_end():
    found = first_comparison(Range(0.0, 10.0)).after_reference(8.0).after_acting(5.0)
    ends = np.linspace(0.0, 1.0, len(found.acting.levels) + 1)
    products = [
        np.mean(1.0 + SHARES * (0.8 - above) / above)
        * (0.5 * np.mean(1.0 + SHARES * (below - 0.5) / (1.0 - below)) + 0.5)
        for below, above in itertools.pairwise(ends)
    ]
    assert found.evidence() == pytest.approx(min(products))


def test_a_policy_that_earns_the_same_is_not_found_worse():
    rng = np.random.default_rng(0)
    found = first_comparison(Range(-4.0, 1.0), runs=(500,))
    for _ in range(50):
        found = found.after_reference(rng.standard_normal(500))
    alarmed = np.zeros(500, bool)
    for _ in range(100):
        found = found.after_acting(rng.standard_normal(500))
        alarmed |= found.evidence() >= 20.0
    assert alarmed.mean() <= 0.05


def test_a_policy_that_earns_two_deviations_less_is_found_within_thirty_episodes():
    rng = np.random.default_rng(0)
    found = first_comparison(Range(-4.0, 1.0), runs=(100,))
    for _ in range(50):
        found = found.after_reference(rng.standard_normal(100))
    for _ in range(30):
        found = found.after_acting(rng.standard_normal(100) - 2.0)
    assert (found.evidence() >= 20.0).all()


def test_a_loss_within_the_tolerance_is_no_reason_for_an_alarm():
    def evidence(tolerance: float) -> float:
        found = first_comparison(Range(0.0, 10.0), tolerance=tolerance)
        for _ in range(50):
            found = found.after_reference(8.0).after_acting(6.5)
        return float(found.evidence())

    assert evidence(0.0) > 100.0
    assert evidence(2.0) < 1.0


def test_how_far_a_failure_lies_below_the_range_makes_no_difference():
    found = first_comparison(Range(0.0, 10.0)).after_reference(8.0)
    assert found.after_acting(-1e9).evidence() == found.after_acting(0.0).evidence()


def test_the_first_quarter_of_the_reference_sets_the_range_and_is_not_compared():
    # Of 1, 2, 3, 4, 5: median 3, quartiles 2 and 4, so a deviation of 2 / 1.349.
    found, rest = split_reference([1.0, 2.0, 3.0, 4.0, 5.0, *map(float, range(100, 115))])
    assert found.low == pytest.approx(3.0 - 4.0 * 2.0 / 1.349)
    assert found.high == pytest.approx(3.0 + 2.0 / 1.349)
    assert rest == [float(x) for x in range(100, 115)]


@pytest.mark.parametrize(
    "returns, told",
    [
        ([1.0] * 9, "has 9 returns of whole episodes; expected at least 10"),
        ([1.0] * 10 + [np.nan], "all of them finite"),
        ([1.0] * 20, "are all 1, which says nothing"),
    ],
)
def test_a_reference_that_sets_no_range_is_told(returns, told):
    with pytest.raises(InputError, match=told):
        split_reference(returns)


def test_impossible_settings_of_a_comparison_are_told():
    with pytest.raises(InputError, match=r"range of returns is 1\.0 to 1\.0"):
        Range(1.0, 1.0)
    with pytest.raises(InputError, match="tolerance is -1"):
        first_comparison(Range(0.0, 1.0), tolerance=-1.0)
