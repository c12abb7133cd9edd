"""WSRL, warm-start RL (Zhou et al. 2024): CQL on the log, then plain SAC on online data alone.

No logged row is kept for the online stage. Three things keep the value function from falling at the
hand-over: a warm-up in which the policy acts and nothing is learned (`online.frozen_steps`), a
critic ensemble with normalised layers, and several updates of the critics for each update of the
actor. Settings are those of the authors' code (zhouzypaul/wsrl, configs locomotion_wsrl and
cql_config, scripts/locomotion/launch_wsrl_finetune.sh).

Note:
    The authors split a large batch for the critic updates of a step, and the actor learns from the
    whole batch. Here every update has a batch of its own, and the actor learns from the last one.
    Their actor has normalised layers too; here only the critics have.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents import cql
from moore.agents.adam import adam_step, learn_once_in
from moore.agents.agent import Agent
from moore.agents.cql import CQLState
from moore.agents.cql_config import CQLConfig, shared_settings
from moore.agents.critics import critic_loss, q_values
from moore.agents.nets import Actor
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import AnySign, Fraction, NonNegative, Positive
from moore.replay.buffer import Batch


@dataclass(frozen=True)
class WSRLConfig:
    """Settings of WSRL."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    actor_learning_rate: Positive[float] = 1e-4
    """Learning rate of Adam for the actor and the temperature."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    target_entropy: AnySign[float] | None = None
    """Entropy of the policy in nats that the temperature is adapted to reach. None uses minus the
    number of action entries."""
    entropy_backup: bool = False
    """Include the entropy of the next action in the Bellman targets."""
    critics: Positive[int] = 10
    """Number of critics (Q functions). The actor follows the minimum of all."""
    critic_subset: Positive[int] | None = 2
    """REDQ: a Bellman target is the minimum of this many critics, drawn anew at each update. None
    uses the minimum of all."""
    layer_norm: bool = True
    """Normalise the hidden layers of the critics."""
    actor_every: Positive[int] = 4
    """Online, number of updates of the critics for one update of actor and temperature."""
    conservative_weight: NonNegative[float] = 5.0
    """w: weight of CQL's conservative term, in the offline stage."""
    sampled_actions: Positive[int] = 10
    """n: number of actions that CQL samples, in the offline stage."""
    max_target_backup: bool = True
    """Offline, use the best of n next actions in the Bellman target instead of a single one."""
    warm_up: NonNegative[int] = 0
    """Number of offline updates at the beginning in which the actor imitates the logged actions.
    The authors use none."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""


class WSRLState(eqx.Module):
    """The agent's networks and optimisers; `online` is True after the hand-over.

    At the hand-over everything in `agent` is kept, including optimisers and temperature. Its
    `updates` then counts the online updates.
    """

    agent: CQLState
    online: Bool[Array, ""]


def offline_config(config: WSRLConfig) -> CQLConfig:
    """The settings of the offline stage."""
    return shared_settings(config)


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: WSRLConfig) -> WSRLState:
    """A fresh agent; the temperature starts at 1."""
    agent = cql.init(key, obs_dim, action_dim, offline_config(config))
    return WSRLState(agent, jnp.zeros((), bool))


def hand_over(state: WSRLState, config: WSRLConfig) -> WSRLState:
    """From here on there is no conservative term."""
    del config
    agent = dataclasses.replace(state.agent, updates=jnp.zeros((), jnp.int32))
    return WSRLState(agent, jnp.ones((), bool))


def update_online(
    agent: CQLState, batch: Batch, key: PRNGKeyArray, config: WSRLConfig
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics and of their targets; of the actor once in `actor_every`."""
    key_target, key_actor = jax.random.split(key)
    plain = dataclasses.replace(offline_config(config), max_target_backup=False)
    target = cql.bellman_targets(agent, batch, key_target, plain)
    critics, critic_opt, q_loss = adam_step(
        critic_loss, agent.critics, agent.critic_opt, config.learning_rate, batch, target
    )

    def learn(before: CQLState) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
        warming_up = jnp.zeros((), bool)  # the actor does not imitate online
        return cql.learn_actor(before, critics, batch, warming_up, key_actor, plain)

    learned, found = learn_once_in(config.actor_every, agent.updates, learn, agent)
    learned = dataclasses.replace(
        learned,
        critics=critics,
        target_critics=optax.incremental_update(critics, agent.target_critics, config.target_rate),
        critic_opt=critic_opt,
        updates=agent.updates + 1,
    )
    return learned, found | {
        "critic_loss": q_loss,
        "conservative": jnp.zeros(()),
        "q_logged": jnp.mean(q_values(agent.critics, batch.obs, batch.action)),
        "temperature": jnp.exp(agent.log_temperature),
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }


def update_offline(
    agent: CQLState, batch: Batch, key: PRNGKeyArray, config: WSRLConfig
) -> tuple[CQLState, dict[str, Float[Array, ""]]]:
    """One update of CQL."""
    learned, metrics = cql.update(agent, batch, key, offline_config(config))
    del metrics["bounded_share"]  # this metric belongs to Cal-QL
    return learned, metrics


def update(
    state: WSRLState, batch: Batch, key: PRNGKeyArray, config: WSRLConfig
) -> tuple[WSRLState, dict[str, Float[Array, ""]]]:
    """One update: of CQL before the hand-over, of SAC after it."""
    agent, metrics = jax.lax.cond(
        state.online,
        lambda: update_online(state.agent, batch, key, config),
        lambda: update_offline(state.agent, batch, key, config),
    )
    return WSRLState(agent, state.online), metrics


def policy(state: WSRLState) -> Actor:
    """The policy, which acts and is evaluated."""
    return state.agent.actor


AGENT = Agent(
    name="wsrl",
    settings=WSRLConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    hand_over=hand_over,
)
