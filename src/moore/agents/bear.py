"""BEAR, bootstrapping error accumulation reduction (Kumar et al. 2019).

The policy may use any action that occurs in the log, however rarely, and no other. A variational
autoencoder learns the log's actions, and a Lagrange multiplier holds the maximum mean discrepancy
(MMD) between a few of its actions and a few of the policy's below a limit. The value of a next
state is that of the best of several actions of the target policy, each judged by a mixture of the
lowest and the highest critic. Settings are those of the authors' code (aviralkumar2907/BEAR,
algos.py and readme.md): distances are taken before the tanh, and the noise of the compared actions
is clipped.

Note:
    The authors act with the best of ten samples by the first critic. A saved policy of this project
    holds no critic, so here a single sample acts, and tanh of the mean is evaluated. The multiplier
    starts at 1 (takuseno/d3rlpy, algos/qlearning/bear.py), theirs at a random value.
"""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent
from moore.agents.critics import bellman_target, critic_loss, new_critics, q_of_many
from moore.agents.nets import MLP, Actor, sample_actions
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.ranges import AnySign, Fraction, NonNegative, Positive
from moore.replay.buffer import Batch

# The authors' algos.py: bounds of the encoder's log standard deviation, bound of the noise behind
# compared actions, weight of the autoencoder's divergence, what is added under the MMD's root.
ENCODER_LOG_STD = (-4.0, 15.0)
NOISE_LIMIT = 0.5
PRIOR_WEIGHT = 0.5
_UNDER_ROOT = 1e-6


@dataclass(frozen=True)
class BEARConfig:
    """Settings of BEAR."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam for the actor, the critics and the model of the logged actions."""
    multiplier_learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam for the logarithm of the Lagrange multiplier."""
    target_rate: Fraction = 0.005
    """Share of the distance to the networks that the target networks move after each update."""
    mmd_limit: Positive[float] = 0.05
    """epsilon: upper limit of the discrepancy (MMD) between the policy and the logged actions."""
    kernel: Literal["laplacian", "gaussian"] = "laplacian"
    """Kernel of the discrepancy, a function of the distance between two actions before the tanh."""
    bandwidth: Positive[float] = 10.0
    """sigma: the kernel is exp(-distance / (2 sigma)). 10 goes with the Laplacian kernel, 20 with
    the Gaussian one, whose distance is squared."""
    matched_actions: Positive[int] = 5
    """Number of actions that the discrepancy compares, of the policy and of the model each."""
    target_actions: Positive[int] = 10
    """Number of actions of the target policy; a critic's target uses the best of them."""
    minimum_share: Fraction = 0.75
    """Weight of the lowest critic in a target; the highest critic has the rest."""
    warm_up: NonNegative[int] = 20_000
    """Number of updates at the beginning in which the actor follows the discrepancy alone."""
    log_multiplier_range: tuple[AnySign[float], AnySign[float]] = (-5.0, 10.0)
    """Smallest and largest logarithm of the Lagrange multiplier; others are clipped to these."""
    critics: Positive[int] = 2
    """Number of critics (Q functions). The actor follows the minimum of all."""
    batch_size: Positive[int] = 100
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (400, 300)
    """Widths of the hidden layers of actor and critics."""
    model_hidden: tuple[Positive[int], ...] = (750, 750)
    """Widths of the hidden layers of encoder and decoder of the model."""


class ActionModel(eqx.Module):
    """A model of the log's actions in a state: a conditional variational autoencoder.

    The latent variable has twice as many entries as an action.
    """

    encoder: MLP
    decoder: MLP

    def encode(
        self, obs: Float[Array, "rows obs"], action: Float[Array, "rows action"]
    ) -> tuple[Float[Array, "rows latent"], Float[Array, "rows latent"]]:
        """Mean and log standard deviation of the latent variable of a logged action."""
        encoded = self.encoder(jnp.concatenate([obs, action], axis=-1))
        mean, log_std = jnp.split(encoded, 2, axis=-1)
        return mean, jnp.clip(log_std, *ENCODER_LOG_STD)

    def decode(
        self, obs: Float[Array, "rows obs"], latent: Float[Array, "rows latent"]
    ) -> Float[Array, "rows action"]:
        """The action before its tanh."""
        return self.decoder(jnp.concatenate([obs, latent], axis=-1))


