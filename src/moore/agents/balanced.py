"""Balanced Replay with a pessimistic Q-ensemble (Lee et al. 2021), offline and online.

Offline: an ensemble of independent CQL agents. Online: their policies act as one Gaussian with the
first two moments of their mixture, and all actors and critics learn together by SAC; the target of
a member is the minimum of its own critics. A network learns w(s, a) ~ d_on / d_off, the density
ratio of online and offline data. It sets the priorities of the replay, so that logged transitions
that resemble online ones are drawn more often. Settings that the paper leaves open are those of the
authors' code (shlee94/Off2OnRL, torch/sac/ours.py).

Note:
    All members learn offline from the same batch; they differ by their initial networks and by the
    actions they draw. The authors train each on batches of its own. Networks have this project's
    initialisation; theirs have small last layers. The authors' offline code is not public, so the
    constants of CQL are those of `moore.agents.cql`.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents import cql
from moore.agents.adam import adam_step
from moore.agents.agent import Agent, scores_in_warm_up
from moore.agents.balanced_config import BalancedConfig
from moore.agents.cql import CQLState
from moore.agents.cql_config import CQLConfig, shared_settings
from moore.agents.critics import bellman_target, q_values, squared_errors
from moore.agents.density_ratio import RATIO_EPSILON, density_ratio, ratio_loss
from moore.agents.mixture import Mixture, sample_mixture
from moore.agents.nets import MLP, Actor
from moore.agents.temperature import temperature_step, wanted_entropy
from moore.replay.buffer import Batch, GroupedBatch


class BalancedState(eqx.Module):
    """All that updates change. `members` stacks the CQL agents along a leading axis.

    `online` is True after the hand-over. From then on `log_temperature` is that of the mixture, and
    those of the members are not used.
    """

    members: CQLState
    log_temperature: Float[Array, ""]
    temperature_opt: optax.OptState
    ratio: MLP
    ratio_opt: optax.OptState
    online: Bool[Array, ""]


def offline_config(config: BalancedConfig) -> CQLConfig:
    """The settings of the members."""
    return shared_settings(config, actor_learning_rate=config.offline_actor_learning_rate)


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: BalancedConfig) -> BalancedState:
    """A fresh ensemble; the temperatures start at 1, the density ratio around 1."""
    key_members, key_ratio = jax.random.split(key)
    members = jax.vmap(lambda k: cql.init(k, obs_dim, action_dim, offline_config(config)))(
        jax.random.split(key_members, config.members)
    )
    ratio = MLP(obs_dim + action_dim, config.hidden, 1, key=key_ratio)
    ratio = eqx.tree_at(lambda r: r.layers[-1].bias, ratio, jnp.ones(1))
    log_temperature = jnp.zeros(())
    return BalancedState(
        members=members,
        log_temperature=log_temperature,
        temperature_opt=optax.adam(config.learning_rate).init(log_temperature),
        ratio=ratio,
        ratio_opt=optax.adam(config.ratio_learning_rate).init(ratio),
        online=jnp.zeros((), bool),
    )


def hand_over(state: BalancedState, config: BalancedConfig) -> BalancedState:
    """From here on the members learn together; optimisers are new, as in the authors' code.

    The networks are kept, the target critics become copies of the critics (their examples/ours.py),
    and the mixture's temperature starts at 1.
    """
    optimiser = optax.adam(config.learning_rate)
    members = state.members
    fresh = (
        jax.vmap(optimiser.init)(members.actor),
        jax.vmap(optimiser.init)(members.critics),
        jax.tree.map(jnp.copy, members.critics),
    )
    members = eqx.tree_at(lambda m: (m.actor_opt, m.critic_opt, m.target_critics), members, fresh)
    return dataclasses.replace(state, members=members, online=jnp.ones((), bool))


def member_values(
    critics: MLP, obs: Float[Array, "batch obs"], action: Float[Array, "batch action"]
) -> Float[Array, "members critics batch"]:
    """Q_ij(s, a) of every critic j of every member i."""
    return jax.vmap(lambda pair: q_values(pair, obs, action))(critics)


def critic_loss(
    critics: MLP, batch: Batch, target: Float[Array, "members batch"]
) -> Float[Array, ""]:
    """Mean squared Bellman error, every member to its own target; summed over all critics."""
    values = member_values(critics, batch.obs, batch.action)
    return squared_errors(values, target[:, None]).sum()


def actor_loss(
    actors: Actor,
    critics: MLP,
    temperature: Float[Array, ""],
    obs: Float[Array, "batch obs"],
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[temperature log pi(a|s) - mean_i min_j Q_ij(s, a)], a ~ the mixture; also the entropy.

    Its gradient reaches all actors through the mixture.
    """
    action, log_density = sample_mixture(Mixture(actors), obs, key)
    value = member_values(critics, obs, action).min(axis=1).mean(axis=0)
    return jnp.mean(temperature * log_density - value), -jnp.mean(log_density)


