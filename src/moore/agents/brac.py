"""BRAC, behaviour-regularised actor-critic (Wu et al. 2019), with the Kullback-Leibler divergence.

First a copy of the policy that collected the log is learned by maximum likelihood. Then an
actor-critic learns whose actor pays alpha times the divergence KL(pi(.|s) || copy(.|s)) (policy
regularisation, BRAC-p); with the value penalty (BRAC-v) the critics' targets pay it as well, for
the states to come. In the paper the choice of the divergence matters little; this is the one of its
scripts, estimated from samples of the policy ("primal"). Settings are those of the authors' code
(google-research/google-research, behavior_regularized_offline_rl: README.md, run_primal.sh,
run_bc.sh, brac/brac_primal_agent.py, brac/bc_agent.py).

Note:
    The authors clone in a separate run. Here the first `clone_updates` updates train only the copy,
    and later ones, online too, train only the other networks. The actor's log standard deviation is
    bounded as in this project's other agents, the copy's as in the authors' code. The copy's
    temperature is adapted by its logarithm, as in SAC; theirs is clipped at 0.
"""

import dataclasses
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent, scores_logged_actions
from moore.agents.critics import bellman_target, critic_loss, new_critics, q_values
from moore.agents.nets import MLP, Actor, sample_action, sample_actions, squashed_log_density
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.agents.temperature import temperature_step, wanted_entropy
from moore.ranges import AnySign, Fraction, NonNegative, Positive
from moore.replay.buffer import Batch

# Bounds of the copy's log standard deviation (the authors' networks.py). Without the lower bound
# the log of a deterministic policy would make the divergence infinite.
COPY_LOG_STD_MIN = -5.0
COPY_LOG_STD_MAX = 0.0
# Actions are clipped to this distance from +-1 before the copy's density is computed (CLIP_EPS of
# the authors' divergences.py and bc_agent.py).
ACTION_MARGIN = 1e-3


@dataclass(frozen=True)
class BRACConfig:
    """Settings of BRAC."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    actor_learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor."""
    learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam for the critics."""
    clone_learning_rate: Positive[float] = 5e-4
    """Learning rate of Adam for the copy of the logged policy and for its temperature."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    divergence_weight: NonNegative[float] = 0.1
    """alpha, in units of return: weight of the divergence between the policy and the copy. If the
    run scales the rewards, alpha is in units of scaled return."""
    value_penalty: bool = True
    """Subtract the divergence from the critics' targets too (BRAC-v). Off, the actor alone pays for
    it (BRAC-p)."""
    sampled_actions: Positive[int] = 4
    """Number of actions of the policy from which the divergence at a state is estimated."""
    clone_updates: NonNegative[int] = 300_000
    """Number of updates at the beginning in which only the copy learns."""
    clone_target_entropy: AnySign[float] | None = None
    """Entropy of the copy in nats that its temperature is adapted to reach. None uses minus the
    number of action entries."""
    warm_up: NonNegative[int] = 20_000
    """Number of updates after those in which the actor follows the divergence alone."""
    critics: Positive[int] = 2
    """Number of critics (Q functions). Targets and actor use the minimum of all."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (200, 200)
    """Widths of the hidden layers of actor and copy."""
    critic_hidden: tuple[Positive[int], ...] = (300, 300)
    """Widths of the hidden layers of the critics."""


class Copy(eqx.Module):
    """The copy of the policy that collected the log: a squashed Gaussian of bounded width."""

    trunk: MLP

    def __call__(
        self, obs: Float[Array, "*batch obs"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"]]:
        """Mean and log standard deviation before the squashing."""
        mean, unbounded = jnp.split(self.trunk(obs), 2, axis=-1)
        share = 0.5 * (jnp.tanh(unbounded) + 1.0)
        return mean, COPY_LOG_STD_MIN + share * (COPY_LOG_STD_MAX - COPY_LOG_STD_MIN)


class BRACState(eqx.Module):
    """All that an update changes. `critics` stacks the Q functions along a leading axis.

    `log_temperature` is that of the copy. `updates` counts all updates.
    """

    actor: Actor
    critics: MLP
    target_critics: MLP
    copy: Copy
    log_temperature: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    copy_opt: optax.OptState
    temperature_opt: optax.OptState
    updates: Int[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: BRACConfig) -> BRACState:
    """A fresh agent; the temperature of the copy starts at 1."""
    keys = jax.random.split(key, 2 + config.critics)
    actor = Actor(obs_dim, action_dim, config.hidden, key=keys[0])
    copy = Copy(MLP(obs_dim, config.hidden, 2 * action_dim, key=keys[1]))
    critics = new_critics(keys[2:], obs_dim, action_dim, config.critic_hidden)
    log_temperature = jnp.zeros(())
    cloning = optax.adam(config.clone_learning_rate)
    return BRACState(
        actor=actor,
        critics=critics,
        # A copy, because both are donated to the compiled update.
        target_critics=jax.tree.map(jnp.copy, critics),
        copy=copy,
        log_temperature=log_temperature,
        actor_opt=optax.adam(config.actor_learning_rate).init(actor),
        critic_opt=optax.adam(config.learning_rate).init(critics),
        copy_opt=cloning.init(copy),
        temperature_opt=cloning.init(log_temperature),
        updates=jnp.zeros((), jnp.int32),
    )


def log_density_of_copy(
    copy: Copy, obs: Float[Array, "rows obs"], action: Float[Array, "rows action"]
) -> Float[Array, " rows"]:
    """log copy(a|s), at the nearest action that lies `ACTION_MARGIN` inside the bounds."""
    limit = 1.0 - ACTION_MARGIN
    return squashed_log_density(jnp.arctanh(jnp.clip(action, -limit, limit)), *copy(obs))


def clone_loss(
    copy: Copy,
    temperature: Float[Array, ""],
    obs: Float[Array, "rows obs"],
    action: Float[Array, "rows action"],
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[temperature log copy(a'|s) - log copy(a|s)], a' ~ copy, a logged; also its entropy."""
    _, own = sample_action(copy, obs, key)
    logged = log_density_of_copy(copy, obs, action)
    return jnp.mean(temperature * own - logged), -jnp.mean(own)