class BEARState(eqx.Module):
    """All that an update changes. `critics` stacks the Q functions along a leading axis."""

    actor: Actor
    target_actor: Actor
    critics: MLP
    target_critics: MLP
    model: ActionModel
    log_multiplier: Float[Array, ""]
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    model_opt: optax.OptState
    multiplier_opt: optax.OptState
    updates: Int[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: BEARConfig) -> BEARState:
    """A fresh agent; the multiplier starts at 1, the targets are copies of the networks."""
    keys = jax.random.split(key, 3 + config.critics)
    latent = 2 * action_dim
    actor = Actor(obs_dim, action_dim, config.hidden, key=keys[0])
    critics = new_critics(keys[3:], obs_dim, action_dim, config.hidden)
    model = ActionModel(
        encoder=MLP(obs_dim + action_dim, config.model_hidden, 2 * latent, key=keys[1]),
        decoder=MLP(obs_dim + latent, config.model_hidden, action_dim, key=keys[2]),
    )
    log_multiplier = jnp.zeros(())
    optimiser = optax.adam(config.learning_rate)
    return BEARState(
        actor=actor,
        # Copies, because both are donated to the compiled update.
        target_actor=jax.tree.map(jnp.copy, actor),
        critics=critics,
        target_critics=jax.tree.map(jnp.copy, critics),
        model=model,
        log_multiplier=log_multiplier,
        actor_opt=optimiser.init(actor),
        critic_opt=optimiser.init(critics),
        model_opt=optimiser.init(model),
        multiplier_opt=optax.adam(config.multiplier_learning_rate).init(log_multiplier),
        updates=jnp.zeros((), jnp.int32),
    )


