"""Trials on the way from one policy to another."""

import jax.numpy as jnp

from moore.stages.line_search import STEPS, LineSearch, between

BEGIN, GOAL = {"a": jnp.zeros(2), "b": jnp.ones(())}, {"a": jnp.ones(2), "b": jnp.full((), 5.0)}


def test_a_policy_on_the_way_has_parameters_on_the_way():
    half = between(BEGIN, GOAL, 0.5)
    assert half["a"].tolist() == [0.5, 0.5] and float(half["b"]) == 3.0
    assert between(BEGIN, GOAL, 1.0)["b"] == GOAL["b"]


def test_each_policy_is_farther_on_the_way_than_the_one_before():
    search, found = LineSearch(tried=[3]), []
    search.begin(BEGIN, GOAL)
    while search.left:
        found.append(float(search.take(5 + len(found))["a"][0]))
    assert found == list(STEPS) and search.tried == [3, 5, 6] and search.last == 6


def test_after_a_loss_nothing_is_left_to_try():
    search = LineSearch()
    search.begin(BEGIN, GOAL)
    search.end()
    assert search.left == []
