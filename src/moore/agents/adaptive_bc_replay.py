"""Adaptive BC (Zhao et al. 2022): the agent of `adaptive_bc`, with the draws that it learns from.

Offline, its batches are uniform draws from the whole log. At the hand-over the log is given up for
a part of it, chosen once, with replacement; online rows join this part, and batches are uniform
draws from both. The weight of imitation follows every online episode as soon as it has ended.
Sizes are those of the authors' code (zhaoyi11/adaptive_bc, main.py and utils.py).
"""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from moore.agents import adaptive_bc
from moore.agents.adaptive_bc import AdaptiveBCConfig, AdaptiveBCState, DeterministicActor
from moore.agents.adaptive_bc import act as act
from moore.agents.adaptive_bc import act_mode as act_mode
from moore.replay.buffer import Replay, as_batch
from moore.replay.sampler import gather


class AdaptiveBCReplayState(eqx.Module):
    """All that a step changes.

    `agent`: networks and weight. `choice`: seed of the choice of the kept part. `kept`: logged rows
    of the online stage, one as often as it was drawn; none offline. `online`: the hand-over has
    been.
    """

    agent: AdaptiveBCState
    choice: UInt32[Array, ""]
    kept: Int[Array, " kept"]
    online: bool = eqx.field(static=True, default=False)


def init(
    key: PRNGKeyArray, obs_dim: int, action_dim: int, config: AdaptiveBCConfig
) -> AdaptiveBCReplayState:
    """A fresh agent; which rows it will keep is already decided."""
    key_agent, key_choice = jax.random.split(key)
    return AdaptiveBCReplayState(
        agent=adaptive_bc.init(key_agent, obs_dim, action_dim, config),
        choice=jax.random.bits(key_choice),
        kept=jnp.zeros(0, jnp.int32),
    )


def look(
    state: AdaptiveBCReplayState, offline: Replay, online: Replay, config: AdaptiveBCConfig
) -> AdaptiveBCReplayState:
    """At the beginning of the online stage: chooses the rows of the log that are kept."""
    if not state.online or state.kept.size:
        return state
    count = max(int(config.kept_share * offline.capacity), config.kept_least, 1)
    key = jax.random.key(state.choice)
    kept = jax.random.randint(key, (count,), 0, offline.size, dtype=jnp.int32)
    return replace(state, kept=kept)


def hand_over(state: AdaptiveBCReplayState, config: AdaptiveBCConfig) -> AdaptiveBCReplayState:
    """The weight goes to its start of the online stage; all else goes on."""
    return replace(state, agent=adaptive_bc.hand_over(state.agent, config), online=True)


def new_episode(state: AdaptiveBCReplayState) -> AdaptiveBCReplayState:
    """The running online episode was left without an end: the weight does not follow it."""
    return replace(state, agent=adaptive_bc.new_episode(state.agent))


def draw(
    state: AdaptiveBCReplayState,
    offline: Replay,
    online: Replay,
    key: PRNGKeyArray,
    config: AdaptiveBCConfig,
) -> Int[Array, " batch"]:
    """Joint indices of a batch, drawn uniformly with replacement.

    Offline from the log. Online from the newest `replay_capacity` entries of a list: the kept rows,
    then the online ones.
    """
    shape = (config.batch_size,)
    if not state.online:
        return jax.random.randint(key, shape, 0, offline.size, dtype=jnp.int32)
    count = state.kept.size
    until = count + online.size
    since = jnp.maximum(until - config.replay_capacity, 0)
    place = jax.random.randint(key, shape, since, until, dtype=jnp.int32)
    logged = state.kept[jnp.minimum(place, count - 1)]
    return jnp.where(place < count, logged, offline.capacity + place - count)


def learn(
    state: AdaptiveBCReplayState,
    offline: Replay,
    online: Replay,
    key: PRNGKeyArray,
    config: AdaptiveBCConfig,
) -> tuple[AdaptiveBCReplayState, dict[str, Float[Array, ""]]]:
    """One gradient step, on a batch that it draws itself, after a look at the new online rows.

    The metrics are the agent's and the `online_share` of the batch.

    Args:
        state: after `look` on these buffers.
        offline: the log; one row at least.
        online: the online data; not looked at in the offline stage.
        key: of the draws and the update.
        config: constants.
    """
    key_draw, key_update = jax.random.split(key)
    agent = adaptive_bc.follow(state.agent, online, config)
    rows = draw(state, offline, online, key_draw, config)
    batch = as_batch(gather(offline, online, rows), rows)
    agent, metrics = adaptive_bc.update(agent, batch, key_update, config)
    share = jnp.mean(rows >= offline.capacity)
    return replace(state, agent=agent), metrics | {"online_share": share}


def policy(state: AdaptiveBCReplayState) -> DeterministicActor:
    """What acts and is evaluated."""
    return adaptive_bc.policy(state.agent)
