"""The price on leaving a controller that is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from moore.agents.anchor import PRICE_STEP, Anchor, action_change, new_anchor, next_log_price
from moore.agents.nets import Actor


def actor_with_means(*means) -> Actor:
    """The same action in every state."""
    actor = Actor(1, len(means), (), key=jax.random.key(0))
    last = actor.trunk.layers[-1]
    bias = jnp.asarray([*means, *[0.0] * len(means)])
    return eqx.tree_at(
        lambda a: (a.trunk.layers[-1].weight, a.trunk.layers[-1].bias),
        actor,
        (jnp.zeros_like(last.weight), bias),
    )


def test_the_distance_is_the_mean_square_change_of_the_actions():
    new, old = actor_with_means(np.arctanh(0.5), 0.0), actor_with_means(0.0, np.arctanh(0.1))
    found = action_change(new, old, jnp.zeros((3, 1)))
    assert found.tolist() == pytest.approx([(0.25 + 0.01) / 2] * 3)


def test_saturated_actions_are_as_far_apart_as_what_is_done():
    found = action_change(actor_with_means(5.0), actor_with_means(50.0), jnp.zeros((1, 1)))
    assert float(found[0]) < 1e-6


def test_the_price_rises_outside_the_radius_and_falls_inside():
    anchor = new_anchor(actor_with_means(0.0), radius=0.1)
    at_the_radius = float(next_log_price(anchor, jnp.asarray(0.01)))
    assert at_the_radius == pytest.approx(0.0, abs=1e-6)
    assert float(next_log_price(anchor, jnp.asarray(1.0))) == pytest.approx(PRICE_STEP)
    assert float(next_log_price(anchor, jnp.asarray(0.0))) == pytest.approx(-PRICE_STEP)


def test_the_price_stays_within_its_bounds():
    low = Anchor(actor_with_means(0.0), jnp.log(1e-3), jnp.asarray(0.1))
    assert float(next_log_price(low, jnp.asarray(0.0))) == pytest.approx(np.log(1e-3))
