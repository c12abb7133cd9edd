"""What the models see and predict, and the scaling of what they see.

A model gets (s, a) and predicts (r, s' - s). Its inputs are standardised by their statistics under
the sampling distribution of the fit.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.dynamics.ensemble import Normaliser
from moore.replay.buffer import Replay, Transition, take

# Inputs that vary less than this are left unscaled.
MIN_STD = 1e-6


def inputs_and_targets(
    data: Transition,
) -> tuple[Float[Array, "*rows inputs"], Float[Array, "*rows outputs"]]:
    """What the models are given, (s, a), and what they learn to predict, (r, s' - s)."""
    inputs = jnp.concatenate([data.obs, data.action], axis=-1)
    targets = jnp.concatenate([data.reward[..., None], data.next_obs - data.obs], axis=-1)
    return inputs, targets


def _moments(replay: Replay) -> tuple[Float[Array, " inputs"], Float[Array, " inputs"]]:
    """Mean and variance of the training inputs of one group; 0 and 0 when it has none."""
    inputs, _ = inputs_and_targets(take(replay.data, replay.train_rows))
    is_there = jnp.arange(replay.capacity) < replay.train_size
    weight = is_there.astype(jnp.float32) / jnp.maximum(replay.train_size, 1).astype(jnp.float32)
    mean = weight @ inputs
    return mean, weight @ (inputs - mean[None]) ** 2


def weighted_normaliser(
    offline: Replay, online: Replay, online_share: Float[Array, ""]
) -> Normaliser:
    """Statistics of the inputs under the sampling distribution: a mixture of the two groups."""
    mean_off, var_off = _moments(offline)
    mean_on, var_on = _moments(online)
    mean = (1.0 - online_share) * mean_off + online_share * mean_on
    between = (1.0 - online_share) * (mean_off - mean) ** 2 + online_share * (mean_on - mean) ** 2
    std = jnp.sqrt((1.0 - online_share) * var_off + online_share * var_on + between)
    return Normaliser(mean, jnp.where(std < MIN_STD, 1.0, std))
