"""Conservative Q-learning, CQL(H) (Kumar et al. 2020), and its calibrated form, Cal-QL.

SAC whose critics are also pushed down wherever exp(Q) is large and up at the actions of the data
(Eq. 4 of the paper, with the sum over actions estimated by importance sampling), so that actions
outside the data are underestimated rather than overestimated. Cal-QL (Nakamoto et al. 2023) does
not push the policy's actions below what the data is known to have earned from that state. Settings
that the papers leave open are those of aviralkumar2907/CQL (cql.py) and nakamotoo/Cal-QL
(conservative_sac.py).

Note:
    The critics step first and the actor follows the new ones, as in this project's SAC; the
    authors take both gradients at the old networks. There is no Lagrange multiplier.
"""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent, scores_in_warm_up
from moore.agents.awac import inside
from moore.agents.cql_config import CQLConfig
from moore.agents.critics import (
    bellman_target,
    new_critics,
    q_of_many,
    q_values,
    some_of,
    squared_errors,
)
from moore.agents.nets import MLP, Actor, sample_action, sample_actions, squashed_log_density
from moore.agents.returns import returns_to_go
from moore.agents.sac import NO_LIMIT
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.agents.temperature import temperature_step, wanted_entropy
from moore.replay.buffer import Batch, Replay


class CQLState(eqx.Module):
    """All that an update changes. `critics` stacks the Q functions along a leading axis.

    `returns` is the result of `summarise_data`: the return-to-go of every row, first of the log and
    then of the online data; -NO_LIMIT if it is unknown. It is empty before the first epoch and
    without calibration.
    """

    actor: Actor
    critics: MLP
    target_critics: MLP
    log_temperature: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    temperature_opt: optax.OptState
    updates: Int[Array, ""]
    returns: Float[Array, " joint"]


class Proposals(eqx.Module):
    """The actions that the conservative term compares with the logged ones.

    `lower_bound`: lower bound of their values; -NO_LIMIT for none.
    """

    action: Float[Array, "proposed rows action"]
    log_density: Float[Array, "proposed rows"]
    lower_bound: Float[Array, "proposed rows"]


# (critics, batch, target, proposals, config) -> the loss and its parts.
CriticLoss = Callable[
    [MLP, Batch, Float[Array, " rows"], Proposals, CQLConfig],
    tuple[Float[Array, ""], dict[str, Float[Array, ""]]],
]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: CQLConfig) -> CQLState:
    """A fresh agent; the temperature starts at 1."""
    keys = jax.random.split(key, 1 + config.critics)
    actor = Actor(obs_dim, action_dim, config.hidden, key=keys[0])
    critics = new_critics(
        keys[1:], obs_dim, action_dim, config.hidden, layer_norm=config.layer_norm
    )
    log_temperature = jnp.zeros(())
    return CQLState(
        actor=actor,
        critics=critics,
        # A copy, because both are donated to the compiled update.
        target_critics=jax.tree.map(jnp.copy, critics),
        log_temperature=log_temperature,
        actor_opt=optax.adam(config.actor_learning_rate).init(actor),
        critic_opt=optax.adam(config.learning_rate).init(critics),
        temperature_opt=optax.adam(config.actor_learning_rate).init(log_temperature),
        updates=jnp.zeros((), jnp.int32),
        returns=jnp.zeros(0, jnp.float32),
    )


def summarise_data(state: CQLState, offline: Replay, online: Replay, config: CQLConfig) -> CQLState:
    """Cal-QL: computes the return-to-go of every row of log and online data.

    A row that is added to the online data later has no bound until the next epoch.
    """
    if not config.calibrated:
        return state
    found = jnp.concatenate([returns_to_go(data, config.discount) for data in (offline, online)])
    return dataclasses.replace(state, returns=found)


def returns_of(state: CQLState, row: Int[Array, " rows"]) -> Float[Array, " rows"]:
    """The return-to-go of every given row; -NO_LIMIT for an imagined one (-1) and unknown ones."""
    known = jnp.where(row >= 0, row, state.returns.size)
    return state.returns.at[known].get(mode="fill", fill_value=-NO_LIMIT)


def propose(state: CQLState, batch: Batch, key: PRNGKeyArray, config: CQLConfig) -> Proposals:
    """n uniform actions, n of pi(.|s) and n of pi(.|s'), all to be judged at s.

    Calibrated, the values of the last 2 n are bounded by the return-to-go of the row of s; the
    uniform ones never are.
    """
    key_random, key_now, key_next = jax.random.split(key, 3)
    count = config.sampled_actions
    rows, action_dim = batch.action.shape
    random = jax.random.uniform(key_random, (count, rows, action_dim), minval=-1.0, maxval=1.0)
    now, now_log_density = sample_actions(state.actor, batch.obs, key_now, count)
    later, later_log_density = sample_actions(state.actor, batch.next_obs, key_next, count)
    uniform = jnp.full((count, rows), -action_dim * jnp.log(2.0))
    unbounded = jnp.full((count, rows), -NO_LIMIT)
    bound = unbounded
    if config.calibrated:
        bound = jnp.broadcast_to(returns_of(state, batch.row), (count, rows))
    return Proposals(
        action=jnp.concatenate([random, now, later]),
        log_density=jnp.concatenate([uniform, now_log_density, later_log_density]),
        lower_bound=jnp.concatenate([unbounded, bound, bound]),
    )


