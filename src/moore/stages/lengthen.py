"""Room for an online stage that has become longer than it was meant to be."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from moore.errors import InputError
from moore.replay import sum_tree
from moore.replay.buffer import Replay, Ring
from moore.replay.sum_tree import SumTree
from moore.stages.learner import Learner, LearnerState


def lengthened(learner: Learner, state: LearnerState) -> LearnerState:
    """The state of a shorter online stage in the buffers of this learner's.

    Note: buffers of another size may draw other random numbers, so the longer run is not bit for
    bit the one that was meant to be so long from the start.

    Raises:
        InputError: something else is held whose size depends on the stage's length.
    """
    wanted = eqx.filter_eval_shape(lambda key: learner.hand_over(learner.init(key)), state.key)
    experience = jax.tree.map(_grown, state.experience, wanted.experience, is_leaf=_has_rows)
    longer = dataclasses.replace(
        state,
        experience=experience,
        online=_grown_replay(state.online, wanted.online.capacity),
    )
    same = jax.tree.structure(longer) == jax.tree.structure(wanted)
    pairs = zip(jax.tree.leaves(longer), jax.tree.leaves(wanted), strict=False)
    if not same or any(one.shape != other.shape for one, other in pairs):
        raise InputError(
            f"a run of {learner.config.algorithm} cannot be made longer; begin another one with "
            "more --online.epochs."
        )
    return longer


def _has_rows(node: Any) -> bool:
    return isinstance(node, Ring | SumTree)


def _grown(node: Any, wanted: Any) -> Any:
    """A part of the experience's state with the room of another one; others as they are."""
    if isinstance(node, SumTree):
        return _grown_tree(node, wanted.capacity)
    return _grown_ring(node, wanted.capacity) if isinstance(node, Ring) else node


def _padded(column: jax.Array, rows: int) -> jax.Array:
    missing = rows - column.shape[0]
    return jnp.pad(column, [(0, missing), *[(0, 0)] * (column.ndim - 1)])


def _grown_replay(replay: Replay, rows: int) -> Replay:
    return dataclasses.replace(
        replay,
        data=jax.tree.map(lambda column: _padded(column, rows), replay.data),
        train_rows=_padded(replay.train_rows, rows),
    )


def _grown_ring(ring: Ring, rows: int) -> Ring:
    """Rows beyond the present room are not used until there is more of it."""
    return dataclasses.replace(
        ring, data=jax.tree.map(lambda column: _padded(column, rows), ring.data)
    )


def _grown_tree(tree: SumTree, rows: int) -> SumTree:
    """The online data come last, so the new rows do."""
    leaves = tree.nodes[tree.leaves : tree.leaves + tree.capacity]
    return sum_tree.build(_padded(leaves, rows))
