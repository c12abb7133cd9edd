"""Adaptive behaviour cloning (Zhao et al. 2022): TD3+BC on a REDQ critic, its weight adapted.

The actor is deterministic and is pulled towards the actions of the data (TD3+BC, Fujimoto and Gu
2021); the target of the many critics is the minimum of a random pair of them (REDQ, Chen et al.
2021). Offline the pull is constant. Online it weakens after every episode, the faster the further
the returns are from the target, and is strengthened when a return falls below their average.
Constants and settings that the paper leaves open are those of the authors' code
(zhaoyi11/adaptive_bc, main.py and redq_bc.py).

Note:
    The authors begin with R_last as the return of one evaluated episode after the offline stage;
    here it is that of the first online episode. Networks start from this project's initialisation.
    Which rows a batch holds is told in moore.experience.kept.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.agent import Agent
from moore.agents.critics import bellman_target, new_critics, q_values, some_of
from moore.agents.nets import MLP
from moore.errors import InputError
from moore.ranges import AnySign, Fraction, NonNegative, Positive
from moore.replay.buffer import Batch, Replay

# Under mean|Q|, which may be 0 at the start.
_SMALLEST_SCALE = 1e-8


@dataclass(frozen=True)
class AdaptiveBCConfig:
    """Settings of Adaptive BC.

    Raises:
        InputError: `return_high` does not exceed `return_low`.
    """

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor and the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the networks that the target networks move at each of their
    updates."""
    policy_delay: Positive[int] = 2
    """Number of updates of the critics for one update of the actor and the target networks."""
    critics: Positive[int] = 10
    """Number of critics (Q functions)."""
    critic_subset: Positive[int] = 2
    """REDQ: a target is the minimum of this many critics, drawn anew at each update."""
    target_noise: Positive[float] = 0.2
    """Standard deviation of the noise that is added to the actions in the targets."""
    target_noise_limit: Positive[float] = 0.5
    """Largest size of this noise, in both directions."""
    exploration_noise: Positive[float] = 0.1
    """Standard deviation of the noise that is added to the actions in the environment."""
    bc_weight: NonNegative[float] = 0.4
    """a_bc in the offline stage: constant weight of imitation in the actor's loss."""
    online_bc_weight: NonNegative[float] = 0.4
    """a_bc at the beginning of the online stage, and the largest value that it can reach there."""
    proportional_gain: NonNegative[float] = 3e-5
    """K_P: proportional gain of the controller that adapts a_bc, per step of an episode."""
    derivative_gain: NonNegative[float] = 1e-4
    """K_D: derivative gain of this controller, per step of an episode."""
    target_return: Positive[float] = 1.05
    """R_target: setpoint of this controller, on the scale on which `return_low` is 0 and
    `return_high` is 1."""
    return_rate: Fraction = 0.05
    """Weight of the newest return in the moving average R_last."""
    return_low: AnySign[float] | None = None
    """Undiscounted return of an episode that counts as 0. None uses the return of a random policy
    if it is known, otherwise the lowest in the log; the run writes down the value."""
    return_high: AnySign[float] | None = None
    """Undiscounted return of an episode that counts as 1. None uses the return of an expert if it
    is known, otherwise the highest in the log; the run writes down the value."""
    kept_share: Fraction = 0.05
    """Share of the log from which the online batches are drawn, chosen once at the hand-over."""
    kept_least: Positive[int] = 50_000
    """Smallest number of rows that this share has. The rows are drawn with replacement, as in the
    authors' code (utils.py)."""
    replay_capacity: Positive[int] = 250_000
    """Number of newest rows that the online batches are drawn from. The kept rows of the log count
    as the oldest."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""

    def __post_init__(self):
        known = self.return_low is not None and self.return_high is not None
        if known and not self.return_high > self.return_low:
            raise InputError(
                f"return_high = {self.return_high} does not exceed return_low = {self.return_low}; "
                "returns are scaled to 0 at the one and 1 at the other."
            )


class DeterministicActor(eqx.Module):
    """pi(s): tanh of a network, in [-1, 1]. `noise`: standard deviation that acting adds."""

    trunk: MLP
    noise: float = eqx.field(static=True)

    def __call__(self, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
        return jnp.tanh(self.trunk(obs))


class Adaptation(eqx.Module):
    """The weight of behaviour cloning, and what it follows.

    Attributes:
        bc_weight: a_bc.
        last_return: R_last, the moving average of the scaled returns; 0 before the first.
        episodes: online episodes that have finished.
        rows: online rows that were looked at.
        steps: of them, those of the episode that has not finished.
        episode_return: sum of their rewards.
    """

    bc_weight: Float[Array, ""]
    last_return: Float[Array, ""]
    episodes: Int[Array, ""]
    rows: Int[Array, ""]
    steps: Int[Array, ""]
    episode_return: Float[Array, ""]


class AdaptiveBCState(eqx.Module):
    """All that changes. `critics` stacks the Q functions along a leading axis.

    `actor_loss` is that of the actor's last step, 0 before the first.
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
        # Copies: the networks are donated to the compiled update, and so are these.
        target_actor=jax.tree.map(jnp.copy, actor),
        target_critics=jax.tree.map(jnp.copy, critics),
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
        updates=jnp.zeros((), jnp.int32),
        actor_loss=jnp.zeros((), jnp.float32),
        adaptation=Adaptation(
            bc_weight=jnp.asarray(config.bc_weight, jnp.float32),
            last_return=jnp.zeros((), jnp.float32),
            episodes=jnp.zeros((), jnp.int32),
            rows=jnp.zeros((), jnp.int32),
            steps=jnp.zeros((), jnp.int32),
            episode_return=jnp.zeros((), jnp.float32),
        ),
    )


