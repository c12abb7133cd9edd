"""Errors of the models on the held-out rows of the log and of the online data."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.dynamics.ensemble import Networks, Normaliser, mean_squared_error, predict
from moore.dynamics.inputs import inputs_and_targets
from moore.replay.buffer import Replay, take


def holdout_error(
    networks: Networks,
    normaliser: Normaliser,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
) -> Float[Array, " members"]:
    """Holdout error of each member, averaged over the groups with the weights of the training."""
    share = jnp.where(online.holdout_size > 0, online_share, 0.0)

    def group(replay: Replay) -> Float[Array, " members"]:
        inputs, targets = inputs_and_targets(take(replay.data, replay.holdout_rows))
        real = jnp.arange(replay.holdout_rows.shape[0]) < jnp.maximum(replay.holdout_size, 1)
        return mean_squared_error(networks, normaliser, inputs, targets, real.astype(jnp.float32))

    return (1.0 - share) * group(offline) + share * group(online)


def std_errors(
    networks: Networks,
    normaliser: Normaliser,
    offline: Replay,
    online: Replay,
    online_share: Float[Array, ""],
) -> Float[Array, " outputs"]:
    """Root mean square of (y - mu_k) / sigma_k on the holdout, per output; 1 if sigma is right.

    Over all members, and over the groups with the weights of the training.
    """
    share = jnp.where(online.holdout_size > 0, online_share, 0.0)

    def group(replay: Replay) -> Float[Array, " outputs"]:
        inputs, targets = inputs_and_targets(take(replay.data, replay.holdout_rows))
        members = networks.mean_head.bias.shape[0]
        inputs = jnp.broadcast_to(inputs, (members, *inputs.shape))
        mean, log_var = predict(networks, normaliser, inputs)
        real = jnp.arange(replay.holdout_rows.shape[0]) < jnp.maximum(replay.holdout_size, 1)
        squares = jnp.mean((targets[None] - mean) ** 2 * jnp.exp(-log_var), axis=0)
        return real.astype(jnp.float32) @ squares / real.sum().astype(jnp.float32)

    return jnp.sqrt((1.0 - share) * group(offline) + share * group(online))
