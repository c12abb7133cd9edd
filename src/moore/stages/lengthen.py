"""Makes room for an online stage that is to be longer than it was planned."""

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
    """The state of a shorter online stage, with the larger buffers of this learner.

    Note: buffers of another size may draw other random numbers, so the run can differ from one that
    had this length from the start.

    Raises:
        InputError: the state holds something else whose size depends on the length of the stage.
    """
    wanted = eqx.filter_eval_shape(lambda key: learner.hand_over(learner.init(key)), state.key)
    experience = jax.tree.map(_grown, state.experience, wanted.experience, is_leaf=_has_rows)
    longer = dataclasses.replace(
        state,
        experience=experience,
        online=_grown_replay(state.online, wanted.online.capacity),
    )
    if not _alike(longer.agent, wanted.agent):  # it keeps a number for each row
        longer = learner.summarise_data(longer)
    if not _alike(longer, wanted):
        raise InputError(
            f"a run of {learner.config.algorithm} cannot be made longer; begin another one with "
            "more --online.epochs."
        )
    return longer


def _alike(one: Any, other: Any) -> bool:
    """Whether two states have the same parts of the same shapes."""
    if jax.tree.structure(one) != jax.tree.structure(other):  # type: ignore[operator] # no stubs
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.shape == b.shape for a, b in pairs)


def _has_rows(node: Any) -> bool:
    return isinstance(node, Ring | SumTree)


def _grown(node: Any, wanted: Any) -> Any:
    """Enlarges a part of the experience's state to the size of `wanted`, if it is a buffer."""
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
    """A larger ring; the new rows are not used until `room` grows."""
    return dataclasses.replace(
        ring, data=jax.tree.map(lambda column: _padded(column, rows), ring.data)
    )


def _grown_tree(tree: SumTree, rows: int) -> SumTree:
    """A larger tree; the new rows come last, as the online data do."""
    leaves = tree.nodes[tree.leaves : tree.leaves + tree.capacity]
    return sum_tree.build(_padded(leaves, rows))