def member_targets(
    state: BalancedState, batch: Batch, key: PRNGKeyArray, config: BalancedConfig
) -> Float[Array, "members batch"]:
    """r + gamma (1 - terminated) (min_j Q'_ij(s', a') - temperature log pi(a'|s')) of member i.

    All members share one a' of the mixture; the minimum is not taken over members.
    """
    mixture = Mixture(state.members.actor)
    action, log_density = sample_mixture(mixture, batch.next_obs, key)
    values = member_values(state.members.target_critics, batch.next_obs, action).min(axis=1)
    values = values - jnp.exp(state.log_temperature) * log_density[None]
    reward, terminated = batch.reward, batch.terminated
    return jax.vmap(lambda v: bellman_target(reward, terminated, v, config.discount))(values)


def update_offline(
    state: BalancedState, batch: Batch, key: PRNGKeyArray, config: BalancedConfig
) -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
    """One update of CQL for every member, all on the same batch; metrics are the members' means."""
    keys = jax.random.split(key, config.members)
    members, metrics = jax.vmap(lambda s, k: cql.update(s, batch, k, offline_config(config)))(
        state.members, keys
    )
    means = {name: jnp.mean(value) for name, value in metrics.items() if name != "bounded_share"}
    means["q_target_max"] = jnp.max(metrics["q_target_max"])
    return dataclasses.replace(state, members=members), means


