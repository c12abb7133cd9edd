"""The compiled programs of imagination: rollouts into D_model, and the error of predictions.

D_model is donated: the buffer that was passed must not be used again.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Ensemble, Normaliser
from moore.dynamics.fit import ModelState
from moore.dynamics.imagine import TerminationFn, rollout
from moore.dynamics.penalty import UncertaintyFn
from moore.dynamics.pessimistic import Halt, halted, of_disagreement
from moore.dynamics.surprise import surprise, uncertainty_of
from moore.experience.diagnostics import ObsRange, observed_range, widened
from moore.experience.settings import RolloutSettings
from moore.experience.uncertainty import make_uncertainty
from moore.lockstep.program import program
from moore.replay.buffer import Replay, Ring, Transition, push, with_room
from moore.replay.sampler import gather
from moore.shapes import to_rank_of

Metrics = dict[str, Float[Array, ""]]

# Number of real transitions whose uncertainty sets the limit of trusted rollouts.
TRUST_ROWS = 2000


@program(static_argnames=("count",))
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


@program(
    static_argnames=("agent", "terminated_fn", "settings"),
    donate_argnames=("imagined",),
)
def imagine(
    imagined: Ring,
    policy: PyTree,
    model: ModelState,
    offline: Replay,
    online: Replay,
    logged_range: ObsRange,
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

    `agent_state` measures u, if `uncertainty` is "value". `spread` is the unit of `imagined_bound`.
    With `halt`, u is the members' disagreement, and a rollout halts where it is too large.
    """
    uncertainty_fn: UncertaintyFn | None = of_disagreement
    if halt is None:
        uncertainty_fn = make_uncertainty(settings, agent, agent_state, terminated_fn, spread)
    trusted = jnp.asarray(jnp.inf if halt is None else halt.limit)
    if settings.trust_quantile is not None:
        key_rollout, key_trust = jax.random.split(key_rollout)
        assert uncertainty_fn is not None  # a configuration always asks for one
        judged = gather(offline, online, rows[:TRUST_ROWS])
        usual = uncertainty_of(model.ensemble, judged, uncertainty_fn, key_trust)
        trusted = jnp.minimum(jnp.quantile(usual, settings.trust_quantile), trusted)
    seen = _joined(logged_range, observed_range(online))

    def roll_chunk(ring: Ring, chunk):
        chunk_rows, drawn, chunk_key = chunk
        transitions, happened, uncertainty = rollout(
            model.ensemble,
            lambda obs, k: agent.act(policy, obs, k),
            terminated_fn,
            jnp.asarray(gather(offline, online, chunk_rows).obs),
            chunk_key,
            length=settings.rollout_length,
            penalty_coef=penalty_coef,
            obs_bound=settings.imagined_bound,
            spread=spread,
            within=widened(seen, settings.imagined_range),
            trusted=trusted,
            uncertainty_fn=uncertainty_fn,
            one_member=settings.one_member,
            noise=settings.member_noise,
        )
        steps = _steps_of(transitions, happened, uncertainty, drawn, trusted, seen)
        return _kept(ring, transitions, steps, halt), steps

    chunks = _chunks(rows, settings.rollout_chunk, key_rollout)
    imagined, steps = jax.lax.scan(roll_chunk, imagined, chunks)
    metrics = _rollout_metrics(steps, penalty_coef, rows.shape[0])
    metrics["replay/online_share"] = jnp.mean(rows >= offline.capacity)
    return imagined, metrics if halt is None else metrics | _halt_metrics(steps, halt)


class _Steps(eqx.Module):
    """What came of the steps of all rollouts, before any of them was halted.

    `happened`: the step is in D_model. `due`: its rollout had not ended before it. `outside`: it
    led out of the range of all real observations.
    """

    happened: Bool[Array, "*chunks length batch"]
    due: Bool[Array, "*chunks length batch"]
    outside: Bool[Array, "*chunks length batch"]
    uncertainty: Float[Array, "*chunks length batch"]
    reward: Float[Array, "*chunks length batch"]
    terminated: Bool[Array, "*chunks length batch"]


