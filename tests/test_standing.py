"""The record of a policy that has acted: worked by hand."""

import pytest

from moore.stages.standing import Standing, Tally

MARKS = [0, 5, 10]


def test_without_a_whole_episode_nothing_is_known_of_its_course():
    assert Standing(begun=Tally(1.0, 0.5)).earned(MARKS, 0, 10) is None


def test_its_course_is_the_mean_of_its_whole_episodes():
    standing = Standing()
    standing.add_episode([0.0, 0.0, 8.0])
    standing.add_episode([0.0, 2.0, 4.0])
    assert standing.earned(MARKS, 0, 10) == 6.0
    assert standing.earned(MARKS, 5, 10) == 5.0
    assert standing.earned(MARKS, 0, 4) == pytest.approx(0.8), "between marks by interpolation"


def test_its_scatter_is_told_by_three_episodes_and_one_that_went_wrong_does_not_count():
    standing = Standing()
    for worth in (10.0, 12.0):
        standing.add_episode([0.0, 0.0, worth])
        assert standing.spread == 0.0
    standing.add_episode([0.0, 0.0, -500.0])
    assert standing.spread == pytest.approx(1.4826 * 2.0)


def test_a_part_of_an_episode_counts_until_there_is_a_whole_one():
    standing = Standing()
    standing.add(9.0, 0.1, fresh=False, whole=False)
    assert standing.mean() == (pytest.approx(90.0), 0.1)
    standing.add(1.0, 0.9, fresh=False)
    assert standing.mean() == (pytest.approx(10.0), 1.0), "less than an episode: all of it"
    standing.add(1.0, 0.1, fresh=False)
    assert standing.mean() == (pytest.approx(2.0), pytest.approx(1.0))


def test_a_trial_that_was_stopped_counts_with_the_whole_ones():
    standing = Standing()
    standing.add(4.0, 1.0, fresh=False)
    standing.add(-2.0, 0.25, fresh=False)
    assert standing.mean() == (pytest.approx(1.6), 1.25)


def test_what_it_earned_since_the_promotion_is_a_record_of_its_own():
    standing = Standing()
    standing.add(4.0, 1.0, fresh=False)
    standing.add(1.0, 0.5, fresh=True)
    standing.add(0.0, 0.5, fresh=True)
    assert standing.mean() == (pytest.approx(4.0), 1.0)
    assert standing.fresh == (pytest.approx(1.0), 1.0)


def test_whole_episodes_before_the_promotion_count_for_more_than_parts_after_it():
    standing = Standing()
    standing.add(2.0, 1.0, fresh=False)
    standing.add(5.0, 1.0, fresh=True, whole=False)
    assert standing.mean() == (pytest.approx(2.0), 1.0)
    assert standing.fresh == (pytest.approx(5.0), 1.0)
