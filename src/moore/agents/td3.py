"""The twin delayed deterministic policy gradient near the policy that acts, from real rows.

TD3 (Fujimoto, van Hoof, Meger 2018) with what makes it bear several updates of the critics a step:
critics with layer normalisation (Ball et al. 2023, RLPD) and targets from a random pair of them
(Chen et al. 2021, REDQ). There is no target actor. The actor maximises the value within a reach of
the policy that acts in the system, as in a trust-region method: the pull to its actions grows where
the actor is farther away and falls where it is nearer. How long the reach is, trials tell, and the
models where they are believed.

An error of a model repeats itself wherever the policy goes, one of a value is mended by the rows
that it leads to. So this agent takes over where there is a live system.

Rewards are divided by their standard deviation in the log, and critics begin at its mean return and
then learn its returns. Otherwise a value that is far away takes 1 / (target_rate (1 - gamma))
updates to settle. In units in which values are about 1, on the other hand, what an action changes
is as small as the noise of Adam's steps (HalfCheetah-medium: 6315 to 4685 in an epoch).
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents.adam import adam_step
from moore.agents.agent import Agent
from moore.agents.critics import bellman_target, critic_loss, new_critics, q_values, some_of
from moore.agents.logged_returns import logged_returns
from moore.agents.nets import MLP, Actor
from moore.agents.sac import act as act
from moore.agents.sac import act_mode as act_mode
from moore.agents.td3_config import TD3Config as TD3Config
from moore.replay.buffer import Batch, Replay, as_batch, take
from moore.trees import copied

# What a trial that was won makes of the reach; it stands still where one verdict of three is good.
# (Rechenberg 1973, Evolutionsstrategie: step sizes of a random search grow where more than one of
# five is a success.) It keeps within these factors of the setting, and below a distance of 1: steps
# that are too short cannot be told from luck, and no trial would lengthen them again.
_FARTHER, _WINS, _SHORTEST, _LONGEST = 1.5, 1.0 / 3.0, 0.5, 16.0
# How fast the pull follows the distance, and its limits, per standard deviation of the rewards. It
# begins strong, as the actor begins at the policy that acts. With a first pull of 1 and a reach of
# 0.07 the actor was 0.17 away in the first epoch of Hopper-medium, and 0.09 on HalfCheetah-medium.
_PULL_STEP, _FIRST_PULL, _WEAKEST, _STRONGEST = 1.02, 1e3, 1e-3, 1e6
# Rewards that differ by less than this share of their size are all alike.
_ALIKE = 1e-3


class TD3State(eqx.Module):
    """All that an update changes, and the anchor.

    `critics` stacks the Q functions along a leading axis. `anchor` is the policy that acts, `pull`
    the weight of the distance from it, and `reach` the distance that is allowed. `scale`: what
    rewards are multiplied by. `warm`: the critics know the log and the policy that was handed over.
    """

    actor: Actor
    anchor: Actor
    critics: MLP
    target_critics: MLP
    actor_opt: optax.OptState
    critic_opt: optax.OptState
    pull: Float[Array, ""]
    reach: Float[Array, ""]
    scale: Float[Array, ""]
    warm: Bool[Array, ""]
    updates: Int[Array, ""]


def init(key: PRNGKeyArray, obs_dim: int, action_dim: int, config: TD3Config) -> TD3State:
    """A fresh agent; the target critics are copies."""
    key_actor, key_critics = jax.random.split(key)
    actor = Actor(obs_dim, action_dim, config.hidden, key=key_actor)
    keys = jax.random.split(key_critics, config.critics)
    critics = new_critics(keys, obs_dim, action_dim, config.hidden, layer_norm=True)
    return TD3State(
        actor=actor,
        anchor=copied(actor),  # copies, because all of it is donated to the compiled update
        critics=critics,
        target_critics=copied(critics),
        actor_opt=optax.adam(config.actor_learning_rate).init(actor),
        critic_opt=optax.adam(config.critic_learning_rate).init(critics),
        pull=jnp.full((), _FIRST_PULL, float),
        reach=jnp.full((), config.reach, float),
        scale=jnp.ones(()),
        warm=jnp.zeros((), bool),
        updates=jnp.zeros((), jnp.int32),
    )


def begin_with(state: TD3State, policy: Actor, config: TD3Config, doubt: float = 1.0) -> TD3State:
    """The agent whose actor, and anchor, is this policy, whatever its widths."""
    del doubt
    return dataclasses.replace(
        state,
        actor=copied(policy),
        anchor=copied(policy),
        actor_opt=optax.adam(config.actor_learning_rate).init(policy),
        pull=jnp.full((), _FIRST_PULL, float),
        reach=jnp.full((), config.reach, float),
    )


def adopt(state: TD3State, acting: Actor, config: TD3Config) -> TD3State:
    """Another policy acts from now on: the anchor; before anything was learned, the actor too."""
    del config
    fresh = ~state.warm & (state.updates == 0)
    actor = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), acting, state.actor)
    return dataclasses.replace(state, actor=actor, anchor=copied(acting))


def after_verdict(state: TD3State, won: bool, config: TD3Config) -> TD3State:
    """The reach grows where policies win trials, and shrinks where they lose or are refused."""
    by = _FARTHER if won else _FARTHER ** (-_WINS / (1.0 - _WINS))
    longest = min(_LONGEST * config.reach, 1.0)
    reach = jnp.clip(state.reach * by, _SHORTEST * config.reach, longest)
    return dataclasses.replace(state, reach=reach)


def unjudged(state: TD3State, config: TD3Config) -> TD3State:
    """The reach is the shortest one, and stays so until a policy wins a trial."""
    return dataclasses.replace(state, reach=jnp.full((), _SHORTEST * config.reach, float))


def summarise_data(state: TD3State, offline: Replay, online: Replay, config: TD3Config) -> TD3State:
    """The first time that there is a log the critics learn its returns, then the actor's values."""
    del online
    due = ~state.warm & (offline.train_size > 0)
    return jax.lax.cond(due, lambda before: _warm_up(before, offline, config), lambda x: x, state)