def adapted_weight(
    weight: Float[Array, ""],
    length: Int[Array, ""],
    current: Float[Array, ""],
    last: Float[Array, ""],
    config: AdaptiveBCConfig,
) -> Float[Array, ""]:
    """a_bc + T (-K_P (R_target - R_last) + K_D max(0, R_last - R_cur)), cut to [0, its start].

    Args:
        weight: a_bc.
        length: T, steps of the episode.
        current: R_cur, its scaled return.
        last: R_last, the average of those before it.
        config: the constants.
    """
    proportional = -config.proportional_gain * (config.target_return - last)
    derivative = config.derivative_gain * jnp.maximum(last - current, 0.0)
    return jnp.clip(weight + length * (proportional + derivative), 0.0, config.online_bc_weight)


def after_episode(adaptation: Adaptation, config: AdaptiveBCConfig) -> Adaptation:
    """The weight and then R_last follow the episode that has just finished.

    R_last <- 0.05 R_cur + 0.95 R_last with the default rate.
    """
    low, high = config.return_low, config.return_high
    if low is None or high is None:
        raise ValueError("return_low and return_high must be known before going online.")
    current = (adaptation.episode_return - low) / (high - low)
    last = jnp.where(adaptation.episodes == 0, current, adaptation.last_return)
    followed = dataclasses.replace(
        adaptation,
        bc_weight=adapted_weight(adaptation.bc_weight, adaptation.steps, current, last, config),
        last_return=config.return_rate * current + (1.0 - config.return_rate) * last,
        episodes=adaptation.episodes + 1,
    )
    return unbegun(followed)


def unbegun(adaptation: Adaptation) -> Adaptation:
    """Before the first row of an episode."""
    return dataclasses.replace(
        adaptation,
        steps=jnp.zeros_like(adaptation.steps),
        episode_return=jnp.zeros_like(adaptation.episode_return),
    )


def after_row(
    adaptation: Adaptation,
    reward: Float[Array, ""],
    ended: Bool[Array, ""],
    config: AdaptiveBCConfig,
) -> Adaptation:
    """One more online row has been looked at; `ended`: it is its episode's last."""
    adaptation = dataclasses.replace(
        adaptation,
        rows=adaptation.rows + 1,
        steps=adaptation.steps + 1,
        episode_return=adaptation.episode_return + reward,
    )
    finished = after_episode(adaptation, config)
    return jax.tree.map(lambda new, old: jnp.where(ended, new, old), finished, adaptation)


def follow(state: AdaptiveBCState, online: Replay, config: AdaptiveBCConfig) -> AdaptiveBCState:
    """The weight follows, in order, every online episode that finished since the last call.

    An episode ends where it terminates or is truncated; one that goes on is kept in mind. Only the
    new rows are read.
    """
    if online.capacity == 0:
        return state
    data = online.data
    ended = data.terminated | data.truncated
    adaptation = jax.lax.fori_loop(
        state.adaptation.rows,
        jnp.minimum(online.size, online.capacity),
        lambda row, seen: after_row(seen, data.reward[row], ended[row], config),
        state.adaptation,
    )
    return dataclasses.replace(state, adaptation=adaptation)


def new_episode(state: AdaptiveBCState) -> AdaptiveBCState:
    """The running episode was left without an end: it does not count."""
    return dataclasses.replace(state, adaptation=unbegun(state.adaptation))


def hand_over(state: AdaptiveBCState, config: AdaptiveBCConfig) -> AdaptiveBCState:
    """The weight goes to its start of the online stage; all else goes on."""
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
    judges = some_of(state.target_critics, key_pair, config.critic_subset)
    value = q_values(judges, batch.next_obs, action).min(axis=0)
    return bellman_target(
        batch.reward, batch.terminated.astype(jnp.float32), value, config.discount
    )


def critic_loss(critics: MLP, batch: Batch, target: Float[Array, " batch"]) -> Float[Array, ""]:
    """Mean squared Bellman error over rows and critics."""
    return jnp.mean((q_values(critics, batch.obs, batch.action) - target) ** 2)


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
    loss, grad = jax.value_and_grad(actor_loss)(
        state.actor, state.critics, batch.obs, batch.action, state.adaptation.bc_weight
    )
    step, actor_opt = optax.adam(config.learning_rate).update(grad, state.actor_opt)
    actor = optax.apply_updates(state.actor, step)
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
    """One gradient step of the critics, and at every `policy_delay`th update of all else."""
    target = targets(state, batch, key, config)
    loss, grad = jax.value_and_grad(critic_loss)(state.critics, batch, target)
    step, critic_opt = optax.adam(config.learning_rate).update(grad, state.critic_opt)
    state = dataclasses.replace(
        state,
        critics=optax.apply_updates(state.critics, step),
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
    """What acts and is evaluated."""
    return state.actor


def act(
    actor: DeterministicActor, obs: Float[Array, "*batch obs"], key: PRNGKeyArray
) -> Float[Array, "*batch action"]:
    """pi(s) with Gaussian exploration noise, cut to [-1, 1]."""
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
)
