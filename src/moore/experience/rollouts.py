"""The compiled programs of imagination: rollouts into D_model, and the error of predictions.

D_model is donated: the buffer that was passed must not be used again.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.fit import ModelState
from moore.dynamics.imagine import TerminationFn, rollout
from moore.dynamics.pessimistic import Halt, halted, of_disagreement
from moore.dynamics.surprise import surprise, uncertainty_of
from moore.experience.diagnostics import Range, observed_range, widened
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.replay.buffer import Replay, Ring, push, with_room
from moore.replay.sampler import gather

Metrics = dict[str, Float[Array, ""]]

# Number of real transitions whose uncertainty sets the limit of trusted rollouts.
TRUST_ROWS = 2000


@partial(jax.jit, static_argnames=("count",))
def surprise_of_newest(ensemble: Ensemble, online: Replay, count: int) -> Metrics:
    """`surprise` on the `count` newest transitions of D_on, or on all if there are fewer."""
    start = jnp.maximum(online.size - count, 0)
    newest = jax.tree.map(
        lambda column: jax.lax.dynamic_slice_in_dim(column, start, count), online.data
    )
    there = start + jnp.arange(count) < online.size
    found = surprise(ensemble, newest, there)
    # Compare with model/imagined_terminated: do imagined episodes end as often as real ones?
    found["new_terminated"] = jnp.mean(newest.terminated, where=there)
    return {f"model/{name}": value for name, value in found.items()}


_with_room = jax.jit(with_room, donate_argnames="ring")


def make_room(imagined: Ring, room: int) -> Ring:
    """D_model with room for this many steps; it is not copied if it already has this size."""
    return imagined if int(imagined.room) == room else _with_room(imagined, room)


@partial(
    jax.jit,
    static_argnames=("agent", "terminated_fn", "settings"),
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
    settings: RolloutSettings,
    agent_state: PyTree = None,
    spread: Normaliser | None = None,
    halt: Halt | None = None,
) -> tuple[Ring, Metrics]:
    """Adds rollouts from the drawn rows to D_model, chunk by chunk to limit the memory.

    `agent_state` has the critics that measure u, if `uncertainty` is "value". `spread` is the unit
    of `imagined_bound`. With `halt`, u is the members' disagreement, and a rollout halts where it
    is too large.
    """
    uncertainty_fn = make_uncertainty(settings, agent, agent_state, terminated_fn, spread)
    if halt is not None:
        uncertainty_fn = of_disagreement
    trusted = jnp.asarray(jnp.inf)
    if settings.trust_quantile is not None:
        key_rollout, key_trust = jax.random.split(key_rollout)
        judged = gather(offline, online, rows[:TRUST_ROWS])
        usual = uncertainty_of(model.ensemble, judged, uncertainty_fn, key_trust)
        trusted = jnp.quantile(usual, settings.trust_quantile)
    if halt is not None:
        trusted = jnp.minimum(trusted, halt.limit)
    acted_range = observed_range(online)
    low = jnp.minimum(logged_range[0], acted_range[0])
    high = jnp.maximum(logged_range[1], acted_range[1])
    count = rows.shape[0]
    chunks = -(-count // settings.rollout_chunk)
    # The last chunk is padded with row 0; these rollouts are not kept.
    padded = jnp.zeros(chunks * settings.rollout_chunk, jnp.int32).at[:count].set(rows)
    wanted = jnp.arange(chunks * settings.rollout_chunk) < count

    def roll_chunk(ring: Ring, chunk):
        chunk_rows, chunk_wanted, chunk_key = chunk
        starts = gather(offline, online, chunk_rows).obs
        transitions, happened, uncertainty = rollout(
            model.ensemble,
            lambda obs, k: agent.act(policy, obs, k),
            terminated_fn,
            starts,
            chunk_key,
            length=settings.rollout_length,
            penalty_coef=penalty_coef,
            obs_bound=settings.imagined_bound,
            spread=spread,
            within=widened((low, high), settings.imagined_range),
            trusted=trusted,
            uncertainty_fn=uncertainty_fn,
            one_member=settings.one_member,
            noise=settings.member_noise,
        )
        happened = happened & chunk_wanted
        predicted, ends = transitions.reward, transitions.terminated
        if halt is not None:
            reward, terminated = halted(predicted, ends, uncertainty, halt)
            transitions = dataclasses.replace(transitions, reward=reward, terminated=terminated)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)
        ring = push(ring, flat, happened.reshape(-1))
        goes_on = happened & ~ends & (uncertainty <= trusted)
        due = jnp.concatenate([chunk_wanted[None], goes_on[:-1]])
        next_obs = transitions.next_obs
        outside = jnp.any((next_obs < low) | (next_obs > high), axis=-1)
        return ring, (happened, due, outside, uncertainty, predicted, ends)

    shape = (chunks, settings.rollout_chunk)
    imagined, outcome = jax.lax.scan(
        roll_chunk,
        imagined,
        (padded.reshape(shape), wanted.reshape(shape), jax.random.split(key_rollout, chunks)),
    )
    metrics = _rollout_metrics(*outcome, penalty_coef)
    metrics["model/rollout_steps"] = outcome[0].sum() / count
    if halt is not None:
        unknown = outcome[0] & (outcome[3] > halt.limit)
        metrics["model/halted"] = unknown.sum() / jnp.maximum(outcome[0].sum(), 1)
        metrics["model/halt_limit"] = halt.limit
    metrics["replay/online_share"] = jnp.mean(rows >= offline.capacity)
    return imagined, metrics


def _rollout_metrics(
    happened, due, outside, uncertainty, reward, terminated, penalty_coef: Float[Array, ""]
) -> Metrics:
    """Statistics over the imagined transitions that were made, and over those that were due."""
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
        # Size of the penalty relative to the rewards: lambda E[u] / E|r|.
        "model/penalty_ratio": penalty_coef * mean / (jnp.abs(unpenalised).sum() / total),
        "model/penalty_coef": penalty_coef,
        # Outside the range of the log and the online data in some entry.
        "model/imagined_out_of_range": (outside & happened).sum() / total,
        "model/imagined_terminated": (terminated & happened).sum() / total,
        # Non-finite or beyond the bound: the rollout ended there and the transition was dropped.
        "model/imagined_dropped": (due & ~happened).sum() / jnp.maximum(due.sum(), 1),
    }
