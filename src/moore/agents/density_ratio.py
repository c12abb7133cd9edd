"""The ratio w = d_on / d_off of online and logged data, estimated by a network (Lee et al. 2021).

The loss is the variational form of the Jensen-Shannon divergence. Constants are those of the
authors' code (shlee94/Off2OnRL, torch/sac/ours.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.agents.nets import MLP
from moore.replay.buffer import Batch

# Added inside the logarithm of the loss, so that it is finite at w = 0 (ours.py: 1e-10).
RATIO_EPSILON = 1e-10


def density_ratio(
    ratio: MLP, obs: Float[Array, "batch obs"], action: Float[Array, "batch action"]
) -> Float[Array, " batch"]:
    """w(s, a) >= 0, an estimate of d_on(s, a) / d_off(s, a)."""
    return jax.nn.relu(ratio(jnp.concatenate([obs, action], axis=-1))[..., 0])


def ratio_loss(ratio: MLP, offline_batch: Batch, online_batch: Batch) -> Float[Array, ""]:
    """E_off[-log(2 / (w + 1))] - E_on[log(2 w / (w + 1))].

    Its minimum is at w = d_on / d_off, where it is minus twice the Jensen-Shannon divergence.
    Written as E_off[log(1 + w)] - E_on[log w - log(1 + w)] - 2 log 2, which does not overflow at
    large w; epsilon keeps it finite at w = 0.

    Note:
        Where the network's output is negative, w is 0 and has no gradient; such a row changes only
        through rows near it.
    """
    offline = density_ratio(ratio, offline_batch.obs, offline_batch.action)
    online = density_ratio(ratio, online_batch.obs, online_batch.action)
    conjugate = jnp.log1p(offline) - jnp.log(2.0)
    derivative = jnp.log(2.0) + jnp.log(online + 0.5 * RATIO_EPSILON) - jnp.log1p(online)
    return jnp.mean(conjugate) - jnp.mean(derivative)