def _kept(ring: Ring, transitions: Transition, steps: _Steps, halt: Halt | None) -> Ring:
    """D_model with the transitions that happened; with `halt` the unknown ones end there."""
    if halt is not None:
        reward, terminated = halted(steps.reward, steps.terminated, steps.uncertainty, halt)
        transitions = dataclasses.replace(transitions, reward=reward, terminated=terminated)
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), transitions)
    return push(ring, flat, steps.happened.reshape(-1))


def _joined(one: ObsRange, other: ObsRange) -> ObsRange:
    return jnp.minimum(one[0], other[0]), jnp.maximum(one[1], other[1])


def _chunks(
    rows: Int[Array, " count"], size: int, key: PRNGKeyArray
) -> tuple[Int[Array, "chunks size"], Bool[Array, "chunks size"], Key[Array, " chunks"]]:
    """The rows in chunks, which of them were drawn, and a key for each chunk.

    The last chunk is padded with row 0; these rollouts are not kept.
    """
    count = rows.shape[0]
    shape = (-(-count // size), size)
    padded = jnp.zeros(shape[0] * size, jnp.int32).at[:count].set(rows)
    drawn = (jnp.arange(shape[0] * size) < count).reshape(shape)
    return padded.reshape(shape), drawn, jax.random.split(key, shape[0])


def _steps_of(
    transitions: Transition,
    happened: Bool[Array, "length batch"],
    uncertainty: Float[Array, "length batch"],
    drawn: Bool[Array, " batch"],
    trusted: Float[Array, ""],
    seen: ObsRange,
) -> _Steps:
    """The steps of one chunk; those of a rollout that only fills it up count as if never asked."""
    happened = happened & drawn[None]
    goes_on = happened & ~transitions.terminated & (uncertainty <= trusted)
    due = jnp.concatenate([drawn[None], goes_on[:-1]])
    next_obs = transitions.next_obs
    low, high = (to_rank_of(end, next_obs) for end in seen)
    outside = jnp.any((next_obs < low) | (next_obs > high), axis=-1)
    reward, terminated = jnp.asarray(transitions.reward), jnp.asarray(transitions.terminated)
    return _Steps(happened, due, outside, uncertainty, reward, terminated)


def _halt_metrics(steps: _Steps, halt: Halt) -> Metrics:
    unknown = steps.happened & (steps.uncertainty > halt.limit)
    return {
        "model/halted": unknown.sum() / jnp.maximum(steps.happened.sum(), 1),
        "model/halt_limit": halt.limit,
    }


def _rollout_metrics(steps: _Steps, penalty_coef: Float[Array, ""], rollouts: int) -> Metrics:
    """Statistics over the imagined transitions that were made, and over those that were due."""
    happened, uncertainty = steps.happened, steps.uncertainty
    total = jnp.maximum(happened.sum(), 1)
    divisor = total.astype(jnp.float32)
    mean = jnp.where(happened, uncertainty, 0.0).sum() / divisor
    unpenalised = jnp.where(happened, steps.reward + penalty_coef * uncertainty, 0.0)
    p20, p80 = jnp.nanpercentile(
        jnp.where(happened, uncertainty, jnp.nan), jnp.asarray([20.0, 80.0])
    )
    return {
        "model/rollout_steps": happened.sum() / rollouts,
        "model/uncertainty_mean": mean,
        "model/uncertainty_p20": p20,
        "model/uncertainty_p80": p80,
        "model/imagined_reward": unpenalised.sum() / divisor,
        # Size of the penalty relative to the rewards: lambda E[u] / E|r|.
        "model/penalty_ratio": penalty_coef * mean / (jnp.abs(unpenalised).sum() / divisor),
        "model/penalty_coef": penalty_coef,
        # Outside the range of the log and the online data in some entry.
        "model/imagined_out_of_range": (steps.outside & happened).sum() / total,
        "model/imagined_terminated": (steps.terminated & happened).sum() / total,
        # Non-finite or beyond the bound: the rollout ended there and the transition was dropped.
        "model/imagined_dropped": (steps.due & ~happened).sum() / jnp.maximum(steps.due.sum(), 1),
    }