def _warm_up(state: TD3State, log: Replay, config: TD3Config) -> TD3State:
    scale = _scale_of(
        log.data.reward[log.train_rows], jnp.arange(log.train_rows.shape[0]) < log.train_size
    )
    returns = scale * logged_returns(log.data, config.discount)
    last = lambda critics: critics.layers[-1].bias  # noqa: E731
    begun = jnp.full_like(last(state.critics), jnp.mean(returns))
    critics = eqx.tree_at(last, state.critics, begun)
    state = dataclasses.replace(state, scale=scale, critics=critics)

    def from_returns(state: TD3State, key: PRNGKeyArray):
        rows = _some_rows(log, key, config)
        batch = as_batch(take(log.data, rows), rows)
        return _critic_step(state, batch, returns[rows], config)[0], None

    def from_targets(state: TD3State, key: PRNGKeyArray):
        key_rows, key_targets = jax.random.split(key)
        rows = _some_rows(log, key_rows, config)
        data = as_batch(take(log.data, rows), rows)
        target = targets(state, data, key_targets, config)
        return _towards_critics(_critic_step(state, data, target, config)[0], config), None

    # Nothing else draws from these keys, and the same log gives the same critics.
    key_returns, key_targets = jax.random.split(jax.random.key(0))
    state, _ = jax.lax.scan(
        from_returns, state, jax.random.split(key_returns, config.return_updates)
    )
    state = dataclasses.replace(state, target_critics=state.critics)
    state, _ = jax.lax.scan(from_targets, state, jax.random.split(key_targets, config.warm_up))
    return dataclasses.replace(state, warm=jnp.ones((), bool))


def _scale_of(reward: Float[Array, " rows"], used: Bool[Array, " rows"]) -> Float[Array, ""]:
    """1 / the standard deviation of rewards, or 1 / their size if they are all alike."""
    size = jnp.sqrt(jnp.mean(reward**2, where=used))
    spread = jnp.std(reward, where=used)
    unit = jnp.where(spread > _ALIKE * size, spread, size)
    return jnp.where(unit > 0.0, 1.0 / jnp.where(unit > 0.0, unit, 1.0), 1.0)


def _some_rows(log: Replay, key: PRNGKeyArray, config: TD3Config) -> Int[Array, " batch"]:
    return log.train_rows[jax.random.randint(key, (config.batch_size,), 0, log.train_size)]


def mean_action(actor: Actor, obs: Float[Array, "*batch obs"]) -> Float[Array, "*batch action"]:
    """The action without noise."""
    return jnp.tanh(actor(obs)[0])


