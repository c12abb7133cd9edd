"""Plain cloning of the better part of a log: a regression on the actions of its best episodes.

The part is the one of percentile behaviour cloning (%BC; Chen et al. 2021, Decision Transformer,
section 5.1): the episodes of the highest return, until they hold a share of the rows. The policy is
SAC's squashed Gaussian, so that a clone can be SAC's actor from the start. Its mode follows the
actions by squared error, because the density of a squashed Gaussian has no limit at the border of
the actions, where many logged ones lie; its standard deviation is led to a constant.

The network sees observations of mean 0 and standard deviation 1, measured on the log. `policy`
folds both into the first layer, so that the clone takes observations as they are given.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.nets import Actor
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import AnySign, Fraction, Positive
from moore.replay.buffer import Batch, Replay, Transition, as_batch, take

# A deviation below this share of the column's mean is float32's rounding, and no scale.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class BCConfig:
    """Settings of plain cloning; the sizes of network and batch are SAC's."""

    share: Fraction = 0.1
    """Share of the rows of the log that are cloned: those of the best episodes (0.1: Chen et al.
    2021). 1 clones all rows."""
    learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam at the beginning. It falls to 0 along half a cosine over `updates`."""
    updates: Positive[int] = 6000
    """Number of gradient steps. The clone does not change after them."""
    log_std: AnySign[float] = -1.5
    """Value that the log standard deviation of the actions before the tanh is led to."""
    discount: Fraction = 0.99
    """gamma: discount factor of one step, for the discounted returns of evaluations. Nothing is
    learned with it."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of the actor."""


class BCState(eqx.Module):
    """All that changes.

    `actor`: of standardised observations. `obs_mean`, `obs_std`: what standardises them. `rows`:
    those that are cloned, in the first `row_count` places.
    """

    actor: Actor
    actor_opt: optax.OptState
    obs_mean: Float[Array, " obs"]
    obs_std: Float[Array, " obs"]
    rows: Int[Array, " rows"]
    row_count: Int[Array, ""]


def _optimiser(config: BCConfig) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.updates))


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: BCConfig) -> BCState:
    """A fresh agent, which has seen no log."""
    actor = Actor(obs_dim, action_dim, config.hidden, key=key)
    return BCState(
        actor=actor,
        actor_opt=_optimiser(config).init(actor),
        obs_mean=jnp.zeros(obs_dim),
        obs_std=jnp.ones(obs_dim),
        rows=jnp.zeros(0, jnp.int32),
        row_count=jnp.zeros((), jnp.int32),
    )


def look(state: BCState, offline: Replay, online: Replay, config: BCConfig) -> BCState:
    """Finds the part of the log to clone, and the scale of its observations."""
    del online
    kept = best_rows(offline, config.share)
    rows = jnp.nonzero(kept, size=offline.capacity, fill_value=0)[0].astype(jnp.int32)
    there = (jnp.arange(offline.capacity) < offline.size)[:, None]
    return seeing(state, offline.data.obs, there, rows, kept.sum())


def seeing(
    state: BCState,
    obs: Float[Array, "capacity obs"],
    there: Bool[Array, "capacity 1"],
    rows: Int[Array, " rows"],
    row_count: Int[Array, ""] | int,
) -> BCState:
    """The agent that clones the first `row_count` of these rows.

    Args:
        state: of an agent that has not learned yet, or has seen the same log before.
        obs: of the log.
        there: which rows of `obs` are in use.
        rows: indices into `obs`.
        row_count: how many of `rows` are meant.
    """
    mean = jnp.mean(obs, axis=0, where=there)
    std = jnp.std(obs, axis=0, where=there)
    std = jnp.where(std > _ROUNDING * jnp.abs(mean), std, 1.0)
    return dataclasses.replace(
        state,
        obs_mean=mean,
        obs_std=std,
        rows=rows,
        row_count=jnp.asarray(row_count, jnp.int32),
    )


def best_rows(offline: Replay, share: float) -> Bool[Array, " capacity"]:
    """The rows of the episodes of the highest return, the least of them that hold this share.

    Episodes of equal return come together. An episode that the log's end cuts counts by what it
    has earned until there.
    """
    ends = offline.data.terminated | offline.data.truncated
    there = jnp.arange(offline.capacity) < offline.size
    episode = jnp.cumsum(ends) - ends
    reward = jnp.where(there, offline.data.reward, 0.0)
    returns = jax.ops.segment_sum(reward, episode, num_segments=offline.capacity)[episode]
    ranked = jnp.sort(jnp.where(there, returns, -jnp.inf), descending=True)
    wanted = jnp.ceil(share * offline.size).astype(jnp.int32)
    return there & (returns >= ranked[jnp.clip(wanted - 1, 0, offline.capacity - 1)])


def cloning_loss(
    actor: Actor,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    log_std: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[|tanh(mean(s)) - a|^2 + |log std(s) - log_std|^2]; and its first term alone."""
    mean, found = actor(obs)
    error = jnp.mean(jnp.sum((jnp.tanh(mean) - action) ** 2, axis=-1))
    return error + jnp.mean(jnp.sum((found - log_std) ** 2, axis=-1)), error


def update(
    state: BCState, batch: Transition | Batch, key: PRNGKeyArray, config: BCConfig
) -> tuple[BCState, dict[str, Float[Array, ""]]]:
    """One gradient step on these rows, whichever they are."""
    del key
    seen = (batch.obs - state.obs_mean) / state.obs_std
    (loss, error), grad = jax.value_and_grad(cloning_loss, has_aux=True)(
        state.actor, seen, batch.action, config.log_std
    )
    step, actor_opt = _optimiser(config).update(grad, state.actor_opt)
    actor = optax.apply_updates(state.actor, step)
    new_state = dataclasses.replace(state, actor=actor, actor_opt=actor_opt)
    return new_state, {"actor_loss": loss, "cloning_error": error}


def learn(
    state: BCState, offline: Replay, online: Replay, key: PRNGKeyArray, config: BCConfig
) -> tuple[BCState, dict[str, Float[Array, ""]]]:
    """One gradient step on rows drawn from the part that is cloned; `look` has found it."""
    del online
    key_draw, key_update = jax.random.split(key)
    drawn = jax.random.randint(key_draw, (config.batch_size,), 0, jnp.maximum(state.row_count, 1))
    rows = state.rows[drawn]
    return update(state, as_batch(take(offline.data, rows), rows), key_update, config)


def policy(state: BCState) -> Actor:
    """What acts and is evaluated: an actor of observations as they are given."""
    first = state.actor.trunk.layers[0]
    weight = first.weight / state.obs_std[:, None]
    bias = first.bias - state.obs_mean @ weight
    return eqx.tree_at(
        lambda actor: (actor.trunk.layers[0].weight, actor.trunk.layers[0].bias),
        state.actor,
        (weight, bias),
    )
