"""Implicit Q-learning (IQL, Kostrikov et al. 2022), with the authors' settings for locomotion.

No action outside the data is ever judged: V is an upper expectile of Q over the logged actions, Q
regresses on r + gamma V(s'), and the actor on the logged actions, weighted by their exponentiated
advantage. The order of the steps is that of the authors' code (ikostrikov/implicit_q_learning,
learner.py): V, actor, Q, target Q.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent
from moore.agents.awac import capped_exp, inside
from moore.agents.critics import bellman_target, critic_loss, new_critics, q_values
from moore.agents.nets import MLP
from moore.agents.numpy_acting import CLIPPED_LOG_STD_MAX, CLIPPED_LOG_STD_MIN
from moore.ranges import Fraction, Positive
from moore.replay.buffer import Batch, Replay
from moore.shapes import to_rank_of

# The spread of the episode returns that rewards are scaled to (the authors' train_offline.py).
RETURN_SPREAD = 1000.0
# Returns that differ by less than this share of the largest count as equal; it is about the
# rounding error of a float32 sum over an episode.
_SAME_RETURN = 1e-5


@dataclass(frozen=True)
class IQLConfig:
    """Settings of IQL; the defaults are the authors' on the D4RL locomotion tasks."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    actor_learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor, before its decay."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the value function and the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    expectile: Fraction = 0.7
    """tau: the value of a state is this expectile of Q over the logged actions. 0.5 gives their
    mean; the closer to 1, the closer to their maximum."""
    inverse_temperature: Positive[float] = 3.0
    """beta: a logged action has the weight exp(beta advantage), in scaled rewards."""
    max_weight: Positive[float] = 100.0
    """Upper limit of the weights."""
    decay_updates: Positive[int] | None = 1_000_000
    """Number of offline updates over which the actor's learning rate falls to 0, along half a
    cosine. None keeps it constant. It is always constant in the online stage."""
    scale_rewards: bool = True
    """Multiply the rewards by 1000 / (largest - smallest episode return of the log)."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of the actor, the critics and the value function."""


class GaussianActor(eqx.Module):
    """pi(a|s): a Gaussian around tanh of the network, with one standard deviation for all states.

    It is not squashed: samples are clipped to [-1, 1] when they act.
    """

    trunk: MLP
    log_std: Float[Array, " action"]

    def __init__(
        self, obs_dim: int, action_dim: int, hidden: tuple[int, ...], *, key: PRNGKeyArray
    ):
        self.trunk = MLP(obs_dim, hidden, action_dim, key=key)
        self.log_std = jnp.zeros(action_dim)

    def __call__(
        self, obs: Float[Array, "*batch obs"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, " action"]]:
        """Mean and log standard deviation."""
        log_std = jnp.clip(self.log_std, CLIPPED_LOG_STD_MIN, CLIPPED_LOG_STD_MAX)
        return jnp.tanh(self.trunk(obs)), log_std


class IQLState(eqx.Module):
    """All that an update changes. `critics` stacks the two Q functions along a leading axis.

    `reward_scale` is 1 until `summarise_data` has measured it on a log (`scale_known`). After the
    hand-over `online` is True, and the actor's learning rate no longer decays.
    """

    actor: GaussianActor
    critics: MLP
    target_critics: MLP
    value: MLP
    actor_opt: optax.ScaleByAdamState
    critic_opt: optax.OptState
    value_opt: optax.OptState
    reward_scale: Float[Array, ""]
    scale_known: Bool[Array, ""]
    online: Bool[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: IQLConfig) -> IQLState:
    """A fresh agent."""
    key_actor, key_critics, key_value = jax.random.split(key, 3)
    actor = GaussianActor(obs_dim, action_dim, config.hidden, key=key_actor)
    critics = new_critics(jax.random.split(key_critics), obs_dim, action_dim, config.hidden)
    value = MLP(obs_dim, config.hidden, 1, key=key_value)
    optimiser = optax.adam(config.learning_rate)
    return IQLState(
        actor=actor,
        critics=critics,
        # A copy, because both are donated to the compiled update.
        target_critics=jax.tree.map(jnp.copy, critics),
        value=value,
        actor_opt=optax.scale_by_adam().init(actor),
        critic_opt=optimiser.init(critics),
        value_opt=optimiser.init(value),
        reward_scale=jnp.ones(()),
        scale_known=jnp.zeros((), bool),
        online=jnp.zeros((), bool),
    )


def return_scale(log: Replay) -> Float[Array, ""]:
    """1000 / (largest - smallest episode return of the log); 1 if all returns are the same.

    An episode ends where it was terminated or truncated, and at the last row.
    """
    row = jnp.arange(log.capacity)
    real = row < log.size
    ends = real & (log.data.terminated | log.data.truncated | (row == log.size - 1))
    # Counts the ends before each row. The padding after the last row is an episode of its own.
    episode = jnp.cumsum(ends) - ends.astype(jnp.int32)
    returns = jax.ops.segment_sum(
        jnp.where(real, log.data.reward, 0.0), episode, log.capacity, indices_are_sorted=True
    )
    is_episode = row < jnp.sum(ends)
    largest = jnp.max(returns, where=is_episode, initial=-jnp.inf)
    smallest = jnp.min(returns, where=is_episode, initial=jnp.inf)
    spread = largest - smallest
    differ = spread > _SAME_RETURN * jnp.maximum(jnp.abs(largest), jnp.abs(smallest))
    return jnp.where(differ, RETURN_SPREAD / jnp.where(differ, spread, 1.0), 1.0)