def targets(
    state: TD3State, batch: Batch, key: PRNGKeyArray, config: TD3Config
) -> Float[Array, " batch"]:
    """c r + gamma (1 - terminated) min_j Q'_j(s', a'), c the scale, j in a random subset.

    a' = clip(pi(s') + clip(noise, -c, c), -1, 1): target policy smoothing.
    """
    key_noise, key_subset = jax.random.split(key)
    action = mean_action(state.actor, batch.next_obs)
    noise = config.target_noise * jax.random.normal(key_noise, action.shape)
    limit = config.target_noise_limit
    smoothed = jnp.clip(action + jnp.clip(noise, -limit, limit), -1.0, 1.0)
    subset = some_of(state.target_critics, key_subset, config.critic_subset)
    value = q_values(subset, batch.next_obs, smoothed).min(axis=0)
    return bellman_target(state.scale * batch.reward, batch.terminated, value, config.discount)


def actor_loss(
    actor: Actor, state: TD3State, obs: Float[Array, "batch obs"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-mean[Q(s, pi(s))] + pull * MSE(pi(s), pi_acting(s)).

    Q is the mean of the critics, and the squared error a mean over rows and action entries.

    Returns:
        the loss, and the squared error.
    """
    action = mean_action(actor, obs)
    value = q_values(state.critics, obs, action).mean(axis=0)
    distance = jnp.mean((action - mean_action(state.anchor, obs)) ** 2)
    return state.pull * distance - jnp.mean(value), distance


def _critic_step(
    state: TD3State,
    batch: Batch,
    target: Float[Array, " batch"],
    config: TD3Config,
) -> tuple[TD3State, Float[Array, ""]]:
    critics, critic_opt, loss = adam_step(
        critic_loss, state.critics, state.critic_opt, config.critic_learning_rate, batch, target
    )
    return dataclasses.replace(state, critics=critics, critic_opt=critic_opt), loss


def _towards_critics(state: TD3State, config: TD3Config) -> TD3State:
    moved = optax.incremental_update(state.critics, state.target_critics, config.target_rate)
    return dataclasses.replace(state, target_critics=moved)


def _actor_step(
    state: TD3State, batch: Batch, config: TD3Config
) -> tuple[TD3State, dict[str, Float[Array, ""]]]:
    actor, actor_opt, (loss, distance) = adam_step(
        actor_loss,
        state.actor,
        state.actor_opt,
        config.actor_learning_rate,
        state,
        batch.obs,
        has_aux=True,
    )
    change = jnp.where(distance > state.reach**2, _PULL_STEP, 1.0 / _PULL_STEP)
    pull = jnp.clip(state.pull * change, _WEAKEST, _STRONGEST)
    learned = dataclasses.replace(state, actor=actor, actor_opt=actor_opt, pull=pull)
    return learned, {"actor_loss": loss, "anchor_distance": distance}


def _waits(state: TD3State) -> tuple[TD3State, dict[str, Float[Array, ""]]]:
    return state, dict.fromkeys(("actor_loss", "anchor_distance"), jnp.zeros(()))


def update(
    state: TD3State, batch: Batch, key: PRNGKeyArray, config: TD3Config
) -> tuple[TD3State, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics, and in every `actor_every`-th update one of the actor."""
    target = targets(state, batch, key, config)
    state, loss = _critic_step(state, batch, target, config)
    state = _towards_critics(dataclasses.replace(state, updates=state.updates + 1), config)
    state, metrics = jax.lax.cond(
        state.updates % config.actor_every == 0,
        lambda before: _actor_step(before, batch, config),
        _waits,
        state,
    )
    told = {name: value * config.actor_every for name, value in metrics.items()}
    told |= {"critic_loss": loss, "pull": state.pull, "reach": state.reach}
    return state, told | {"q_target": jnp.mean(target) / state.scale}


def policy(state: TD3State) -> Actor:
    """What acts and is evaluated."""
    return state.actor


AGENT = Agent(
    name="td3",
    settings=TD3Config,
    init=init,
    update=update,
    policy=policy,
    act=act,
    act_mode=act_mode,
    summarise_data=summarise_data,
    begin_with=begin_with,
    adopt=adopt,
    after_verdict=after_verdict,
    unjudged=unjudged,
)
