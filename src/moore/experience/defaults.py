"""What a kind of experience does where it has nothing of its own to do.

A class names them in its body, such as `hand_over = keeps_its_state`; the first argument is then
the experience itself, or for `notes_nothing` its way of drawing.
"""

from typing import Any

from jaxtyping import PRNGKeyArray, PyTree

from moore.experience.protocol import Metrics, Moment, OnPass, Refreshed


def has_no_state(experience: Any, key: PRNGKeyArray) -> None:
    """`begin` of an experience that keeps no state between batches."""
    del experience, key


def prepares_nothing(
    experience: Any, state: PyTree, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
) -> tuple[PyTree, PRNGKeyArray, Refreshed]:
    """`start` or `refresh` of an experience that only draws rows: batches see new ones at once."""
    del experience, now, on_pass
    return state, key, Refreshed()


def keeps_its_state(experience: Any, state: PyTree) -> PyTree:
    """`hand_over` of an experience that keeps no state."""
    del experience
    return state


def learns_no_notes(experience: Any, state: PyTree, notes: PyTree) -> PyTree:
    """`noted` of an experience whose gradient steps leave no notes."""
    del experience, notes
    return state


def packs_nothing(experience: Any, state: PyTree) -> dict:
    """`pack_hand_over` of an experience that has nothing to store."""
    del experience, state
    return {}


def unpacks_nothing(experience: Any, fresh: PyTree, kept: dict) -> PyTree:
    """`unpack_hand_over` of an experience that has stored nothing."""
    del experience, kept
    return fresh


def notes_nothing(drawing: Any, notes: PyTree, batch: Any, agent: PyTree) -> tuple[None, Metrics]:
    """`Drawing.learned` of an experience whose gradient steps leave no notes."""
    del drawing, notes, batch, agent
    return None, {}
