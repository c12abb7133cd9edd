"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018), as MOPO and MBPO use it."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from moore.agents.nets import MLP, Actor, mode_action, sample_action
from moore.replay.buffer import Transition


@dataclass(frozen=True)
class SACConfig:
    """Constants of the agent.

    Attributes:
        discount: gamma.
        learning_rate: of actor, critics and temperature (Adam).
        target_rate: step of the target critics towards the critics after each update.
        target_entropy: in nats; the temperature is adapted until the policy's entropy is this.
            None: minus the number of action entries (Haarnoja et al. 2018).
        batch_size: transitions a update.
        hidden: widths of the hidden layers of actor and critics.
    """

    discount: float = 0.99
    learning_rate: float = 3e-4
    target_rate: float = 0.005
    target_entropy: float | None = None
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)


class SACState(eqx.Module):
    """All that an update changes. `critics` stacks the two Q functions along a leading axis."""

    actor: Actor
    critics: MLP
    target_critics: MLP
    log_temperature: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    temperature_opt: optax.OptState


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: SACConfig) -> SACState:
    """A fresh agent; the temperature starts at 1."""
    key_actor, *keys_critic = jax.random.split(key, 3)
    actor = Actor(obs_dim, action_dim, config.hidden, key=key_actor)
    critics = jax.vmap(lambda k: MLP(obs_dim + action_dim, config.hidden, 1, key=k))(
        jnp.stack(keys_critic)
    )
    log_temperature = jnp.zeros(())
    optimiser = optax.adam(config.learning_rate)
    return SACState(
        actor=actor,
        critics=critics,
        # A copy: the online critics are donated to the compiled update, and so are these.
        target_critics=jax.tree.map(jnp.copy, critics),
        log_temperature=log_temperature,
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
        temperature_opt=optimiser.init(log_temperature),
    )


def q_values(
    critics: MLP, obs: Float[Array, "batch obs"], action: Float[Array, "batch action"]
) -> Float[Array, "2 batch"]:
    """Q_1(s, a) and Q_2(s, a)."""
    inputs = jnp.concatenate([obs, action], axis=-1)
    return jax.vmap(lambda critic: critic(inputs)[..., 0])(critics)


def bellman_target(
    reward: Float[Array, " batch"],
    terminated: Float[Array, " batch"],
    next_value: Float[Array, " batch"],
    discount: float,
) -> Float[Array, " batch"]:
    """r + gamma (1 - terminated) V(s').

    Only a termination stops the bootstrap; a time limit does not.
    """
    return reward + discount * (1.0 - terminated) * next_value


def critic_loss(
    critics: MLP, batch: Transition, target: Float[Array, " batch"]
) -> Float[Array, ""]:
    """1/2 mean squared Bellman error, summed over the two critics."""
    errors = q_values(critics, batch.obs, batch.action) - target
    return 0.5 * jnp.mean(errors**2, axis=1).sum()


def actor_loss(
    actor: Actor,
    critics: MLP,
    temperature: Float[Array, ""],
    obs: Float[Array, "batch obs"],
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[temperature log pi(a|s) - min_j Q_j(s, a)], a ~ pi; also the mean entropy."""
    action, log_density = sample_action(actor, obs, key)
    value = q_values(critics, obs, action).min(axis=0)
    return jnp.mean(temperature * log_density - value), -jnp.mean(log_density)


def update(
    state: SACState, batch: Transition, key: PRNGKeyArray, config: SACConfig
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """One gradient step of critics, actor and temperature, and one of the target critics."""
    key_next, key_actor = jax.random.split(key)
    optimiser = optax.adam(config.learning_rate)
    temperature = jnp.exp(state.log_temperature)

    # Critics
    next_action, next_log_density = sample_action(state.actor, batch.next_obs, key_next)
    next_q = q_values(state.target_critics, batch.next_obs, next_action).min(axis=0)
    next_value = next_q - temperature * next_log_density
    target = bellman_target(
        batch.reward, batch.terminated.astype(jnp.float32), next_value, config.discount
    )
    q_loss, q_grad = jax.value_and_grad(critic_loss)(state.critics, batch, target)
    q_step, critic_opt = optimiser.update(q_grad, state.critic_opt)
    critics = optax.apply_updates(state.critics, q_step)

    # Actor
    (pi_loss, entropy), pi_grad = jax.value_and_grad(actor_loss, has_aux=True)(
        state.actor, critics, temperature, batch.obs, key_actor
    )
    pi_step, actor_opt = optimiser.update(pi_grad, state.actor_opt)

    # Temperature: descends log_temperature * (entropy - target), as softlearning does.
    wanted = config.target_entropy
    temperature_grad = entropy - (-batch.action.shape[-1] if wanted is None else wanted)
    temperature_step, temperature_opt = optimiser.update(temperature_grad, state.temperature_opt)

    new_state = SACState(
        actor=optax.apply_updates(state.actor, pi_step),
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        log_temperature=state.log_temperature + temperature_step,
        actor_opt=actor_opt,
        critic_opt=critic_opt,
        temperature_opt=temperature_opt,
    )
    metrics = {
        "critic_loss": q_loss,
        "actor_loss": pi_loss,
        "entropy": entropy,
        "temperature": temperature,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return new_state, metrics


def act(
    state: SACState, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """The acting policy: a sample of pi(.|s), in (-1, 1)."""
    return sample_action(state.actor, obs, key)[0]


def act_mode(state: SACState, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
    """The evaluated policy: tanh of the mean."""
    return mode_action(state.actor, obs)