def divergence(
    actor: Actor, copy: Copy, obs: Float[Array, "rows obs"], key: PRNGKeyArray, count: int
) -> Float[Array, " rows"]:
    """An estimate of KL(pi(.|s) || copy(.|s)): the mean of log pi(a|s) - log copy(a|s), a ~ pi."""
    action, log_density = sample_actions(actor, obs, key, count)
    of_copy = jax.vmap(lambda a: log_density_of_copy(copy, obs, a))(action)
    return jnp.mean(log_density - of_copy, axis=0)


def targets(
    state: BRACState, batch: Batch, key: PRNGKeyArray, config: BRACConfig
) -> Float[Array, " rows"]:
    """r + gamma (1 - terminated) [min_j Q'_j(s', a') - alpha KL(s')]; BRAC-p without the KL."""
    key_action, key_divergence = jax.random.split(key)
    action, _ = sample_action(state.actor, batch.next_obs, key_action)
    value = q_values(state.target_critics, batch.next_obs, action).min(axis=0)
    if config.value_penalty:
        far = divergence(
            state.actor, state.copy, batch.next_obs, key_divergence, config.sampled_actions
        )
        value = value - config.divergence_weight * far
    return bellman_target(batch.reward, batch.terminated, value, config.discount)


def actor_loss(
    actor: Actor,
    critics: MLP,
    copy: Copy,
    obs: Float[Array, "rows obs"],
    warming_up: Bool[Array, ""],
    key: PRNGKeyArray,
    config: BRACConfig,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[alpha KL(s) - min_j Q_j(s, a)], a ~ pi, without Q in the warm-up; also the mean KL."""
    key_action, key_divergence = jax.random.split(key)
    action, _ = sample_action(actor, obs, key_action)
    value = q_values(critics, obs, action).min(axis=0)
    far = divergence(actor, copy, obs, key_divergence, config.sampled_actions)
    gain = jnp.where(warming_up, 0.0, value)
    return jnp.mean(config.divergence_weight * far - gain), jnp.mean(far)


def clone(
    state: BRACState, batch: Batch, key: PRNGKeyArray, config: BRACConfig
) -> tuple[BRACState, dict[str, Float[Array, ""]]]:
    """One gradient step of the copy and of its temperature."""
    rate, others = config.clone_learning_rate, (batch.obs, batch.action, key)
    temperature = jnp.exp(state.log_temperature)
    copy, copy_opt, (loss, entropy) = adam_step(
        clone_loss, state.copy, state.copy_opt, rate, temperature, *others, has_aux=True
    )
    log_temperature, temperature_opt = temperature_step(
        state.log_temperature,
        state.temperature_opt,
        entropy,
        wanted_entropy(config.clone_target_entropy, batch.action.shape[-1]),
        rate,
    )
    learned = dataclasses.replace(
        state,
        copy=copy,
        copy_opt=copy_opt,
        log_temperature=log_temperature,
        temperature_opt=temperature_opt,
    )
    names = ("critic_loss", "actor_loss", "divergence", "q_target", "q_target_max")
    nothing = {name: jnp.zeros(()) for name in names}
    return learned, nothing | {"clone_loss": loss, "clone_entropy": entropy}


def improve(
    state: BRACState, batch: Batch, key: PRNGKeyArray, config: BRACConfig
) -> tuple[BRACState, dict[str, Float[Array, ""]]]:
    """One gradient step of critics and actor, and one of the target critics."""
    key_target, key_actor = jax.random.split(key)
    target = targets(state, batch, key_target, config)
    critics, critic_opt, q_loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.learning_rate, batch, target
    )

    warming_up = state.updates < config.clone_updates + config.warm_up
    rate, others = config.actor_learning_rate, (batch.obs, warming_up, key_actor, config)
    actor, actor_opt, (pi_loss, far) = adam_step(
        actor_loss, state.actor, state.actor_opt, rate, critics, state.copy, *others, has_aux=True
    )

    learned = dataclasses.replace(
        state,
        actor=actor,
        critics=critics,
        target_critics=optax.incremental_update(critics, state.target_critics, config.target_rate),
        actor_opt=actor_opt,
        critic_opt=critic_opt,
    )
    return learned, {
        "critic_loss": q_loss,
        "actor_loss": pi_loss,
        "divergence": far,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
        "clone_loss": jnp.zeros(()),
        "clone_entropy": jnp.zeros(()),
    }


def update(
    state: BRACState, batch: Batch, key: PRNGKeyArray, config: BRACConfig
) -> tuple[BRACState, dict[str, Float[Array, ""]]]:
    """One update, of the copy in the first `clone_updates` updates and of the others after them.

    The metrics of networks that are not trained are 0.
    """
    learned, metrics = jax.lax.cond(
        state.updates < config.clone_updates,
        lambda: clone(state, batch, key, config),
        lambda: improve(state, batch, key, config),
    )
    return dataclasses.replace(learned, updates=state.updates + 1), metrics


def policy(state: BRACState) -> Actor:
    """The policy, which acts and is evaluated."""
    return state.actor


AGENT = Agent(
    name="brac",
    settings=BRACConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    scores_actions=scores_logged_actions,
)
