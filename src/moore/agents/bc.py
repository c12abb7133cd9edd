"""Plain cloning: a regression on logged actions.

Which rows are cloned is decided elsewhere (`moore.experience.part`). With a share of them it is
percentile behaviour cloning (%BC; Chen et al. 2021, Decision Transformer, section 5.1). The policy
is SAC's squashed Gaussian, so that a clone can be SAC's actor from the start. Its mode follows the
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
from jaxtyping import Array, Float, PRNGKeyArray

from moore.agents.agent import Agent
from moore.agents.nets import Actor
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import AnySign, Fraction, Positive
from moore.replay.buffer import Batch, Replay

# A deviation below this share of the column's mean is float32's rounding, and no scale.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class BCConfig:
    """Settings of plain cloning; the sizes of network and batch are SAC's."""

    share: Fraction | None = None
    """Share of the rows of the log that are cloned: those of the best episodes. Chen et al. (2021)
    try 0.1, 0.25, 0.4 and 1; 1 clones all rows. With None, a rule that looks at the returns
    chooses the better part of the log."""
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

    `actor`: of standardised observations. `obs_mean`, `obs_std`: what standardises them.
    """

    actor: Actor
    actor_opt: optax.OptState
    obs_mean: Float[Array, " obs"]
    obs_std: Float[Array, " obs"]


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
    )


def summarise_data(state: BCState, offline: Replay, online: Replay, config: BCConfig) -> BCState:
    """Measures the scale of the log's observations."""
    del online, config
    there = (jnp.arange(offline.capacity) < offline.size)[:, None]
    mean = jnp.mean(offline.data.obs, axis=0, where=there)
    std = jnp.std(offline.data.obs, axis=0, where=there)
    std = jnp.where(std > _ROUNDING * jnp.abs(mean), std, 1.0)
    return dataclasses.replace(state, obs_mean=mean, obs_std=std)


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
    state: BCState, batch: Batch, key: PRNGKeyArray, config: BCConfig
) -> tuple[BCState, dict[str, Float[Array, ""]]]:
    """One gradient step on these rows."""
    del key
    seen = (batch.obs - state.obs_mean[None]) / state.obs_std[None]
    (loss, error), grad = jax.value_and_grad(cloning_loss, has_aux=True)(
        state.actor, seen, batch.action, config.log_std
    )
    step, actor_opt = _optimiser(config).update(grad, state.actor_opt)
    actor = optax.apply_updates(state.actor, step)
    new_state = dataclasses.replace(state, actor=actor, actor_opt=actor_opt)
    return new_state, {"actor_loss": loss, "cloning_error": error}


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


AGENT = Agent(
    name="bc",
    settings=BCConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
)
