"""Advantage-weighted actor-critic (AWAC, Nair et al. 2020), in the form of CORL by default.

The critics evaluate the policy itself, without an entropy; the actor is a regression on the actions
of the data, weighted by their exponentiated advantage, so it stays near the data.

Note:
    The actor is the squashed Gaussian of the other agents; the authors' and CORL's are not
    squashed. CORL standardises the observations; here that is a setting of the run
    (`Config.standardise_obs`).
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent, scores_logged_actions
from moore.agents.critics import bellman_target, critic_loss, new_critics, q_values
from moore.agents.nets import MLP, Actor, sample_action, squashed_log_density
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import Fraction, Positive
from moore.replay.buffer import Batch

# Actions are clipped to this bound before their density is computed, because it is not finite at
# +-1. The constant is IQL's (ikostrikov/implicit_q_learning, dataset_utils.py: 1 - 1e-5).
ACTION_LIMIT = 1.0 - 1e-5


@dataclass(frozen=True)
class AWACConfig:
    """Settings of AWAC; the defaults are those of CORL on the D4RL locomotion tasks."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor and the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    temperature: Positive[float] = 1 / 3
    """lambda, in units of return: a logged action has the weight exp(advantage / lambda). If the
    run scales the rewards, lambda is in units of scaled return."""
    max_weight: Positive[float] | None = 100.0
    """Upper limit of the weights. None divides the weights by their mean over the batch instead, as
    the authors' code does (rlkit)."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256, 256)
    """Widths of the hidden layers of actor and critics."""


class AWACState(eqx.Module):
    """All that an update changes. `critics` stacks the two Q functions along a leading axis."""

    actor: Actor
    critics: MLP
    target_critics: MLP
    actor_opt: optax.OptState
    critic_opt: optax.OptState


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: AWACConfig) -> AWACState:
    """A fresh agent."""
    key_actor, key_critics = jax.random.split(key)
    actor = Actor(obs_dim, action_dim, config.hidden, key=key_actor)
    critics = new_critics(jax.random.split(key_critics), obs_dim, action_dim, config.hidden)
    optimiser = optax.adam(config.learning_rate)
    return AWACState(
        actor=actor,
        critics=critics,
        # A copy, because both are donated to the compiled update.
        target_critics=jax.tree.map(jnp.copy, critics),
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
    )


def inside(action: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
    """The actions clipped to [-ACTION_LIMIT, ACTION_LIMIT]."""
    return jnp.clip(action, -ACTION_LIMIT, ACTION_LIMIT)


def capped_exp(x: Float[Array, " batch"], largest: float) -> Float[Array, " batch"]:
    """min(exp(x), largest), without overflow."""
    return jnp.exp(jnp.minimum(x, jnp.log(largest)))


def action_weights(advantage: Float[Array, " batch"], config: AWACConfig) -> Float[Array, " batch"]:
    """exp(A / lambda), clipped at `max_weight` or scaled to mean 1 over the batch."""
    scaled = advantage / config.temperature
    if config.max_weight is None:
        return jax.nn.softmax(scaled) * scaled.shape[0]
    return capped_exp(scaled, config.max_weight)


def actor_loss(
    actor: Actor,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    weights: Float[Array, " batch"],
) -> Float[Array, ""]:
    """-mean[w log pi(a|s)] at the actions of the data; the weights are constants."""
    mean, log_std = actor(obs)
    log_density = squashed_log_density(jnp.arctanh(inside(action)), mean, log_std)
    return -jnp.mean(weights * log_density)


def advantage(
    actor: Actor,
    critics: MLP,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    key: PRNGKeyArray,
) -> Float[Array, " batch"]:
    """A(s, a) = Q(s, a) - Q(s, a'), one a' ~ pi(.|s); Q is the minimum of the critics."""
    own_action, _ = sample_action(actor, obs, key)
    value = q_values(critics, obs, own_action).min(axis=0)
    return q_values(critics, obs, action).min(axis=0) - value


def update(
    state: AWACState, batch: Batch, key: PRNGKeyArray, config: AWACConfig
) -> tuple[AWACState, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics, then of the actor, and one of the target critics.

    The advantage is that of the critics after their step, as in CORL.
    """
    key_next, key_advantage = jax.random.split(key)

    # Critics: the target has no entropy.
    next_action, _ = sample_action(state.actor, batch.next_obs, key_next)
    next_value = q_values(state.target_critics, batch.next_obs, next_action).min(axis=0)
    target = bellman_target(batch.reward, batch.terminated, next_value, config.discount)
    critics, critic_opt, q_loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.learning_rate, batch, target
    )

    # Actor
    gain = advantage(state.actor, critics, batch.obs, batch.action, key_advantage)
    weights = action_weights(gain, config)
    rows = batch.obs, batch.action, weights
    actor, actor_opt, pi_loss = adam_step(
        actor_loss, state.actor, state.actor_opt, config.learning_rate, *rows
    )

    new_state = AWACState(
        actor=actor,
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        actor_opt=actor_opt,
        critic_opt=critic_opt,
    )
    metrics = {
        "critic_loss": q_loss,
        "actor_loss": pi_loss,
        "advantage": jnp.mean(gain),
        "weight": jnp.mean(weights),
        "weight_max": jnp.max(weights),
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return new_state, metrics


def policy(state: AWACState) -> Actor:
    """The policy, which acts and is evaluated."""
    return state.actor


AGENT = Agent(
    name="awac",
    settings=AWACConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    scores_actions=scores_logged_actions,
)
