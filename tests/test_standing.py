"""The record of a policy that has acted: worked by hand."""

import pytest

from moore.stages.standing import Standing

MARKS = [0, 5, 10]


def test_without_a_whole_episode_nothing_is_known_of_its_course():
    assert Standing(gain=1.0, parts=0.5).earned(MARKS, 0, 10) is None


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
