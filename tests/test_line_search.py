"""The first trials, towards the newest policy of the offline stage."""

import jax.numpy as jnp
import pytest

from moore.stages.line_search import STEPS, LineSearch, between, search_towards

BEGIN, GOAL = {"a": jnp.zeros(2), "b": jnp.ones(())}, {"a": jnp.ones(2), "b": jnp.full((), 5.0)}


def test_a_policy_on_the_way_has_parameters_on_the_way():
    half = between(BEGIN, GOAL, 0.5)
    assert half["a"].tolist() == [0.5, 0.5] and float(half["b"]) == 3.0
    assert between(BEGIN, GOAL, 1.0)["b"] == GOAL["b"]


@pytest.mark.parametrize("goal", [None, BEGIN], ids=("none", "the same policy"))
def test_there_is_nothing_to_search_without_another_policy(goal):
    assert search_towards(goal, BEGIN).left == []


def test_each_policy_that_wins_is_followed_by_one_that_is_farther():
    search, found = search_towards(GOAL, BEGIN), []
    incumbent = 0
    while search.goes_on(incumbent):
        incumbent += 1
        found.append(float(search.take(incumbent, BEGIN, GOAL)["a"][0]))
    assert found == list(STEPS) and search.tried == [1, 2, 3, 4]


def test_the_search_ends_with_the_first_one_that_does_not_win():
    search = LineSearch([0.25, 0.5])
    search.take(1, BEGIN, GOAL)
    assert not search.goes_on(incumbent=0) and search.left == []
