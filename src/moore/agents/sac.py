"""Soft actor-critic with automatic temperature (Haarnoja et al. 2018), as MOPO and MBPO use it.

Options against values that no policy can earn: normalised layers (RLPD, Ball et al. 2023), targets
from a random subset of many critics (REDQ, Chen et al. 2021), and targets clipped to what the known
rewards make possible.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.agents import critics as q_functions
from moore.agents.adam import adam_step, learn_once_in
from moore.agents.agent import Agent
from moore.agents.critics import bellman_target, new_critics, q_values, some_of, value_of
from moore.agents.nets import MLP, Actor, mode_action, sample_action
from moore.agents.temperature import temperature_step, wanted_entropy
from moore.ranges import AnySign, Fraction, Positive
from moore.replay.buffer import Batch, Replay

# Stands for an unknown limit; it is finite, so that states that hold it are finite too.
NO_LIMIT = 1e30


@dataclass(frozen=True)
class SACConfig:
    """Settings of SAC."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor, the critics and the temperature."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    target_entropy: AnySign[float] | None = None
    """Entropy of the policy in nats that the temperature is adapted to reach. None uses
    `entropy_per_action` times the number of action entries."""
    entropy_per_action: AnySign[float] = -1.0
    """Target entropy per action entry, used if `target_entropy` is None. Haarnoja et al. (2018)
    use -1."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""
    critics: Positive[int] = 2
    """Number of critics (Q functions)."""
    critic_subset: Positive[int] | None = None
    """REDQ: a target is the minimum of this many critics, drawn anew at each update, and the actor
    follows the mean of all critics. None uses the minimum of all critics for both."""
    layer_norm: bool = False
    """Normalise the hidden layers of the critics."""
    clip_targets: Fraction | None = None
    """Upper limit of the critics' targets: the discounted sum of a best reward that is earned at
    every step. The best reward is this quantile of the real rewards that are known at the beginning
    of the epoch; 1 is the largest of them. None sets no upper limit."""
    floor_targets: Fraction | None = None
    """Lower limit of the critics' targets: the discounted sum of a worst reward that is earned at
    every step, where the worst reward is this quantile of the real rewards. Without this limit a
    penalty on the rewards can make ending an episode early look better than going on. None sets
    no lower limit."""
    average_rate: Fraction | None = None
    """Act, imagine and evaluate with a running average of the actor instead of the actor itself.
    At each update the average moves this share of its distance to the actor. None uses the
    actor."""
    actor_every: Positive[int] = 1
    """Number of updates of the critics for one update of actor and temperature. RLPD updates these
    once per environment step."""


class SACState(eqx.Module):
    """All that an update changes. `critics` stacks the Q functions along a leading axis.

    `best_reward` and `worst_reward` are found by `summarise_data`: the quantiles `clip_targets` and
    `floor_targets` of the known rewards, or their maximum and minimum; NO_LIMIT and -NO_LIMIT if no
    reward is known. `averaged` is the running average of the actor if `average_rate` is given.
    `updates` is the number of updates.
    """

    actor: Actor
    critics: MLP
    target_critics: MLP
    log_temperature: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    temperature_opt: optax.OptState
    best_reward: Float[Array, ""]
    worst_reward: Float[Array, ""]
    averaged: Actor | None
    updates: Int[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: SACConfig) -> SACState:
    """A fresh agent; the temperature starts at 1."""
    keys = jax.random.split(key, 1 + config.critics)
    actor = Actor(obs_dim, action_dim, config.hidden, key=keys[0])
    critics = new_critics(
        keys[1:], obs_dim, action_dim, config.hidden, layer_norm=config.layer_norm
    )
    log_temperature = jnp.zeros(())
    optimiser = optax.adam(config.learning_rate)
    return SACState(
        actor=actor,
        critics=critics,
        # A copy, because both are donated to the compiled update.
        target_critics=jax.tree.map(jnp.copy, critics),
        log_temperature=log_temperature,
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
        temperature_opt=optimiser.init(log_temperature),
        best_reward=jnp.asarray(NO_LIMIT),
        worst_reward=jnp.asarray(-NO_LIMIT),
        averaged=None if config.average_rate is None else jax.tree.map(jnp.copy, actor),
        updates=jnp.zeros((), jnp.int32),
    )


def summarise_data(state: SACState, offline: Replay, online: Replay, config: SACConfig) -> SACState:
    """Finds the best and the worst known reward; imagined rewards do not count."""
    high = 1.0 if config.clip_targets is None else config.clip_targets
    low = 0.0 if config.floor_targets is None else config.floor_targets
    rewards = jnp.concatenate(
        [
            jnp.where(jnp.arange(replay.capacity) < replay.size, replay.data.reward, jnp.nan)
            for replay in (offline, online)
        ]
    )
    worst, best = jnp.nanquantile(rewards, jnp.asarray([low, high]))
    return dataclasses.replace(
        state,
        best_reward=jnp.where(jnp.isfinite(best), best, NO_LIMIT),
        worst_reward=jnp.where(jnp.isfinite(worst), worst, -NO_LIMIT),
    )


def largest_value(
    best_reward: Float[Array, ""], temperature: Float[Array, ""], action_dim: int, discount: float
) -> Float[Array, ""]:
    """The largest soft value that a policy could have if it earned `best_reward` at every step.

    max(r + alpha d log 2, 0) / (1 - gamma): the entropy of d actions in (-1, 1) is at most d log 2,
    and an episode that ends earns 0 from there on. NO_LIMIT without a discount.
    """
    if discount >= 1.0:
        return jnp.asarray(NO_LIMIT)
    a_step = jnp.maximum(best_reward + temperature * action_dim * jnp.log(2.0), 0.0)
    return jnp.minimum(a_step / (1.0 - discount), NO_LIMIT)


def least_value(worst_reward: Float[Array, ""], discount: float) -> Float[Array, ""]:
    """The lowest value that a policy could have if it earned `worst_reward` at every step.

    It does not include the entropy. If the reward is positive it is that of one step, because the
    episode may end there; otherwise r / (1 - gamma). -NO_LIMIT without a discount.
    """
    if discount >= 1.0:
        return jnp.where(worst_reward > 0.0, worst_reward, -NO_LIMIT)
    return jnp.where(worst_reward > 0.0, worst_reward, worst_reward / (1.0 - discount))


def value(
    state: SACState, obs: Float[Array, "batch obs"], key: PRNGKeyArray
) -> Float[Array, " batch"]:
    """V(s): the lowest of the target critics at a sampled action, without the entropy."""
    return value_of(state.actor, state.target_critics, obs, key)


def critic_loss(critics: MLP, batch: Batch, target: Float[Array, " batch"]) -> Float[Array, ""]:
    """1/2 mean squared Bellman error, summed over the critics."""
    return 0.5 * q_functions.critic_loss(critics, batch, target)


def actor_loss(
    actor: Actor,
    critics: MLP,
    temperature: Float[Array, ""],
    obs: Float[Array, "batch obs"],
    key: PRNGKeyArray,
    config: SACConfig,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[temperature log pi(a|s) - Q(s, a)], a ~ pi; also the mean entropy.

    Q is the minimum of the critics, or with `critic_subset` their mean.
    """
    action, log_density = sample_action(actor, obs, key)
    values = q_values(critics, obs, action)
    value = values.min(axis=0) if config.critic_subset is None else values.mean(axis=0)
    return jnp.mean(temperature * log_density - value), -jnp.mean(log_density)


