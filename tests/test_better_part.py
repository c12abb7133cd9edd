"""Which part of a log is cloned: worked examples, and what holds of every log."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.data.better_part import better_part, logged_episodes


def log(*episodes):
    """Reward and both flags of episodes (length, reward a step, ending); "open" has no flag."""
    lengths = [length for length, _, _ in episodes]
    reward = np.repeat([float(rate) for _, rate, _ in episodes], lengths)
    last = np.cumsum(lengths) - 1
    flags = np.zeros((2, len(reward)), bool)
    for at, (_, _, ending) in zip(last, episodes, strict=True):
        if ending != "open":
            flags[("end", "cut").index(ending), at] = True
    return reward, *flags


def part_of(*episodes, share=None):
    return better_part(logged_episodes(*log(*episodes)), share=share)


def test_worth_and_place_of_the_episodes_of_a_small_log():
    found = logged_episodes(*log((2, 3.0, "end"), (4, 1.0, "cut"), (1, 9.0, "open")))
    np.testing.assert_array_equal(found.first, [0, 2, 6])
    np.testing.assert_array_equal(found.stop, [2, 6, 7])
    np.testing.assert_array_equal(found.worth[:2], [6.0, 4.0])
    np.testing.assert_array_equal(found.ranked, [True, True, False])


def test_the_rule_worked_by_hand():
    # Half of the 100 rows are the best five episodes: 9, 8, 7, 6, 5 a step, 70 on average. All ten
    # have 45. The bar is 70 - 0.25 * 25 = 63.75, so none of the others joins.
    part = part_of(*((10, rate, "cut") for rate in (4, 9, 0, 1, 8, 7, 3, 6, 2, 5)))
    np.testing.assert_array_equal(part.returns, [90.0, 80.0, 70.0, 60.0, 50.0])
    np.testing.assert_array_equal(part.rows[:20], np.r_[10:20, 40:50])
    assert (part.mean_return, part.log_return) == (70.0, 45.0)
    assert part.sd_return == pytest.approx(np.sqrt(200.0))
    assert len(part.rows) == 50


def test_of_two_mixed_policies_all_episodes_of_the_better_one_are_cloned():
    rng = np.random.default_rng(0)
    rates = rng.permutation(np.r_[rng.normal(5.0, 0.3, 100), rng.normal(12.0, 0.2, 50)])
    part = part_of(*((1000, rate, "cut") for rate in rates))
    better = np.flatnonzero(rates > 10.0)
    assert set(part.rows // 1000) == set(better)
    assert len(part.rows) == 50_000


def test_where_returns_do_not_differ_the_whole_log_is_cloned():
    np.testing.assert_array_equal(part_of(*[(7, 0.3, "cut")] * 9).rows, np.arange(63))


def test_one_long_episode_is_cloned_as_a_whole():
    for ending in ("end", "cut", "open"):
        np.testing.assert_array_equal(part_of((500, 0.1, ending)).rows, np.arange(500))


def test_of_two_episodes_the_better_one_is_cloned():
    np.testing.assert_array_equal(part_of((50, 0, "cut"), (50, 1, "cut")).rows, np.arange(50, 100))


def test_an_episode_that_the_logs_end_or_a_join_cuts_is_not_ranked():
    whole = [(100, rate, "end") for rate in (1, 2, 3, 4)]
    for rate in (50.0, -50.0):
        for part in (
            part_of(*whole, (40, rate, "open")),
            part_of(*whole[:2], (40, rate, "cut"), *whole[2:]),
        ):
            np.testing.assert_array_equal(part.returns, [400.0, 300.0])
            assert part.log_return == 250.0


def test_an_episode_that_ended_early_counts_by_what_it_earned():
    falls = [(10, 5.0, "end")] * 50
    part = part_of(*falls, (500, 1.0, "cut"))
    np.testing.assert_array_equal(part.returns, [500.0])


def test_recordings_of_many_lengths_are_ranked_by_their_reward_a_step():
    recordings = [(100, 1.0, "cut"), (60, 3.0, "cut"), (70, 2.0, "cut"), (80, 0.0, "cut")]
    part = part_of(*recordings, share=0.4)
    np.testing.assert_array_equal(part.returns, [300.0, 200.0])
    np.testing.assert_array_equal(part.lengths, [60, 70])


def test_a_fragment_among_such_recordings_is_not_ranked():
    recordings = [(100, 1.0, "cut"), (60, 3.0, "cut"), (3, 99.0, "cut"), (80, 2.0, "cut")]
    assert part_of(*recordings).returns.max() == 300.0


endings = st.sampled_from(["end", "cut"])
episodes = st.tuples(st.integers(1, 40), st.integers(-8, 8), endings)
logs = st.lists(episodes, min_size=1, max_size=30)


@given(logs)
def test_no_ranked_episode_outside_earned_more_than_one_inside(given_log):
    found = logged_episodes(*log(*given_log))
    part = better_part(found)
    inside = np.isin(found.first, part.rows)
    assert found.ranked[inside].all()
    outside = found.worth[found.ranked & ~inside]
    assert outside.max(initial=-np.inf) <= found.worth[inside].min()


@given(logs, st.sampled_from([None, 0.1, 0.5, 1.0]))
def test_a_part_holds_whole_episodes_and_rows_enough(given_log, share):
    found = logged_episodes(*log(*given_log))
    part = better_part(found, share=share)
    ranked_rows = found.lengths[found.ranked].sum()
    assert len(part.rows) == part.lengths.sum() == len(np.unique(part.rows))
    assert ranked_rows >= len(part.rows) >= (share or 0.5) * ranked_rows - 1e-9
    assert part.mean_return >= part.log_return - 1e-9


@given(logs, st.sampled_from([2.0**-20, 8.0, 2.0**30]))
def test_the_unit_of_rewards_does_not_change_the_part(given_log, unit):
    reward, terminated, truncated = log(*given_log)
    plain = better_part(logged_episodes(reward, terminated, truncated))
    other = better_part(logged_episodes(reward * unit, terminated, truncated))
    np.testing.assert_array_equal(plain.rows, other.rows)


@given(logs, st.randoms(use_true_random=False))
def test_the_order_of_the_episodes_does_not_change_what_the_part_earned(given_log, random):
    mixed = random.sample(given_log, len(given_log))
    np.testing.assert_allclose(
        np.sort(part_of(*given_log).returns), np.sort(part_of(*mixed).returns)
    )
