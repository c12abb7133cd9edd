"""Staying near a controller that is known: a price on leaving its actions.

A clone that SAC improves is gone within a thousand updates: the critics know nothing of the actions
that they make look good. So the actor's loss has a second term, the distance d between the modes of
the policy and of the anchor,

    L = -mean[Q(s, a)] / mean|Q| + price * mean d(s),    d(s) = mean_i (tanh mu_i - tanh mu0_i)^2,

with TD3+BC's normalisation of Q (Fujimoto and Gu 2021, section 5), by which the price has no unit.
TD3+BC's price is a constant, 1 / 2.5, and its anchor the logged actions. Here the anchor is a
policy, known in every state, and the price is the multiplier of a trust region: it rises while the
mean distance is above radius^2 and falls while it is below.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.agents.nets import Actor

# Bounds of the price, and its largest relative step a gradient step of the actor. Ours.
PRICE_BOUNDS = (1e-3, 1e3)
PRICE_STEP = 0.02


class Anchor(eqx.Module):
    """The controller to stay near, and what leaving it costs.

    `radius`: how far the actions may change: root mean square over states and action entries, in
    units in which an action's range is 2.
    """

    actor: Actor
    log_price: Float[Array, ""]
    radius: Float[Array, ""]


def new_anchor(actor: Actor, radius: float) -> Anchor:
    """An anchor whose price starts at 1."""
    return Anchor(actor, jnp.zeros(()), jnp.asarray(radius, jnp.float32))


def action_change(
    actor: Actor, anchor: Actor, obs: Float[Array, "batch obs"]
) -> Float[Array, " batch"]:
    """d(s): mean square over the entries of how far the modes lie apart, at most 4."""
    mean, anchor_mean = actor(obs)[0], anchor(obs)[0]
    return jnp.mean((jnp.tanh(mean) - jnp.tanh(anchor_mean)) ** 2, axis=-1)


def next_log_price(anchor: Anchor, change: Float[Array, ""]) -> Float[Array, ""]:
    """The price after a step in which the mean distance was `change`."""
    excess = jnp.clip(change / anchor.radius**2 - 1.0, -1.0, 1.0)
    low, high = (jnp.log(bound) for bound in PRICE_BOUNDS)
    return jnp.clip(anchor.log_price + PRICE_STEP * excess, low, high)
