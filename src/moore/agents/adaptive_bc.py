"""Adaptive behaviour cloning (Zhao et al. 2022): TD3+BC on a REDQ critic, its weight adapted.

The actor is deterministic and is pulled towards the actions of the data (TD3+BC, Fujimoto and Gu
2021); the target of the many critics is the minimum of a random pair of them (REDQ, Chen et al.
2021). Offline the pull is constant. Online it weakens after every episode, faster if the returns
are far from the target, and it is strengthened when a return falls below their average. Constants
and settings that the paper leaves open are those of the authors' code (zhaoyi11/adaptive_bc,
main.py and redq_bc.py).

Note:
    In the authors' code R_last begins as the return of one evaluated episode after the offline
    stage; here it is that of the first online episode. Networks have this project's initialisation.
    `moore.experience.kept` draws the batches.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.agents.adaptive_weight import Adaptation, after_row, new_adaptation, unbegun
from moore.agents.agent import Agent
from moore.agents.critics import bellman_target, new_critics, q_values, some_of, squared_errors
from moore.agents.nets import MLP
from moore.replay.buffer import Batch, Replay

# Lower limit of mean|Q|, which may be 0 at the start.
_SMALLEST_SCALE = 1e-8


class DeterministicActor(eqx.Module):
    """pi(s): tanh of a network, in [-1, 1]. `noise`: standard deviation that acting adds."""

    trunk: MLP
    noise: float = eqx.field(static=True)

    def __call__(self, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
        return jnp.tanh(self.trunk(obs))


class AdaptiveBCState(eqx.Module):
    """All that changes. `critics` stacks the Q functions along a leading axis.

    `actor_loss` is the loss at the actor's last step, 0 before the first one.
    """

    actor: DeterministicActor
    critics: MLP
    target_actor: DeterministicActor
    target_critics: MLP
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    updates: Int[Array, ""]
    actor_loss: Float[Array, ""]
    adaptation: Adaptation


def init(
    key: PRNGKeyArray, obs_dim: int, action_dim: int, config: AdaptiveBCConfig
) -> AdaptiveBCState:
    """A fresh agent; the targets are copies of the networks."""
    key_actor, key_critics = jax.random.split(key)
    trunk = MLP(obs_dim, config.hidden, action_dim, key=key_actor)
    actor = DeterministicActor(trunk, config.exploration_noise)
    keys = jax.random.split(key_critics, config.critics)
    critics = new_critics(keys, obs_dim, action_dim, config.hidden)
    optimiser = optax.adam(config.learning_rate)
    return AdaptiveBCState(
        actor=actor,
        critics=critics,
        # Copies, because both are donated to the compiled update.
        target_actor=jax.tree.map(jnp.copy, actor),
        target_critics=jax.tree.map(jnp.copy, critics),
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
        updates=jnp.zeros((), jnp.int32),
        actor_loss=jnp.zeros((), jnp.float32),
        adaptation=new_adaptation(config.bc_weight),
    )


def follow(state: AdaptiveBCState, online: Replay, config: AdaptiveBCConfig) -> AdaptiveBCState:
    """Adapts the weight to every online episode that finished since the last call, in order.

    An episode ends where it is terminated or truncated; what was read of one that goes on is kept.
    Only the new rows are read.
    """
    if online.capacity == 0:
        return state
    data = online.data
    reward, ended = jnp.asarray(data.reward), jnp.asarray(data.terminated | data.truncated)
    adaptation = jax.lax.fori_loop(
        state.adaptation.rows,
        jnp.minimum(online.size, online.capacity),
        lambda row, seen: after_row(seen, reward[row], ended[row], config),
        state.adaptation,
    )
    return dataclasses.replace(state, adaptation=adaptation)


def new_episode(state: AdaptiveBCState) -> AdaptiveBCState:
    """Told that the running episode was abandoned: it does not count."""
    return dataclasses.replace(state, adaptation=unbegun(state.adaptation))


def hand_over(state: AdaptiveBCState, config: AdaptiveBCConfig) -> AdaptiveBCState:
    """Sets the weight to its value at the beginning of the online stage; keeps everything else."""
    start = jnp.asarray(config.online_bc_weight, jnp.float32)
    return eqx.tree_at(lambda s: s.adaptation.bc_weight, state, start)


def smoothed_action(
    actor: DeterministicActor,
    obs: Float[Array, "batch obs"],
    key: PRNGKeyArray,
    config: AdaptiveBCConfig,
) -> Float[Array, "batch action"]:
    """Target policy smoothing: clip(pi(s) + clip(noise, -c, c), -1, 1) (Fujimoto et al. 2018)."""
    action = actor(obs)
    noise = config.target_noise * jax.random.normal(key, action.shape)
    limit = config.target_noise_limit
    return jnp.clip(action + jnp.clip(noise, -limit, limit), -1.0, 1.0)


def targets(
    state: AdaptiveBCState, batch: Batch, key: PRNGKeyArray, config: AdaptiveBCConfig
) -> Float[Array, " batch"]:
    """r + gamma (1 - terminated) min_j Q'_j(s', a'), j in a random pair, a' smoothed pi'(s')."""
    key_noise, key_pair = jax.random.split(key)
    action = smoothed_action(state.target_actor, batch.next_obs, key_noise, config)
    pair = some_of(state.target_critics, key_pair, config.critic_subset)
    value = q_values(pair, batch.next_obs, action).min(axis=0)
    return bellman_target(batch.reward, batch.terminated, value, config.discount)


def critic_loss(critics: MLP, batch: Batch, target: Float[Array, " batch"]) -> Float[Array, ""]:
    """Mean squared Bellman error over rows and critics."""
    return squared_errors(q_values(critics, batch.obs, batch.action), target).mean()


def actor_loss(
    actor: DeterministicActor,
    critics: MLP,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    bc_weight: Float[Array, ""],
) -> Float[Array, ""]:
    """-mean[Q(s, pi(s))] / mean|Q(s, pi(s))| + a_bc MSE(pi(s), a), Q the mean of the critics.

    The denominator is a constant; the squared error is a mean over rows and action entries.
    """
    own = actor(obs)
    value = q_values(critics, obs, own).mean(axis=0)
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.mean(jnp.abs(value)), _SMALLEST_SCALE))
    return -jnp.mean(value) / scale + bc_weight * jnp.mean((own - action) ** 2)


def improve(state: AdaptiveBCState, batch: Batch, config: AdaptiveBCConfig) -> AdaptiveBCState:
    """One gradient step of the actor, then one of both target networks: the delayed part of TD3."""
    actor, actor_opt, loss = adam_step(
        actor_loss,
        state.actor,
        state.actor_opt,
        config.learning_rate,
        state.critics,
        batch.obs,
        batch.action,
        state.adaptation.bc_weight,
    )
    towards = lambda new, old: optax.incremental_update(new, old, config.target_rate)  # noqa: E731
    return dataclasses.replace(
        state,
        actor=actor,
        target_actor=towards(actor, state.target_actor),
        target_critics=towards(state.critics, state.target_critics),
        actor_opt=actor_opt,
        actor_loss=loss,
    )


def update(
    state: AdaptiveBCState, batch: Batch, key: PRNGKeyArray, config: AdaptiveBCConfig
) -> tuple[AdaptiveBCState, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics, and in every `policy_delay`-th update one of all others."""
    target = targets(state, batch, key, config)
    critics, critic_opt, loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.learning_rate, batch, target
    )
    state = dataclasses.replace(
        state,
        critics=critics,
        critic_opt=critic_opt,
        updates=state.updates + 1,
    )
    state = jax.lax.cond(
        state.updates % config.policy_delay == 0,
        lambda: improve(state, batch, config),
        lambda: state,
    )
    metrics = {
        "critic_loss": loss,
        "actor_loss": state.actor_loss,
        "bc_weight": state.adaptation.bc_weight,
        "last_return": state.adaptation.last_return,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return state, metrics


def policy(state: AdaptiveBCState) -> DeterministicActor:
    """The policy, which acts and is evaluated."""
    return state.actor


def act(
    actor: DeterministicActor, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """pi(s) with Gaussian exploration noise, clipped to [-1, 1]."""
    action = actor(obs)
    noise = actor.noise * jax.random.normal(key, action.shape)
    return jnp.clip(action + noise, -1.0, 1.0)


def act_mode(
    actor: DeterministicActor, obs: Float[Array, "*batch obs"]
) -> Float[Array, "*batch action"]:
    """pi(s)."""
    return actor(obs)


AGENT = Agent(
    name="adaptive_bc",
    settings=AdaptiveBCConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    follow=follow,
    hand_over=hand_over,
    new_episode=new_episode,
    actor=DeterministicActor,
)
