"""Proximal policy optimisation (Schulman et al. 2017), near the policy that learning began with.

Rows are rollouts of the newest policy (`moore.experience.on_policy`). In them the policy is a
Gaussian around tanh of a network, and what it draws is clipped to the bounds of the actions: under
a squashed Gaussian, small changes of actions at a bound are large changes of the density. In the
system it acts as SAC's does, with less noise.

Beside the clipped objective stands a pull to the anchor, the policy that learning began with, where
there was one: models are right where the log is, and a policy that may go anywhere finds where they
are wrong. `moore.agents.ppo_anchor` says how strong it is. The learning rate follows the share of a
batch whose probability ratios were clipped, so that one setting does for systems of other scales.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent
from moore.agents.lambda_returns import lambda_returns
from moore.agents.logged_returns import logged_returns
from moore.agents.nets import MLP, Actor
from moore.agents.ppo_anchor import begin_with as begin_with
from moore.agents.ppo_config import PPOConfig as PPOConfig
from moore.agents.ppo_state import HIGHEST_RATE, LOWEST_RATE, RATE_STEP, PPOBatch, PPOState
from moore.agents.ppo_state import actor_optimiser as actor_optimiser
from moore.agents.ppo_state import init as init
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.replay.buffer import Replay

# Share of the policy's standard deviation with which it acts: rollouts explore in the models, and
# the system should not pay for it.
LIVE_NOISE = 0.25
# Under the standard deviation of the advantages of a batch.
_SMALLEST_SPREAD = 1e-8


def summarise_data(state: PPOState, offline: Replay, online: Replay, config: PPOConfig) -> PPOState:
    """The first time that there is a log, the critic learns its returns."""
    del online
    due = ~state.warm & (offline.train_size > 0)
    return jax.lax.cond(due, lambda before: _warm_up(before, offline, config), lambda x: x, state)


def _warm_up(state: PPOState, log: Replay, config: PPOConfig) -> PPOState:
    targets = (1.0 - config.discount) * logged_returns(log.data, config.discount)

    def step(carry: tuple[MLP, optax.OptState], key: PRNGKeyArray):
        critic, opt = carry
        place = jax.random.randint(key, (config.batch_size,), 0, log.train_size)
        rows = log.train_rows[place]
        critic, opt, _ = adam_step(
            squared_error,
            critic,
            opt,
            config.critic_learning_rate,
            log.data.obs[rows],
            targets[rows],
        )
        return (critic, opt), None

    # Nothing else draws from this key, and the same log gives the same critic.
    keys = jax.random.split(jax.random.key(0), config.critic_warm_up)
    (critic, opt), _ = jax.lax.scan(step, (state.critic, state.critic_opt), keys)
    return dataclasses.replace(state, critic=critic, critic_opt=opt, warm=jnp.ones((), bool))


def log_density(
    actor: Actor, obs: Float[Array, "*batch obs"], action: Float[Array, "*batch action"]
) -> Float[Array, " *batch"]:
    """log of the density of an action as it is drawn, before it is clipped to the bounds."""
    mean, log_std = actor(obs)
    z = (action - jnp.tanh(mean)) * jnp.exp(-log_std)
    return jnp.sum(-0.5 * z**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi), axis=-1)


def draw_action(
    actor: Actor, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """An action, before it is clipped to the bounds."""
    mean, log_std = actor(obs)
    return jnp.tanh(mean) + jnp.exp(log_std) * jax.random.normal(key, mean.shape)


def worth(critic: MLP, obs: Float[Array, "*batch obs"]) -> Float[Array, " *batch"]:
    """What the critic says of states, in units of 1 / (1 - gamma) rewards."""
    return critic(obs)[..., 0]


def rows_of(
    state: PPOState,
    obs: Float[Array, "length batch obs"],
    action: Float[Array, "length batch action"],
    reward: Float[Array, "length batch"],
    next_obs: Float[Array, "length batch obs"],
    terminated: Bool[Array, "length batch"],
    cut: Bool[Array, "length batch"],
    config: PPOConfig,
) -> PPOBatch:
    """The rows of rollouts that this state's actor has made, flat.

    Args:
        state: the agent, before it learns from them.
        obs, action, reward, next_obs: s_t, a_t as drawn, r_t and s_{t+1}.
        terminated: nothing follows s_{t+1}.
        cut: the rollout does not go on from s_{t+1}, which is worth something all the same.
        config: discount and trace.
    """
    value = worth(state.critic, obs)
    target = lambda_returns(
        (1.0 - config.discount) * reward,
        terminated,
        ~terminated & ~cut,
        worth(state.critic, next_obs),
        discount=config.discount,
        trace=config.trace,
    )
    columns = (obs, action, log_density(state.actor, obs, action), target - value, target)
    return PPOBatch(*(column.reshape(-1, *column.shape[2:]) for column in columns))


def actor_loss(
    actor: Actor, state: PPOState, batch: PPOBatch, config: PPOConfig
) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, ""]]]:
    """Minus the clipped objective, and the pull to the anchor.

    Returns:
        the loss; the share of rows that were clipped; and the mean squared distance from the
        anchor's action.
    """
    ratio = jnp.exp(log_density(actor, batch.obs, batch.action) - batch.log_density)
    spread = jnp.std(batch.advantage) + _SMALLEST_SPREAD
    advantage = (batch.advantage - jnp.mean(batch.advantage)) / spread
    kept = jnp.clip(ratio, 1.0 - config.clip, 1.0 + config.clip)
    objective = jnp.mean(jnp.minimum(ratio * advantage, kept * advantage))
    clipped = jnp.mean(jnp.abs(ratio - 1.0) > config.clip)
    away = act_mode(actor, batch.obs) - act_mode(state.anchor, batch.obs)
    distance = jnp.mean(away**2)
    return state.anchor_weight * distance - objective, (clipped, distance)


def squared_error(
    critic: MLP, obs: Float[Array, "batch obs"], target: Float[Array, " batch"]
) -> Float[Array, ""]:
    """mean[(V(s) - G)^2]."""
    return jnp.mean((worth(critic, obs) - target) ** 2)


def update(
    state: PPOState, batch: PPOBatch, key: PRNGKeyArray, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    """One gradient step of the critic, and of the actor after the first `critic_first`."""
    del key
    critic, critic_opt, loss = adam_step(
        squared_error,
        state.critic,
        state.critic_opt,
        config.critic_learning_rate,
        batch.obs,
        batch.target,
    )
    new_state = dataclasses.replace(
        state, critic=critic, critic_opt=critic_opt, updates=state.updates + 1
    )
    learned, metrics = jax.lax.cond(
        state.updates >= config.critic_first,
        lambda before: _actor_step(before, batch, config),
        lambda before: (before, _not_learned()),
        new_state,
    )
    of_critic = {"critic_loss": loss, "q_target": jnp.mean(batch.target) / (1.0 - config.discount)}
    return learned, metrics | of_critic


def _not_learned() -> dict[str, Float[Array, ""]]:
    names = ("actor_loss", "clipped_share", "anchor_distance", "actor_rate")
    return dict.fromkeys(names, jnp.zeros(()))


def _actor_step(
    state: PPOState, batch: PPOBatch, config: PPOConfig
) -> tuple[PPOState, dict[str, Float[Array, ""]]]:
    (loss, (clipped, distance)), grad = jax.value_and_grad(actor_loss, has_aux=True)(
        state.actor, state, batch, config
    )
    ratio = clipped / config.clipped_share
    change = jnp.where(ratio > 1.5, 1.0 / RATE_STEP, jnp.where(ratio < 1.0 / 1.5, RATE_STEP, 1.0))
    rate = jnp.clip(state.rate * change, LOWEST_RATE, HIGHEST_RATE)
    step, actor_opt = actor_optimiser().update(grad, state.actor_opt)
    actor = jax.tree.map(lambda x, moved: x - rate * moved, state.actor, step)
    average = optax.incremental_update(actor, state.average, config.average_rate)
    metrics = {
        "actor_loss": loss,
        "clipped_share": clipped,
        "anchor_distance": distance,
        "actor_rate": rate,
    }
    learned = dataclasses.replace(
        state, actor=actor, average=average, actor_opt=actor_opt, rate=rate
    )
    return learned, metrics


def policy(state: PPOState) -> Actor:
    """What acts and is evaluated: the average, with less noise than the models are shown."""
    bias = state.average.trunk.layers[-1].bias
    quieter = bias.at[bias.size // 2 :].add(jnp.log(LIVE_NOISE))
    return eqx.tree_at(lambda actor: actor.trunk.layers[-1].bias, state.average, quieter)


AGENT = Agent(
    name="ppo",
    settings=PPOConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
    begin_with=begin_with,
    long_horizon=True,
)