def update_online(
    state: BalancedState, batch: Batch, key: PRNGKeyArray, config: BalancedConfig
) -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
    """One gradient step of all critics, all actors and the temperature, and of the target critics.

    In the metrics the critics' losses are divided by the number of members, so that they are
    comparable with the offline ones.
    """
    key_target, key_actor = jax.random.split(key)
    optimiser = optax.adam(config.learning_rate)
    step = jax.vmap(optimiser.update)
    members, temperature = state.members, jnp.exp(state.log_temperature)

    # Critics
    target = member_targets(state, batch, key_target, config)
    q_loss, q_grad = jax.value_and_grad(critic_loss)(members.critics, batch, target)
    q_step, critic_opt = step(q_grad, members.critic_opt)
    critics = optax.apply_updates(members.critics, q_step)

    # Actors
    (pi_loss, entropy), pi_grad = jax.value_and_grad(actor_loss, has_aux=True)(
        members.actor, critics, temperature, batch.obs, key_actor
    )
    pi_step, actor_opt = step(pi_grad, members.actor_opt)

    # Temperature
    log_temperature, temperature_opt = temperature_step(
        state.log_temperature,
        state.temperature_opt,
        entropy,
        wanted_entropy(config.target_entropy, batch.action.shape[-1]),
        config.learning_rate,
    )

    actor = optax.apply_updates(members.actor, pi_step)
    target_critics = optax.incremental_update(critics, members.target_critics, config.target_rate)
    new_members = eqx.tree_at(
        lambda m: (m.actor, m.critics, m.target_critics, m.actor_opt, m.critic_opt),
        members,
        (actor, critics, target_critics, actor_opt, critic_opt),
    )
    new_state = dataclasses.replace(
        state,
        members=new_members,
        log_temperature=log_temperature,
        temperature_opt=temperature_opt,
    )
    metrics = {
        "critic_loss": q_loss / config.members,
        "conservative": jnp.zeros(()),  # there is no such term online
        "q_logged": jnp.mean(member_values(members.critics, batch.obs, batch.action)),
        "actor_loss": pi_loss,
        "entropy": entropy,
        "temperature": temperature,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return new_state, metrics


def update_ratio(
    state: BalancedState, offline_batch: Batch, online_batch: Batch, config: BalancedConfig
) -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
    """One gradient step of the density-ratio network; both batches are drawn uniformly."""
    batches = offline_batch, online_batch
    ratio, ratio_opt, loss = adam_step(
        ratio_loss, state.ratio, state.ratio_opt, config.ratio_learning_rate, *batches
    )
    metrics = {
        "ratio_loss": loss,
        "ratio_offline": jnp.mean(
            density_ratio(state.ratio, offline_batch.obs, offline_batch.action)
        ),
        "ratio_online": jnp.mean(density_ratio(state.ratio, online_batch.obs, online_batch.action)),
    }
    return dataclasses.replace(state, ratio=ratio, ratio_opt=ratio_opt), metrics


def priorities(
    state: BalancedState, batch: Batch, offline_batch: Batch, config: BalancedConfig
) -> Float[Array, " rows"]:
    """The new priorities of the batch's rows: w^(1/T) / E_off[w^(1/T)], cut to `priority_range`.

    The mean is over `offline_batch`, drawn uniformly from the log. The authors use the ratio as it
    was before the `update_ratio` of the same step.
    """
    power = 1.0 / config.ratio_temperature
    weight = density_ratio(state.ratio, batch.obs, batch.action) ** power
    mean = jnp.mean(density_ratio(state.ratio, offline_batch.obs, offline_batch.action) ** power)
    return jnp.clip(weight / (mean + RATIO_EPSILON), *config.priority_range)


def row_priorities(
    state: BalancedState, batch: GroupedBatch, config: BalancedConfig
) -> Float[Array, " rows"]:
    """The new priorities of a batch, for the replay that draws it."""
    return priorities(state, batch.batch, batch.logged, config)


def update(
    state: BalancedState, batch: GroupedBatch, key: PRNGKeyArray, config: BalancedConfig
) -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
    """One update: of CQL before the hand-over; of SAC and the density ratio after it."""

    def offline() -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
        ensemble, metrics = update_offline(state, batch.batch, key, config)
        names = ("ratio_loss", "ratio_offline", "ratio_online")
        return ensemble, metrics | {name: jnp.zeros(()) for name in names}

    def online() -> tuple[BalancedState, dict[str, Float[Array, ""]]]:
        ensemble, of_ratio = update_ratio(state, batch.logged, batch.collected, config)
        ensemble, metrics = update_online(ensemble, batch.batch, key, config)
        return ensemble, metrics | of_ratio

    return jax.lax.cond(state.online, online, offline)


def policy(state: BalancedState) -> Mixture:
    """The policy, which acts and is evaluated in both stages."""
    return Mixture(state.members.actor)


def act(
    mixture: Mixture, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """A sample of the mixture's Gaussian, in [-1, 1]."""
    return sample_mixture(mixture, obs, key)[0]


def act_mode(mixture: Mixture, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
    """The deterministic policy: tanh of the mean."""
    return jnp.tanh(mixture(obs)[0])


AGENT = Agent(
    name="balanced_replay",
    settings=BalancedConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    hand_over=hand_over,
    scores_actions=scores_in_warm_up,
    actor=Mixture,
)
