"""The state of proximal policy optimisation (`moore.agents.ppo`), and a batch of its rows."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.nets import MLP, Actor
from moore.agents.ppo_config import PPOConfig
from moore.trees import copied

# The learning rate of the actor: where it begins, how it moves after a batch, and its limits.
RATE, RATE_STEP, LOWEST_RATE, HIGHEST_RATE = 1e-5, 1.2, 1e-7, 1e-3
# The pull is weakened by this factor at the most, where the models are right.
PULL_RANGE = 256.0
# Gradients of the actor are scaled down to this norm (Schulman's code and CleanRL's).
GRADIENT_NORM = 0.5


class PPOBatch(eqx.Module):
    """Rows of rollouts. `action`: as drawn, before it is clipped to the bounds.

    `log_density`: of the action under the policy that drew it. `target`: what the critic learns.
    """

    obs: Float[Array, "batch obs"]
    action: Float[Array, "batch action"]
    log_density: Float[Array, " batch"]
    advantage: Float[Array, " batch"]
    target: Float[Array, " batch"]


class PPOState(eqx.Module):
    """All that an update changes, and the anchor.

    `average`: of the actors so far, the later ones count more; what may act in the system.
    `critic`: of states, in units of 1 / (1 - gamma) rewards: its values are about the mean reward,
    whatever the horizon. `warm`: it has learned the returns of the log. `rate`: the learning rate
    of the actor. `pull`: to the anchor, where the models know nothing; 0 without one. `doubt`:
    about the models; from 1 on they are not believed.
    """

    actor: Actor
    average: Actor
    critic: MLP
    warm: Bool[Array, ""]
    anchor: Actor
    pull: Float[Array, ""]
    doubt: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    rate: Float[Array, ""]
    updates: Int[Array, ""]

    @property
    def anchor_weight(self) -> Float[Array, ""]:
        """The pull, which grows with the square of the doubt up to a doubt of 1."""
        return self.pull * jnp.clip(self.doubt**2, 1.0 / PULL_RANGE, 1.0)


def actor_optimiser() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(GRADIENT_NORM), optax.scale_by_adam())


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: PPOConfig) -> PPOState:
    """A fresh agent without an anchor."""
    key_actor, key_critic = jax.random.split(key)
    actor = Actor(obs_dim, action_dim, config.hidden, key=key_actor)
    bias = actor.trunk.layers[-1].bias.at[action_dim:].set(config.log_std)
    actor = eqx.tree_at(lambda x: x.trunk.layers[-1].bias, actor, bias)
    critic = MLP(obs_dim, config.hidden, 1, key=key_critic, layer_norm=True)
    return PPOState(
        actor=actor,
        average=copied(actor),
        critic=critic,
        warm=jnp.zeros((), bool),
        anchor=copied(actor),
        pull=jnp.zeros(()),
        doubt=jnp.ones(()),
        actor_opt=actor_optimiser().init(actor),
        critic_opt=optax.adam(config.critic_learning_rate).init(critic),
        rate=jnp.asarray(RATE),
        updates=jnp.zeros((), jnp.int32),
    )
