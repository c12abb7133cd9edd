"""Returns of a log, worked by hand."""

import dataclasses

import jax.numpy as jnp
import pytest

from made_models import transitions
from moore.agents.logged_returns import logged_returns


def log(rewards, *, terminated, truncated):
    states = [0.0] * len(rewards)
    data = transitions(states, rewards, states, terminated)
    return dataclasses.replace(data, truncated=jnp.asarray(truncated))


def test_an_episode_that_ends_earns_nothing_afterwards():
    data = log([1.0, 2.0, 4.0], terminated=[False, True, True], truncated=[False] * 3)
    assert logged_returns(data, 0.5).tolist() == [1.0 + 0.5 * 2.0, 2.0, 4.0]


def test_an_episode_that_was_cut_goes_on_at_its_mean_reward():
    data = log([1.0, 3.0, 5.0], terminated=[False] * 3, truncated=[False, True, False])
    # For ever at 2 is worth 4; the last row is an episode of its own, for ever at 5.
    assert logged_returns(data, 0.5).tolist() == [1.0 + 0.5 * 5.0, 3.0 + 0.5 * 4.0, 10.0]


def test_a_discount_of_one_is_refused():
    data = log([1.0], terminated=[True], truncated=[False])
    with pytest.raises(ValueError, match=r"the discount is 1\.0"):
        logged_returns(data, 1.0)