def model_loss(
    model: ActionModel,
    obs: Float[Array, "rows obs"],
    action: Float[Array, "rows action"],
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """mean[(tanh(decode(s, z)) - a)^2] + 1/2 mean[KL(encode(s, a) || N(0, 1))], z ~ encode(s, a).

    Both are means over all entries, of an action and of the latent variable.
    """
    mean, log_std = model.encode(obs, action)
    std = jnp.exp(log_std)
    latent = mean + std * jax.random.normal(key, mean.shape)
    error = jnp.mean((jnp.tanh(model.decode(obs, latent)) - action) ** 2)
    prior = -0.5 * jnp.mean(1.0 + 2.0 * log_std - mean**2 - std**2)
    return error + PRIOR_WEIGHT * prior


def cut_noise(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "count rows entries"]:
    """Standard normal noise, clipped to +- `NOISE_LIMIT`."""
    return jnp.clip(jax.random.normal(key, shape), -NOISE_LIMIT, NOISE_LIMIT)


def model_actions(
    model: ActionModel, obs: Float[Array, "rows obs"], key: PRNGKeyArray, count: int
) -> Float[Array, "count rows action"]:
    """`count` actions of the model for every state, before their tanh."""
    action_dim = model.decoder.layers[-1].bias.shape[0]
    latent = cut_noise(key, (count, obs.shape[0], 2 * action_dim))
    return jax.vmap(lambda z: model.decode(obs, z))(latent)


def policy_actions(
    actor: Actor, obs: Float[Array, "rows obs"], key: PRNGKeyArray, count: int
) -> Float[Array, "count rows action"]:
    """`count` actions of the policy for every state, before their tanh."""
    mean, log_std = actor(obs)
    return mean[None] + jnp.exp(log_std)[None] * cut_noise(key, (count, *mean.shape))


def discrepancy(
    one: Float[Array, "first rows action"],
    other: Float[Array, "second rows action"],
    config: BEARConfig,
) -> Float[Array, " rows"]:
    """MMD of two sets of actions: sqrt(mean k(x, x') + mean k(y, y') - 2 mean k(x, y))."""
    size = jnp.abs if config.kernel == "laplacian" else jnp.square

    def similarity(x: Array, y: Array) -> Float[Array, " rows"]:
        distance = jnp.sum(size(x[:, None] - y[None]), axis=-1)
        return jnp.mean(jnp.exp(-distance / (2.0 * config.bandwidth)), axis=(0, 1))

    squared = similarity(one, one) + similarity(other, other) - 2.0 * similarity(one, other)
    return jnp.sqrt(squared + _UNDER_ROOT)


def targets(
    state: BEARState, batch: Batch, key: PRNGKeyArray, config: BEARConfig
) -> Float[Array, " rows"]:
    """r + gamma (1 - terminated) max_k [w min_j Q'_j(s', a_k) + (1 - w) max_j Q'_j(s', a_k)].

    The actions a_k are samples of the target policy at s', w is `minimum_share`.
    """
    action, _ = sample_actions(state.target_actor, batch.next_obs, key, config.target_actions)
    values = q_of_many(state.target_critics, batch.next_obs, action)
    share = config.minimum_share
    mixed = share * values.min(axis=0) + (1.0 - share) * values.max(axis=0)
    return bellman_target(batch.reward, batch.terminated, mixed.max(axis=0), config.discount)


def actor_loss(
    actor: Actor,
    critics: MLP,
    model: ActionModel,
    multiplier: Float[Array, ""],
    obs: Float[Array, "rows obs"],
    warming_up: Bool[Array, ""],
    key: PRNGKeyArray,
    config: BEARConfig,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """mean[multiplier MMD(s) - min_j mean_k Q_j(s, a_k)], a_k the compared actions of the policy;
    without Q in the warm-up; also the mean MMD.
    """
    key_model, key_policy = jax.random.split(key)
    logged = model_actions(model, obs, key_model, config.matched_actions)
    own = policy_actions(actor, obs, key_policy, config.matched_actions)
    far = discrepancy(logged, own, config)
    value = q_of_many(critics, obs, jnp.tanh(own)).mean(axis=1).min(axis=0)
    gain = jnp.where(warming_up, 0.0, value)
    return jnp.mean(multiplier * far - gain), jnp.mean(far)


def multiplier_step(
    state: BEARState, far: Float[Array, ""], config: BEARConfig
) -> tuple[Float[Array, ""], optax.OptState]:
    """One step up multiplier (MMD - epsilon) in the multiplier's logarithm, cut to its range."""
    downhill = -jnp.exp(state.log_multiplier) * (far - config.mmd_limit)
    step, opt = optax.adam(config.multiplier_learning_rate).update(downhill, state.multiplier_opt)
    return jnp.clip(state.log_multiplier + step, *config.log_multiplier_range), opt


def update(
    state: BEARState, batch: Batch, key: PRNGKeyArray, config: BEARConfig
) -> tuple[BEARState, dict[str, Float[Array, ""]]]:
    """One gradient step of model, critics, actor and multiplier, and one of the target networks."""
    key_model, key_target, key_actor = jax.random.split(key, 3)
    rate = config.learning_rate

    # Model of the log's actions
    rows = batch.obs, batch.action, key_model
    model, model_opt, fit = adam_step(model_loss, state.model, state.model_opt, rate, *rows)

    # Critics
    target = targets(state, batch, key_target, config)
    critics, critic_opt, q_loss = adam_step(
        critic_loss, state.critics, state.critic_opt, rate, batch, target
    )

    # Actor and multiplier
    multiplier, warming_up = jnp.exp(state.log_multiplier), state.updates < config.warm_up
    others = critics, model, multiplier, batch.obs, warming_up, key_actor, config
    actor, actor_opt, (pi_loss, far) = adam_step(
        actor_loss, state.actor, state.actor_opt, rate, *others, has_aux=True
    )
    log_multiplier, multiplier_opt = multiplier_step(state, far, config)

    follow = lambda new, old: optax.incremental_update(new, old, config.target_rate)  # noqa: E731
    new_state = BEARState(
        actor=actor,
        target_actor=follow(actor, state.target_actor),
        critics=critics,
        target_critics=follow(critics, state.target_critics),
        model=model,
        log_multiplier=log_multiplier,
        actor_opt=actor_opt,
        critic_opt=critic_opt,
        model_opt=model_opt,
        multiplier_opt=multiplier_opt,
        updates=state.updates + 1,
    )
    metrics = {
        "critic_loss": q_loss,
        "actor_loss": pi_loss,
        "model_loss": fit,
        "discrepancy": far,
        "multiplier": multiplier,
        "q_target": jnp.mean(target),
        "q_target_max": jnp.max(target),
    }
    return new_state, metrics


def policy(state: BEARState) -> Actor:
    """The policy, which acts and is evaluated."""
    return state.actor


AGENT = Agent(
    name="bear",
    settings=BEARConfig,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
)
