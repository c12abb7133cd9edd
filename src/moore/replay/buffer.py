"""Transitions on the device: the log, the online data, and the imagined data D_model.

All arrays are allocated once at full size; the functions return new pytrees that reuse the memory
when the caller donates the old one.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

# A transition begins as NumPy at the environment and goes on as JAX on the device.
AnyArray = Array | np.ndarray


class Transition(eqx.Module):
    """d = (s, a, r, s') with both kinds of ends; one transition, or many along leading axes.

    `terminated`: the environment ended the episode, so nothing follows `next_obs`.
    `truncated`: a time limit cut the episode; `next_obs` has a value like any other state.
    """

    obs: Float[AnyArray, "*rows obs"]
    action: Float[AnyArray, "*rows action"]
    reward: Float[AnyArray, " *rows"]
    next_obs: Float[AnyArray, "*rows obs"]
    terminated: Bool[AnyArray, " *rows"]
    truncated: Bool[AnyArray, " *rows"]


_ROW, _NUMBER, _FLAG = np.zeros(1, np.float32), np.zeros((), np.float32), np.zeros((), bool)
_FORM = jax.tree.structure(Transition(_ROW, _ROW, _NUMBER, _ROW, _FLAG, _FLAG))


def measured(
    obs: Float[np.ndarray, " obs"],
    action: Float[np.ndarray, " action"],
    reward: float,
    next_obs: Float[np.ndarray, " obs"],
    *,
    terminated: bool,
    truncated: bool,
) -> Transition:
    """One transition of NumPy arrays, as a step of a system gives it.

    The constructor of an equinox module takes longer than everything else after a step.
    """
    ends = (np.asarray(terminated, bool), np.asarray(truncated, bool))
    leaves = (obs, action, np.asarray(reward, np.float32), next_obs, *ends)
    return jax.tree.unflatten(_FORM, leaves)


class Batch(eqx.Module):
    """Transitions that an agent learns from, and their rows in the buffers.

    `row` is the joint index of a real transition (the log first, then the online data), and -1 for
    an imagined one.
    """

    obs: Float[Array, "rows obs"]
    action: Float[Array, "rows action"]
    reward: Float[Array, " rows"]
    next_obs: Float[Array, "rows obs"]
    terminated: Bool[Array, " rows"]
    truncated: Bool[Array, " rows"]
    row: Int[Array, " rows"]


class GroupedBatch(eqx.Module):
    """A batch, with uniform rows of each group for an agent that compares log and online data."""

    batch: Batch
    logged: Batch
    collected: Batch


def as_batch(data: Transition, row: Int[Array, " rows"]) -> Batch:
    """Transitions (rows,) as a batch, with their joint indices."""
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    return Batch(**{name: getattr(data, name) for name in names}, row=row.astype(jnp.int32))


def empty_transitions(capacity: int, obs_dim: int, action_dim: int) -> Transition:
    """`capacity` rows of zeros."""
    return Transition(
        obs=jnp.zeros((capacity, obs_dim), jnp.float32),
        action=jnp.zeros((capacity, action_dim), jnp.float32),
        reward=jnp.zeros(capacity, jnp.float32),
        next_obs=jnp.zeros((capacity, obs_dim), jnp.float32),
        terminated=jnp.zeros(capacity, bool),
        truncated=jnp.zeros(capacity, bool),
    )


def take(data: Transition, rows: Int[Array, " n"]) -> Transition:
    """The given rows."""
    return jax.tree.map(lambda column: column[rows], data)


class Ring(eqx.Module):
    """D_model (line 16 of Algorithm 1): a ring whose oldest rows are overwritten first.

    `room` is the number of rows that it keeps, at most its capacity; `with_room` changes it.
    """

    data: Transition
    size: Int[Array, ""]
    cursor: Int[Array, ""]
    room: Int[Array, ""]

    @property
    def capacity(self) -> int:
        return self.data.reward.shape[0]


def empty_ring(capacity: int, obs_dim: int, action_dim: int) -> Ring:
    data = empty_transitions(capacity, obs_dim, action_dim)
    room = jnp.asarray(capacity, jnp.int32)
    return Ring(data, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), room)


def with_room(ring: Ring, room: Int[Array, ""]) -> Ring:
    """Resizes the ring to `room` rows, at most its capacity, and keeps the newest rows."""
    kept = jnp.minimum(ring.size, room)
    in_order = (ring.cursor - kept + jnp.arange(ring.capacity)) % ring.room
    return Ring(take(ring.data, in_order), size=kept, cursor=kept % room, room=room)


def push(ring: Ring, rows: Transition, keep: Bool[Array, " n"]) -> Ring:
    """Writes the rows for which `keep` is true, in order, over the oldest ones.

    If more rows are kept than there is `room` for, they overwrite one another.

    Raises:
        ValueError: there are more rows than the capacity.
    """
    count = keep.shape[0]
    if count > ring.capacity:
        raise ValueError(f"{count} rows do not fit into a ring of {ring.capacity}.")
    offset = jnp.cumsum(keep, dtype=jnp.int32)
    # A dropped row is sent past the end, where mode="drop" discards it.
    slot = jnp.where(keep, (ring.cursor + offset - 1) % ring.room, ring.capacity)
    data = jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), ring.data, rows)
    return Ring(
        data,
        size=jnp.minimum(ring.size + offset[-1], ring.room),
        cursor=(ring.cursor + offset[-1]) % ring.room,
        room=ring.room,
    )


class Replay(eqx.Module):
    """Real transitions (D_off or D_on) with a permanent split into training and holdout rows.

    The split is drawn when a row arrives, so a holdout row never trains the models, however often
    they are refitted. Rows whose successor is not in the log belong to neither part: they may only
    start a rollout, or enter a Bellman target at a terminal.
    """

    data: Transition
    size: Int[Array, ""]
    train_rows: Int[Array, " capacity"]
    train_size: Int[Array, ""]
    holdout_rows: Int[Array, " holdout"]
    holdout_size: Int[Array, ""]

    @property
    def capacity(self) -> int:
        return self.data.reward.shape[0]


class Counts(eqx.Module):
    """The sizes of a log whose rows are not on the device; see `Replay`."""

    size: Int[Array, ""]
    train_size: Int[Array, ""]
    capacity: int = eqx.field(static=True)


def empty_replay(capacity: int, obs_dim: int, action_dim: int, *, max_holdout: int) -> Replay:
    """An empty buffer for `capacity` transitions, of which at most `max_holdout` are held out."""
    # Each count is an array of its own: a buffer can be donated only once.
    return Replay(
        data=empty_transitions(capacity, obs_dim, action_dim),
        size=jnp.zeros((), jnp.int32),
        train_rows=jnp.zeros(capacity, jnp.int32),
        train_size=jnp.zeros((), jnp.int32),
        holdout_rows=jnp.zeros(max_holdout, jnp.int32),
        holdout_size=jnp.zeros((), jnp.int32),
    )


def full_replay(
    data: Transition,
    successor_known: Bool[np.ndarray, " n"],
    key: PRNGKeyArray,
    *,
    holdout_fraction: float,
    max_holdout: int,
    stretch: int = 1,
) -> Replay:
    """A whole log, with a random holdout of min(fraction * usable rows, max) rows (MOPO).

    `stretch`: the holdout is made of so many rows in a row, so that models can be judged on
    stretches that they have not seen (moore.dynamics.open_loop); 1: of single rows.
    """
    usable = jnp.asarray(np.flatnonzero(successor_known), jnp.int32)
    if stretch == 1:
        shuffled = jax.random.permutation(key, usable)
    else:
        place = jax.random.permutation(key, -(-data.reward.shape[0] // stretch))
        shuffled = usable[jnp.argsort(place[usable // stretch], stable=True)]
    held = min(int(holdout_fraction * usable.size), max_holdout)
    train_size = usable.size - held
    train_rows = jnp.zeros(data.reward.shape[0], jnp.int32).at[:train_size].set(shuffled[held:])
    holdout_rows = jnp.zeros(max_holdout, jnp.int32).at[:held].set(shuffled[:held])
    return Replay(
        data=jax.tree.map(jnp.asarray, data),
        size=jnp.asarray(data.reward.shape[0], jnp.int32),
        train_rows=train_rows,
        train_size=jnp.asarray(train_size, jnp.int32),
        holdout_rows=holdout_rows,
        holdout_size=jnp.asarray(held, jnp.int32),
    )


def append(
    replay: Replay, transition: Transition, key: PRNGKeyArray, *, holdout_fraction: float
) -> Replay:
    """Adds one transition to D_on (line 11 of Algorithm 1).

    It is held out with the given probability until the holdout is full. The caller makes the buffer
    large enough for the whole stage; a row past its end would be lost.
    """
    room = replay.holdout_size < replay.holdout_rows.shape[0]
    held = room & jax.random.bernoulli(key, holdout_fraction)
    data = jax.tree.map(
        lambda column, value: column.at[replay.size].set(value), replay.data, transition
    )
    nowhere = replay.capacity
    train_slot = jnp.where(held, nowhere, replay.train_size)
    holdout_slot = jnp.where(held, replay.holdout_size, nowhere)
    return Replay(
        data=data,
        size=replay.size + 1,
        train_rows=replay.train_rows.at[train_slot].set(replay.size, mode="drop"),
        train_size=replay.train_size + (~held).astype(jnp.int32),
        holdout_rows=replay.holdout_rows.at[holdout_slot].set(replay.size, mode="drop"),
        holdout_size=replay.holdout_size + held.astype(jnp.int32),
    )
