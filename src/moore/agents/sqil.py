"""SQIL, soft Q imitation learning (Reddy et al. 2020): SAC that imitates the log.

A row of the log earns 1 and a row of the online data earns 0, whatever reward was recorded; half
of every batch is drawn from each (the scheme half_half). So the agent learns to do what the log
does and to come back to where the log has been, and no reward function is needed. The discrete
agent of the paper is a soft Q-learner; for continuous actions the paper takes SAC, as
google-deepmind/acme (agents/jax/sqil) does. The constants are those of SAC.

Note:
    These rewards are never negative, so a long episode looks better than a short one. Where the
    log ends its episodes on purpose, the agent may learn to avoid the end.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.agents import sac
from moore.agents.agent import Agent
from moore.agents.nets import Actor
from moore.agents.sac import SACConfig, SACState
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.replay.buffer import Batch, Replay


class SQILState(eqx.Module):
    """The SAC agent, and the number of rows of the log, from which on joint rows are online ones.

    `logged` is 0 until `summarise_data` has seen the log.
    """

    agent: SACState
    logged: Int[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: SACConfig) -> SQILState:
    """A fresh agent, whose targets are clipped by rewards between 0 and 1, not by recorded ones."""
    agent = sac.init(key, obs_dim, action_dim, config)
    agent = dataclasses.replace(agent, best_reward=jnp.ones(()), worst_reward=jnp.zeros(()))
    return SQILState(agent, jnp.zeros((), jnp.int32))


def summarise_data(
    state: SQILState, offline: Replay, online: Replay, config: SACConfig
) -> SQILState:
    """Notes which joint rows belong to the log."""
    del online, config
    return dataclasses.replace(state, logged=jnp.asarray(offline.capacity, jnp.int32))


def imitation_reward(row: Int[Array, " rows"], logged: Int[Array, ""]) -> Float[Array, " rows"]:
    """The reward 1 for a row of the log, and 0 for an online or imagined one."""
    return ((row >= 0) & (row < logged)).astype(jnp.float32)


def update(
    state: SQILState, batch: Batch, key: PRNGKeyArray, config: SACConfig
) -> tuple[SQILState, dict[str, Float[Array, ""]]]:
    """One update of SAC on the constant rewards; `logged_share` of the rows earn 1."""
    reward = imitation_reward(batch.row, state.logged)
    agent, metrics = sac.update(state.agent, dataclasses.replace(batch, reward=reward), key, config)
    return SQILState(agent, state.logged), metrics | {"logged_share": jnp.mean(reward)}


def value(
    state: SQILState, obs: Float[Array, "batch obs"], key: PRNGKeyArray
) -> Float[Array, " batch"]:
    """V(s) in imitation rewards: the lowest of the target critics at a sampled action."""
    return sac.value(state.agent, obs, key)


def policy(state: SQILState) -> Actor:
    """The policy, which acts and is evaluated."""
    return sac.policy(state.agent)


AGENT = Agent(
    name="sqil",
    settings=SACConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
    value=value,
    keeps_rows=True,
)
