"""Trials on the way from one policy to another."""

import jax.numpy as jnp

from moore.stages.line_search import STEPS, LineSearch, between

BEGIN, GOAL = {"a": jnp.zeros(2), "b": jnp.ones(())}, {"a": jnp.ones(2), "b": jnp.full((), 5.0)}


def test_a_policy_on_the_way_has_parameters_on_the_way():
    half = between(BEGIN, GOAL, 0.5)
    assert half["a"].tolist() == [0.5, 0.5] and float(half["b"]) == 3.0
    assert between(BEGIN, GOAL, 1.0)["b"] == GOAL["b"]


def test_there_is_nothing_to_try_before_a_search_begins():
    assert not LineSearch().goes_on(incumbent=0)


def test_each_policy_that_wins_is_followed_by_one_that_is_farther():
    search, found, incumbent = LineSearch(), [], 7
    search.begin(BEGIN, GOAL)
    while search.goes_on(incumbent):
        incumbent += 1
        found.append(float(search.take(incumbent)["a"][0]))
    assert found == list(STEPS) and search.tried == [8, 9, 10]


def test_the_search_ends_with_the_first_one_that_does_not_win():
    search = LineSearch(tried=[3])
    search.begin(BEGIN, GOAL)
    search.take(5)
    assert not search.goes_on(incumbent=3) and search.left == []