def targets(
    state: SACState, batch: Batch, key: PRNGKeyArray, config: SACConfig
) -> tuple[Float[Array, " batch"], Float[Array, ""]]:
    """What the critics learn: r + gamma (1 - terminated) [min_j Q_j(s', a') - alpha log pi(a'|s')].

    The minimum runs over the target critics, or a random subset of them.

    Returns:
        The targets and the largest possible value. With `clip_targets` no target exceeds it, and
        with `floor_targets` none is below the lowest possible value.
    """
    judges, temperature = state.target_critics, jnp.exp(state.log_temperature)
    if config.critic_subset is not None:
        key, key_judges = jax.random.split(key)
        judges = some_of(judges, key_judges, config.critic_subset)
    next_action, next_log_density = sample_action(state.actor, batch.next_obs, key)
    next_q = q_values(judges, batch.next_obs, next_action).min(axis=0)
    next_value = next_q - temperature * next_log_density
    target = bellman_target(batch.reward, batch.terminated, next_value, config.discount)
    largest = largest_value(state.best_reward, temperature, batch.action.shape[-1], config.discount)
    if config.floor_targets is not None:
        target = jnp.maximum(target, least_value(state.worst_reward, config.discount))
    return (target if config.clip_targets is None else jnp.minimum(target, largest)), largest


