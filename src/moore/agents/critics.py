"""The Q functions of the agents: stacked networks, their Bellman targets and their errors."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from moore.agents.nets import MLP, SquashedGaussian, sample_action
from moore.replay.buffer import Batch
from moore.shapes import to_rank_of


def new_critics(
    keys: Key[Array, " critics"],
    obs_dim: int,
    action_dim: int,
    hidden: tuple[int, ...],
    *,
    layer_norm: bool = False,
) -> MLP:
    """One fresh Q function for every key, stacked along a leading axis."""
    return jax.vmap(
        lambda key: MLP(obs_dim + action_dim, hidden, 1, key=key, layer_norm=layer_norm)
    )(keys)


def q_values(
    critics: MLP, obs: Float[Array, "batch obs"], action: Float[Array, "batch action"]
) -> Float[Array, "critics batch"]:
    """Q_j(s, a) of every critic."""
    inputs = jnp.concatenate([obs, action], axis=-1)
    return jax.vmap(lambda critic: critic(inputs)[..., 0])(critics)


def q_of_many(
    critics: MLP, obs: Float[Array, "rows obs"], action: Float[Array, "count rows action"]
) -> Float[Array, "critics count rows"]:
    """Q_j(s, a) of every critic for several actions a state."""
    return jax.vmap(lambda a: q_values(critics, obs, a), out_axes=1)(action)


def some_of(critics: MLP, key: PRNGKeyArray, count: int) -> MLP:
    """`count` of the stacked critics, drawn without replacement (REDQ)."""
    drawn = jax.random.permutation(key, critics.layers[0].bias.shape[0])[:count]
    return jax.tree.map(lambda x: x[drawn], critics)


def value_of(
    actor: SquashedGaussian, critics: MLP, obs: Float[Array, "batch obs"], key: PRNGKeyArray
) -> Float[Array, " batch"]:
    """V(s): the lowest of the critics at a sampled action, without the entropy."""
    action, _ = sample_action(actor, obs, key)
    return q_values(critics, obs, action).min(axis=0)


def bellman_target(
    reward: Float[Array, " batch"],
    terminated: Bool[Array, " batch"] | Float[Array, " batch"],
    next_value: Float[Array, " batch"],
    discount: float,
) -> Float[Array, " batch"]:
    """r + gamma (1 - terminated) V(s').

    Only a termination ends the bootstrap; a time limit does not.
    """
    return reward + discount * (1.0 - terminated.astype(jnp.float32)) * next_value


def squared_errors(
    values: Float[Array, "*#critics batch"], target: Float[Array, "*#critics batch"]
) -> Float[Array, "*#critics"]:
    """The mean squared Bellman error over the batch, of every critic."""
    return jnp.mean((values - to_rank_of(target, values)) ** 2, axis=-1)


def critic_loss(critics: MLP, batch: Batch, target: Float[Array, " batch"]) -> Float[Array, ""]:
    """The mean squared Bellman error, summed over the critics."""
    return squared_errors(q_values(critics, batch.obs, batch.action), target).sum()