def critic_loss(
    critics: MLP,
    batch: Batch,
    target: Float[Array, " rows"],
    proposals: Proposals,
    config: CQLConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """mean[(Q(s, a) - y)^2] + w mean[log sum_k exp(Q(s, a_k) - log q(a_k)) - Q(s, a)], summed
    over the critics; also what the term is made of.

    The density q of an action is that of the distribution it was drawn from. The sum is not divided
    by its 3 n parts, which only adds a constant.
    """
    logged = q_values(critics, batch.obs, batch.action)
    errors = squared_errors(logged, target)
    proposed = q_of_many(critics, batch.obs, proposals.action)
    lower_bound = proposals.lower_bound[None]
    counted = jnp.maximum(proposed, lower_bound)
    soft_maximum = jax.nn.logsumexp(counted - proposals.log_density[None], axis=1)
    gap = jnp.mean(soft_maximum - logged, axis=1)
    parts = {
        "conservative": config.conservative_weight * gap.sum(),
        "q_logged": jnp.mean(logged),
        # The policy proposes two thirds of the actions.
        "bounded_share": 1.5 * jnp.mean(proposed < lower_bound),
    }
    return jnp.sum(errors + config.conservative_weight * gap), parts


def actor_loss(
    actor: Actor,
    critics: MLP,
    temperature: Float[Array, ""],
    batch: Batch,
    warming_up: Bool[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[temperature log pi(a'|s) - Q(s, a')], a' ~ pi; also the mean entropy.

    Q is the minimum of the critics. During the warm-up log pi(a|s) of the logged action takes its
    place. Actions at +-1 are moved just inside, where the density is finite.
    """
    action, log_density = sample_action(actor, batch.obs, key)
    value = q_values(critics, batch.obs, action).min(axis=0)
    logged = squashed_log_density(jnp.arctanh(inside(batch.action)), *actor(batch.obs))
    gain = jnp.where(warming_up, logged, value)
    return jnp.mean(temperature * log_density - gain), -jnp.mean(log_density)


def bellman_targets(
    state: CQLState, batch: Batch, key: PRNGKeyArray, config: CQLConfig
) -> Float[Array, " rows"]:
    """r + gamma (1 - terminated) min_j Q'_j(s', a'), a' ~ pi(.|s') or the best of n such.

    The minimum runs over the target critics, or a random subset of them.
    """
    count = config.sampled_actions if config.max_target_backup else 1
    judges = state.target_critics
    if config.critic_subset is not None:
        key, key_judges = jax.random.split(key)
        judges = some_of(judges, key_judges, config.critic_subset)
    action, log_density = sample_actions(state.actor, batch.next_obs, key, count)
    values = q_of_many(judges, batch.next_obs, action).min(axis=0)
    best = jnp.argmax(values, axis=0)[None]
    value = jnp.take_along_axis(values, best, axis=0)[0]
    if config.entropy_backup:
        log_density = jnp.take_along_axis(log_density, best, axis=0)[0]
        value = value - jnp.exp(state.log_temperature) * log_density
    return bellman_target(batch.reward, batch.terminated, value, config.discount)


def learn_actor(
    state: CQLState,
    critics: MLP,
    batch: Batch,
    warming_up: Bool[Array, ""],
    key: PRNGKeyArray,
    config: CQLConfig,
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """One gradient step of actor and temperature, against these critics."""
    rate, others = config.actor_learning_rate, (batch, warming_up, key)
    temperature = jnp.exp(state.log_temperature)
    actor, actor_opt, (loss, entropy) = adam_step(
        actor_loss, state.actor, state.actor_opt, rate, critics, temperature, *others, has_aux=True
    )
    log_temperature, temperature_opt = temperature_step(
        state.log_temperature,
        state.temperature_opt,
        entropy,
        wanted_entropy(config.target_entropy, batch.action.shape[-1]),
        rate,
    )
    learned = dataclasses.replace(
        state,
        actor=actor,
        actor_opt=actor_opt,
        log_temperature=log_temperature,
        temperature_opt=temperature_opt,
    )
    return learned, {"actor_loss": loss, "entropy": entropy}


def update(
    state: CQLState, batch: Batch, key: PRNGKeyArray, config: CQLConfig
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """One gradient step of critics, actor and temperature, and one of the target critics."""
    return update_by(critic_loss, state, batch, key, config)


def update_by(
    loss_of_critics: CriticLoss,
    state: CQLState,
    batch: Batch,
    key: PRNGKeyArray,
    config: CQLConfig,
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """`update` with another loss of the critics."""
    key_target, key_propose, key_actor = jax.random.split(key, 3)
    target = bellman_targets(state, batch, key_target, config)
    proposals = propose(state, batch, key_propose, config)
    others = batch, target, proposals, config
    critics, critic_opt, (q_loss, parts) = adam_step(
        loss_of_critics,
        state.critics,
        state.critic_opt,
        config.learning_rate,
        *others,
        has_aux=True,
    )

    warming_up = state.updates < config.warm_up
    learned, of_actor = learn_actor(state, critics, batch, warming_up, key_actor, config)
    new_state = dataclasses.replace(
        learned,
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        critic_opt=critic_opt,
        updates=state.updates + 1,
    )
    return new_state, {
        **parts,
        **of_actor,
        "critic_loss": q_loss,
        "temperature": jnp.exp(state.log_temperature),
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }


def policy(state: CQLState) -> Actor:
    """The policy, which acts and is evaluated."""
    return state.actor


AGENT = Agent(
    name="cql",
    settings=CQLConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
    scores_actions=scores_in_warm_up,
)


def cal_ql() -> CQLConfig:
    """Cal-QL bounds CQL's values; the rest is nakamotoo/Cal-QL's (conservative_sac_main.py)."""
    return CQLConfig(calibrated=True, max_target_backup=True, warm_up=0, hidden=(256, 256))


CAL_QL = dataclasses.replace(AGENT, name="cal_ql", settings=cal_ql, keeps_rows=True)
