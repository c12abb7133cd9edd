"""What a session asks of its learning, wherever that runs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from moore.config import OnlineConfig
from moore.formats.live_steps import Step
from moore.sessions.learner_report import LearnerReport
from moore.stages.budget import DipBudget
from moore.stages.choosing import Turn


class Decision(NamedTuple):
    """Who acts on the next step.

    Attributes:
        turn: whose turn it is.
        random: whether the action is a random one instead.
        verdict: whether the newest policy was accepted when the gate was asked last, or None.
        notes: entries of the record of the action, by which others come to the same decision.
        affordable: whether the loss budget lets a policy try beside a controller.
    """

    turn: Turn
    random: bool
    verdict: bool | None
    notes: dict
    affordable: bool


@runtime_checkable
class LearnerSide(Protocol):
    """Learning in this process (`Studying`), or in another one (`StudyingApart`).

    Attributes:
        here: whether it is this process.
    """

    here: bool

    @property
    def turn(self) -> Turn:
        """Whose turn it is by what was decided so far."""

    @property
    def due(self) -> int:
        """Number of updates that are due by the schedule."""

    @property
    def verdict(self) -> bool | None:
        """Whether the newest policy was accepted when the gate was asked last, or None."""

    @property
    def heard(self) -> int:
        """Number of the guard's setbacks that were known when the newest policy was accepted."""

    @property
    def ended(self) -> bool:
        """Whether the learner process has ended; False if there is none."""

    @property
    def account(self) -> DipBudget | None:
        """The account of the loss budget; None: there is none."""

    @property
    def report(self) -> LearnerReport:
        """How far learning is, and whether it goes on."""

    def ready(self) -> None:
        """Prepares, so that the first calls take no longer than the others."""

    def decide(
        self, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"], *, trying: bool
    ) -> Decision:
        """Who acts on the next step.

        Args:
            waiting: steps of the unit that did not come out yet.
            obs: the unit's observation.
            trying: whether the loss budget alone decides if a policy tries beside a controller.
        """

    def add(self, step: Step) -> None:
        """Takes a step whose result has become known."""

    def feed(self) -> None:
        """Gives the learner the steps whose results have become known."""

    def learn(self, *, updates: int | None, seconds: float | None, beyond: bool = True) -> int:
        """Learns; see `Session.learn`. `beyond`: whether to go on where nothing more is due."""

    def check_sound(self) -> None:
        """Raises InputError if nothing can be saved."""

    def saved(self) -> AbstractContextManager[None]:
        """Saves the state; within the context learning writes nothing."""

    def restart(self) -> None:
        """Starts the learner process again if it has ended."""

    def close(self) -> None:
        """Ends learning."""


def knows_episode(waiting: Sequence[Step]) -> bool:
    """Whether the account of a loss budget has come to the running episode.

    While rewards of an earlier one are missing, it cannot tell who may act.

    Args:
        waiting: steps that did not come out yet.
    """
    return not any(step.ends or step.number == 0 for step in waiting)


def updates_due(online: OnlineConfig, *, learned: int, observed: int) -> int:
    """Number of updates that the schedule asks for.

    Args:
        online: settings of the online stage.
        learned: number of steps since the hand-over that were learned from.
        observed: number of steps since the hand-over.
    """
    first = max(learned, online.random_steps, online.frozen_steps)
    groups = observed // online.update_every - first // online.update_every
    return max(groups, 0) * online.updates_per_group