def learn_actor(
    state: SACState,
    critics: MLP,
    batch: Batch,
    key: PRNGKeyArray,
    config: SACConfig,
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """One gradient step of actor and temperature, against these critics."""
    rate, others = config.learning_rate, (batch.obs, key, config)
    temperature = jnp.exp(state.log_temperature)
    actor, actor_opt, (loss, entropy) = adam_step(
        actor_loss, state.actor, state.actor_opt, rate, critics, temperature, *others, has_aux=True
    )
    action_dim = batch.action.shape[-1]
    wanted = wanted_entropy(config.target_entropy, action_dim, config.entropy_per_action)
    log_temperature, temperature_opt = temperature_step(
        state.log_temperature, state.temperature_opt, entropy, wanted, rate
    )
    new_state = dataclasses.replace(
        state,
        actor=actor,
        actor_opt=actor_opt,
        log_temperature=log_temperature,
        temperature_opt=temperature_opt,
    )
    return new_state, {"actor_loss": loss, "entropy": entropy}


def update(
    state: SACState, batch: Batch, key: PRNGKeyArray, config: SACConfig
) -> tuple[SACState, dict[str, Float[Array, ""]]]:
    """One gradient step of critics, actor and temperature, and one of the target critics.

    Actor and temperature learn once in `actor_every` updates.
    """
    key_next, key_actor = jax.random.split(key)

    # Critics
    target, largest = targets(state, batch, key_next, config)
    critics, critic_opt, q_loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.learning_rate, batch, target
    )

    # Actor and temperature, and the average that follows the actor
    learned, metrics = learn_once_in(
        config.actor_every,
        state.updates,
        lambda before: learn_actor(before, critics, batch, key_actor, config),
        state,
    )
    averaged = None
    if config.average_rate is not None:
        averaged = optax.incremental_update(learned.actor, state.averaged, config.average_rate)

    new_state = dataclasses.replace(
        learned,
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        critic_opt=critic_opt,
        averaged=averaged,
        updates=state.updates + 1,
    )
    metrics |= {
        "critic_loss": q_loss,
        "temperature": jnp.exp(state.log_temperature),
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
        "q_possible": largest,
    }
    return new_state, metrics


def policy(state: SACState) -> Actor:
    """The policy, which acts in the system and the models and is evaluated."""
    return state.actor if state.averaged is None else state.averaged


def act(
    actor: Actor, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """The acting policy: a sample of pi(.|s), in (-1, 1)."""
    return sample_action(actor, obs, key)[0]


def act_mode(actor: Actor, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
    """The evaluated policy: tanh of the mean."""
    return mode_action(actor, obs)


AGENT = Agent(
    name="sac",
    settings=SACConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    value=value,
    summarise_data=summarise_data,
    long_horizon=True,
)


def rlpd() -> SACConfig:
    """RLPD is SAC with ten normalised critics and subsets of two (ikostrikov/rlpd, configs)."""
    return SACConfig(
        critics=10, critic_subset=2, layer_norm=True, entropy_per_action=-0.5, actor_every=20
    )


RLPD = dataclasses.replace(AGENT, name="rlpd", settings=rlpd, long_horizon=False)
