"""The compiled programs of a run: pure functions from state, data and key to new state.

Big buffers are donated: what was given must not be used again.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from moore.agents.sac import NO_LIMIT, SACConfig
from moore.algorithms import Agent
from moore.config import Config
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.fit import ModelState
from moore.dynamics.imagine import TerminationFn, rollout
from moore.dynamics.surprise import surprise, uncertainty_of
from moore.replay.buffer import Replay, Ring, Transition, append, as_batch, push, with_room
from moore.replay.sampler import gather, sample_ring
from moore.stages.diagnostics import Range, observed_range
from moore.stages.uncertainty import make_uncertainty

Metrics = dict[str, Float[Array, ""]]

# Real transitions whose uncertainty says how far imagination is trusted.
TRUST_ROWS = 2000


@partial(jax.jit, static_argnames=("agent",))
def act(policy: PyTree, obs: Array, key: PRNGKeyArray, agent: Agent):
    key, key_action = jax.random.split(key)
    return agent.act(policy, obs, key_action), key


@partial(jax.jit, static_argnames=("agent", "agent_config"), donate_argnames=("agent_state",))
def look(agent_state: PyTree, offline: Replay, online: Replay, agent: Agent, agent_config):
    """What the agent takes note of in the data as a whole."""
    return agent.look(agent_state, offline, online, agent_config)


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


@partial(jax.jit, static_argnames=("count",))
def surprise_of_newest(ensemble: Ensemble, online: Replay, count: int) -> Metrics:
    """`surprise` on the `count` newest transitions of D_on, or on all if there are fewer."""
    start = jnp.maximum(online.size - count, 0)
    newest = jax.tree.map(
        lambda column: jax.lax.dynamic_slice_in_dim(column, start, count), online.data
    )
    there = start + jnp.arange(count) < online.size
    found = surprise(ensemble, newest, there)
    # Beside model/imagined_terminated: do imagined episodes end as often as real ones?
    found["new_terminated"] = jnp.mean(newest.terminated, where=there)
    return {f"model/{name}": value for name, value in found.items()}


_with_room = jax.jit(with_room, donate_argnames="ring")


def make_room(imagined: Ring, room: int) -> Ring:
    """D_model with room for so many steps; nothing is copied where it has just that."""
    return imagined if int(imagined.room) == room else _with_room(imagined, room)


@partial(
    jax.jit,
    static_argnames=("agent", "terminated_fn", "config"),
    donate_argnames=("imagined",),
)
def imagine(
    imagined: Ring,
    policy: PyTree,
    model: ModelState,
    offline: Replay,
    online: Replay,
    logged_range: Range,
    rows: Int[Array, " count"],
    penalty_coef: Float[Array, ""],
    key_rollout: PRNGKeyArray,
    *,
    agent: Agent,
    terminated_fn: TerminationFn,
    config: Config,
    agent_state: PyTree = None,
    spread: Normaliser | None = None,
) -> tuple[Ring, Metrics]:
    """Rollouts from the drawn rows into D_model, a chunk at a time so that memory stays bounded.

    `agent_state`: whose critics tell the uncertainty, where it is one of values. `spread`: what the
    configuration's imagined_bound counts in.
    """
    uncertainty_fn = make_uncertainty(config, agent, agent_state, terminated_fn, spread)
    trusted = jnp.asarray(jnp.inf)
    if config.trust_quantile is not None:
        key_rollout, key_trust = jax.random.split(key_rollout)
        judged = gather(offline, online, rows[:TRUST_ROWS])
        usual = uncertainty_of(model.ensemble, judged, uncertainty_fn, key_trust)
        trusted = jnp.quantile(usual, config.trust_quantile)
    acted_range = observed_range(online)
    low = jnp.minimum(logged_range[0], acted_range[0])
    high = jnp.maximum(logged_range[1], acted_range[1])
    count = rows.shape[0]
    chunks = -(-count // config.rollout_chunk)
    # The last chunk is filled up with repeats of row 0, which are not kept.
    padded = jnp.zeros(chunks * config.rollout_chunk, jnp.int32).at[:count].set(rows)
    wanted = jnp.arange(chunks * config.rollout_chunk) < count

    def roll_chunk(ring: Ring, chunk):
        chunk_rows, chunk_wanted, chunk_key = chunk
        starts = gather(offline, online, chunk_rows).obs
        transitions, happened, uncertainty = rollout(
            model.ensemble,
            lambda obs, k: agent.act(policy, obs, k),
            terminated_fn,
            starts,
            chunk_key,
            length=config.rollout_length,
            penalty_coef=penalty_coef,
            obs_bound=config.imagined_bound,
            spread=spread,
            trusted=trusted,
            uncertainty_fn=uncertainty_fn,
        )
        happened = happened & chunk_wanted
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)
        ring = push(ring, flat, happened.reshape(-1))
        goes_on = happened & ~transitions.terminated & (uncertainty <= trusted)
        due = jnp.concatenate([chunk_wanted[None], goes_on[:-1]])
        next_obs = transitions.next_obs
        outside = jnp.any((next_obs < low) | (next_obs > high), axis=-1)
        ends = transitions.terminated
        return ring, (happened, due, outside, uncertainty, transitions.reward, ends)

    shape = (chunks, config.rollout_chunk)
    imagined, outcome = jax.lax.scan(
        roll_chunk,
        imagined,
        (padded.reshape(shape), wanted.reshape(shape), jax.random.split(key_rollout, chunks)),
    )
    metrics = _rollout_metrics(*outcome, penalty_coef)
    metrics["model/rollout_steps"] = outcome[0].sum() / count
    metrics["replay/online_share"] = jnp.mean(rows >= offline.capacity)
    return imagined, metrics


def _rollout_metrics(
    happened, due, outside, uncertainty, reward, terminated, penalty_coef: Float[Array, ""]
) -> Metrics:
    """Statistics over the imagined transitions that happened, and over those that were due."""
    total = jnp.maximum(happened.sum(), 1)
    mean = jnp.where(happened, uncertainty, 0.0).sum() / total
    unpenalised = jnp.where(happened, reward + penalty_coef * uncertainty, 0.0)
    p20, p80 = jnp.nanpercentile(
        jnp.where(happened, uncertainty, jnp.nan), jnp.asarray([20.0, 80.0])
    )
    return {
        "model/uncertainty_mean": mean,
        "model/uncertainty_p20": p20,
        "model/uncertainty_p80": p80,
        "model/imagined_reward": unpenalised.sum() / total,
        # How much of what the agent learns from is penalty: lambda E[u] / E|r|.
        "model/penalty_ratio": penalty_coef * mean / (jnp.abs(unpenalised).sum() / total),
        "model/penalty_coef": penalty_coef,
        # Beyond the range that an entry has in the log and the online data.
        "model/imagined_out_of_range": (outside & happened).sum() / total,
        "model/imagined_terminated": (terminated & happened).sum() / total,
        # Not finite, or beyond the bound: the rollout ended there and nothing was kept.
        "model/imagined_dropped": (due & ~happened).sum() / jnp.maximum(due.sum(), 1),
    }


@partial(
    jax.jit,
    static_argnames=("agent", "agent_config", "batch_size"),
    donate_argnames=("agent_state",),
)
def update(
    agent_state: PyTree,
    imagined: Ring,
    offline: Replay,
    online: Replay,
    real: Int[Array, "updates real_rows"],
    key: PRNGKeyArray,
    *,
    agent: Agent,
    agent_config,
    batch_size: int,
) -> tuple[PyTree, Metrics]:
    """A gradient step for every row of `real`, in one loop; undone as a whole if not finite.

    A batch is its drawn real rows, filled up with imagined ones; or what the agent draws itself.
    """
    updates, real_rows = real.shape

    def step(state: PyTree, step_input):
        rows, step_key = step_input
        if agent.learn is not None:
            return agent.learn(state, offline, online, step_key, agent_config)
        key_imagined, key_update = jax.random.split(step_key)
        parts = []
        if real_rows:
            parts.append(as_batch(gather(offline, online, rows), rows))
        if real_rows < batch_size:
            dreamt = sample_ring(key_imagined, batch_size - real_rows, imagined)
            parts.append(as_batch(dreamt, jnp.full(batch_size - real_rows, -1)))
        batch = jax.tree.map(lambda *columns: jnp.concatenate(columns), *parts)
        return agent.update(state, batch, key_update, agent_config)

    keys = jax.random.split(key, updates)
    new_state, metrics = jax.lax.scan(step, agent_state, (real, keys))
    leaves = jax.tree.leaves(eqx.filter((new_state, metrics), eqx.is_inexact_array))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), new_state, agent_state)
    means = {f"losses/{name}": jnp.mean(value) for name, value in metrics.items()}
    means["losses/q_target_max"] = jnp.max(metrics["q_target_max"])
    # A diverged update is undone and counted; its losses would only hide in the means. And a limit
    # that is not known is not a number to draw.
    means = {
        name: jnp.where(finite & (jnp.abs(value) < 0.1 * NO_LIMIT), value, jnp.nan)
        for name, value in means.items()
    }
    means["losses/skipped_updates"] = jnp.where(finite, 0.0, updates)
    return kept, means


def rollout_settings(config: Config, count: int) -> Config:
    """The part of a configuration that a compiled rollout depends on, the rest at its defaults.

    So two runs that differ elsewhere share one compiled program.
    """
    return Config(
        uncertainty=config.uncertainty,
        sac=SACConfig(discount=config.sac.discount),
        rollout_length=config.rollout_length,
        trust_quantile=config.trust_quantile,
        imagined_bound=config.imagined_bound,
        rollout_chunk=min(config.rollout_chunk, count),
    )
