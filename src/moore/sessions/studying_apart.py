"""Learning in another process, seen from the one that acts."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.files import short_path, wait_until_unlocked
from moore.formats.live_steps import Step
from moore.sessions.learner_child import LearnerChild
from moore.sessions.learner_report import LearnerReport
from moore.sessions.learner_side import Decision, updates_due
from moore.sessions.publication import LEARNER, Publication
from moore.sessions.studying import Studying, check_time_or_updates
from moore.sessions.turns import turns_of
from moore.stages.budget import DipBudget
from moore.stages.choosing import Turn

# Seconds that an earlier process has to end by itself.
_LET_GO = 20.0


class StudyingApart:
    """Acts on what a learner process publishes; nothing here waits for it, except `saved`."""

    here = False

    def __init__(self, folder: Path, before: Studying, instructions: dict):
        """Goes on from a learner in this process, whose state is saved; see `LearnerChild`."""
        learning, setup = before.learning, before.setup
        self._turns = turns_of(setup, learning.chooser, learning.state)
        self._online = learning.learner.config.online
        self._observed = learning.steps_observed
        self._returned, self._lost = before.updates, 0
        told = Publication(
            "", verdict=learning.verdict, steps=learning.steps_learned, updates=before.updates
        )
        policy = setup.policy(learning.learner.policy(learning.state))
        self._child = LearnerChild(folder, instructions, policy, told)
        self.close = self._child.close

    @property
    def turn(self) -> Turn:
        return self._turns.turn

    @property
    def due(self) -> int:
        return updates_due(self._online, learned=self._child.told.steps, observed=self._observed)

    @property
    def verdict(self) -> bool | None:
        return self._child.told.verdict

    @property
    def heard(self) -> int:
        return self._turns.heard

    @property
    def ended(self) -> bool:
        return self._child.ended

    @property
    def account(self) -> DipBudget | None:
        return self._turns.budget

    @property
    def report(self) -> LearnerReport:
        child, told = self._child, self._child.told
        return LearnerReport(
            child.id, not child.trouble, told.steps, told.updates, self.due, child.published,
            child.trouble,
        )  # fmt: skip

    def ready(self) -> None:
        """Nothing has to be compiled for acting."""

    def decide(
        self, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"], *, trying: bool = False
    ) -> Decision:
        newest = self._child.newest
        if newest is not None and newest.number <= self._lost:
            newest = newest._replace(heard=0)
        turn, notes, affordable = self._turns.decide(newest, waiting, obs, trying=trying)
        random = self._observed < self._online.random_steps
        return Decision(turn, random, self._child.told.verdict, notes, affordable)

    def add(self, step: Step) -> None:
        self._observed += step.number > 0
        self._turns.add(step)

    def feed(self) -> None:
        """Does nothing: the process of the learner reads the log by itself."""

    def learn(self, *, updates: int | None, seconds: float | None, beyond: bool = True) -> int:
        """Orders more than the schedule asks for; the number of updates since the last call."""
        check_time_or_updates(updates, seconds)
        if beyond and not (updates is None and seconds is None):
            self._child.learn(updates=updates, seconds=seconds)
        before, self._returned = self._returned, self._child.told.updates
        return max(self._returned - before, 0)

    def check_sound(self) -> None:
        self._child.check()

    @contextlib.contextmanager
    def saved(self) -> Iterator[None]:
        self._child.save()
        try:
            yield
        finally:
            self._child.go_on()

    def restart(self) -> None:
        if self.ended:
            # The process may not know these any more, so nobody must trust in them again.
            self._lost, self._turns.heard = self._child.published, 0
        self._child.restart()


def process_for(
    learner: str, *, run: Path | None = None, dataset: Dataset | str | Path | None
) -> Callable[[Path, Studying], StudyingApart] | None:
    """Starts the learner process of a session; None if it learns in calls of `learn`.

    Args:
        learner: "call", "episodes" or "process".
        run, dataset: see `Session.resume`.

    Raises:
        InputError: a log that the process cannot read.
    """
    if learner != "process":
        return None
    if isinstance(dataset, Dataset):
        raise InputError(
            "dataset is an object in the memory of this process, which the learner process cannot "
            "read; give the path of its file."
        )
    instructions = {
        "run": None if run is None else str(run),
        "dataset": None if dataset is None else str(dataset),
    }
    return lambda folder, before: StudyingApart(folder, before, instructions)


def let_go(folder: Path) -> Path:
    """The session's folder, as soon as no learner process of an earlier time writes to it.

    Raises:
        InputError: one still does.
    """
    if not wait_until_unlocked(folder / LEARNER, seconds=_LET_GO):
        raise InputError(
            f"a learner process is still writing to {short_path(folder)}; let it end first."
        )
    return folder
