"""The compiled programs of a step in the system: choosing an action, storing the transition."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.replay.buffer import Replay, Transition, append


@partial(jax.jit, static_argnames=("agent",))
def act(policy: PyTree, obs: Array, key: PRNGKeyArray, agent: Agent):
    key, key_action = jax.random.split(key)
    return agent.act(policy, obs, key_action), key


@partial(jax.jit, static_argnames=("agent",))
def act_around(
    policy: PyTree, obs: Array, key: PRNGKeyArray, noise: Float[Array, ""], agent: Agent
) -> tuple[Array, PRNGKeyArray]:
    """The action without noise, and normal noise of this deviation, within the bounds."""
    key, key_noise = jax.random.split(key)
    action = agent.act_mode(policy, obs)
    drawn = action + noise * jax.random.normal(key_noise, action.shape)
    return jnp.clip(drawn, -1.0, 1.0), key


@partial(jax.jit, static_argnames=("agent",))
def act_mode(policy: PyTree, obs: Array, agent: Agent) -> Array:
    return agent.act_mode(policy, obs)


@partial(jax.jit, static_argnames=("agent", "agent_config"), donate_argnames=("agent_state",))
def summarise_data(
    agent_state: PyTree, offline: Replay, online: Replay, agent: Agent, agent_config: Any
):
    """Lets the agent summarise the data as a whole."""
    return agent.summarise_data(agent_state, offline, online, agent_config)


@partial(jax.jit, static_argnames=("action_dim",))
def act_randomly(key: PRNGKeyArray, action_dim: int):
    key, key_action = jax.random.split(key)
    return jax.random.uniform(key_action, (action_dim,), minval=-1.0, maxval=1.0), key


@partial(jax.jit, static_argnames=("holdout_fraction",), donate_argnames=("online",))
def observe(
    online: Replay, transition: Transition, key: PRNGKeyArray, holdout_fraction: float
) -> tuple[Replay, PRNGKeyArray]:
    key, key_split = jax.random.split(key)
    return append(online, transition, key_split, holdout_fraction=holdout_fraction), key


@partial(jax.jit, donate_argnames=("online",))
def cut_newest(online: Replay) -> Replay:
    """Ends the episode after the newest row, because the next one does not follow it."""
    data, newest = online.data, online.size - 1
    truncated = jnp.asarray(data.truncated).at[newest].set(~data.terminated[newest])
    return dataclasses.replace(online, data=dataclasses.replace(data, truncated=truncated))