def summarise_data(state: IQLState, offline: Replay, online: Replay, config: IQLConfig) -> IQLState:
    """Measures the scale of the rewards on the log once; it is used for online rewards too."""
    del online
    if not config.scale_rewards:
        return state
    learn = ~state.scale_known & (offline.size > 0)
    scale = jnp.where(learn, return_scale(offline), state.reward_scale)
    return eqx.tree_at(
        lambda s: (s.reward_scale, s.scale_known), state, (scale, state.scale_known | learn)
    )


def hand_over(state: IQLState, config: IQLConfig) -> IQLState:
    """From here on the actor's learning rate is constant, as in the authors' fine-tuning.

    Note:
        Otherwise it would stay at its last value of the offline stage, which is 0 or near it.
    """
    del config
    return eqx.tree_at(lambda s: s.online, state, jnp.ones((), bool))


def actor_rate(state: IQLState, config: IQLConfig) -> Float[Array, ""]:
    """The actor's learning rate at the next update."""
    rate = jnp.asarray(config.actor_learning_rate)
    if config.decay_updates is None:
        return rate
    schedule = optax.cosine_decay_schedule(config.actor_learning_rate, config.decay_updates)
    return jnp.where(state.online, rate, schedule(state.actor_opt.count))


def expectile_loss(
    value: MLP, obs: Float[Array, "batch obs"], q: Float[Array, " batch"], expectile: float
) -> Float[Array, ""]:
    """mean[|tau - 1(u < 0)| u^2], u = Q(s, a) - V(s): L_V of the paper."""
    u = q - value(obs)[..., 0]
    return jnp.mean(jnp.where(u < 0, 1.0 - expectile, expectile) * u**2)


def actor_loss(
    actor: GaussianActor,
    obs: Float[Array, "batch obs"],
    action: Float[Array, "batch action"],
    weights: Float[Array, " batch"],
) -> Float[Array, ""]:
    """-mean[w log pi(a|s)] at the actions of the data: L_pi; the weights are constants."""
    mean, log_std = actor(obs)
    log_std = to_rank_of(log_std, mean)
    z = (inside(action) - mean) * jnp.exp(-log_std)
    log_density = jnp.sum(-0.5 * z**2 - log_std - 0.5 * jnp.log(2.0 * jnp.pi), axis=-1)
    return -jnp.mean(weights * log_density)


def update(
    state: IQLState, batch: Batch, key: PRNGKeyArray, config: IQLConfig
) -> tuple[IQLState, dict[str, Float[Array, ""]]]:
    """One gradient step of value, actor and critics, and one of the target critics.

    Nothing is drawn. All values, and `q_target` among the metrics, are in scaled rewards.
    """
    del key

    # Value: an expectile of the target critics over the actions of the data.
    q = q_values(state.target_critics, batch.obs, batch.action).min(axis=0)
    rows = batch.obs, q, config.expectile
    value, value_opt, v_loss = adam_step(
        expectile_loss, state.value, state.value_opt, config.learning_rate, *rows
    )

    # Actor
    advantage = q - value(batch.obs)[..., 0]
    weights = capped_exp(config.inverse_temperature * advantage, config.max_weight)
    pi_loss, pi_grad = jax.value_and_grad(actor_loss)(state.actor, batch.obs, batch.action, weights)
    direction, actor_opt = optax.scale_by_adam().update(pi_grad, state.actor_opt)
    rate = actor_rate(state, config)
    actor = jax.tree.map(lambda x, d: x - rate * d, state.actor, direction)

    # Critics: L_Q
    target = bellman_target(
        state.reward_scale * batch.reward,
        batch.terminated,
        value(batch.next_obs)[..., 0],
        config.discount,
    )
    critics, critic_opt, q_loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.learning_rate, batch, target
    )

    new_state = dataclasses.replace(
        state,
        actor=actor,
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        value=value,
        actor_opt=actor_opt,
        critic_opt=critic_opt,
        value_opt=value_opt,
    )
    metrics = {
        "critic_loss": q_loss,
        "value_loss": v_loss,
        "actor_loss": pi_loss,
        "advantage": jnp.mean(advantage),
        "weight": jnp.mean(weights),
        "weight_max": jnp.max(weights),
        "actor_rate": rate,
        "reward_scale": state.reward_scale,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return new_state, metrics


def policy(state: IQLState) -> GaussianActor:
    """The policy, which acts and is evaluated."""
    return state.actor


def act(
    actor: GaussianActor, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """A sample of pi(.|s), clipped to [-1, 1]."""
    mean, log_std = actor(obs)
    std = to_rank_of(jnp.exp(log_std), mean)
    return jnp.clip(mean + std * jax.random.normal(key, mean.shape), -1.0, 1.0)


def act_mode(
    actor: GaussianActor, obs: Float[Array, "*batch obs"]
) -> Float[Array, "*batch action"]:
    """The deterministic policy: the mean, in (-1, 1)."""
    return actor(obs)[0]


AGENT = Agent(
    name="iql",
    settings=IQLConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
    hand_over=hand_over,
    actor=GaussianActor,
)
