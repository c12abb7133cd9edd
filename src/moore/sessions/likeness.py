"""Compares what a session has met with the log, and warns where they are unlike: once of a kind."""

import warnings
from collections import deque

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.findings.duplicates import shared_rows
from moore.findings.two_parts import changed_between
from moore.formats.live_steps import Step, Unit
from moore.replay.buffer import Transition
from moore.runs.hand_over import check_first
from moore.runs.met import seems_reset, unlike_the_log

_KEPT = 5000  # newest steps
_FIRST = 100  # steps; then twice as many each time, and in the end every `_KEPT`


class UnlikeTheLog(UserWarning):
    """The warning by which a session tells that its system is unlike the log."""


class Likeness:
    """The newest steps of a session, and what was said of them.

    Attributes:
        look_first: whether the next good observation is compared before anything acts.
        accepted: whether the user has accepted that the system is unlike the log.
    """

    def __init__(self, log: Dataset | None, limit: int | None):
        """Begins with no step.

        Args:
            log: the log of the run; None: there is nothing to compare with.
            limit: steps after which an episode of evaluation is cut; None if it is a guess.
        """
        self.look_first, self.accepted = False, False
        self._log, self._limit = log, limit
        self._steps: deque[Step] = deque(maxlen=_KEPT)
        self._units: set[Unit] = set()
        self._count, self._next = 0, _FIRST
        self._told: set[str] = set()

    def look(self, obs: np.ndarray) -> None:
        """Compares the first of these good observations (n, obs), if that was not done.

        Raises:
            InputError: it lies far outside the log.
        """
        if self.look_first and len(obs):
            check_first(obs[0], self._log)
            self.look_first = False

    def add(self, step: Step) -> None:
        """Takes the next step that came out."""
        if step.whole:
            self._steps.append(step)
            self._units.add(step.unit)
            self._count += 1

    def check_new(self, log: Dataset) -> None:
        """Refuses a log to be added whose rows, or some of them, the session has already.

        Looked at are the rows of the run's log and the newest steps of the session, whatever file
        they come from.

        Raises:
            InputError: it has them.
        """
        rows = (log.obs, log.action, log.reward)
        begun = self._log
        own = None if begun is None else (begun.obs, begun.action, begun.reward)
        met = [[getattr(s, key) for s in self._steps] for key in ("obs", "action", "reward")]
        for known, where in (
            (own, "the log of the run"),
            (tuple(map(np.array, met)) if self._steps else None, "what the session has met"),
        ):
            count = 0 if known is None else shared_rows(rows, known)
            if count:
                raise InputError(
                    f"{log.name}: {count:,} of its {log.size:,} rows are in {where} already; they "
                    "would count twice. Give the rows that are new, or, if the plant went the same "
                    'way again, accept=("known-rows",).'
                )

    def compare(self, log: Dataset) -> None:
        """Warns of a log to be added whose columns follow another law than those of the run's."""
        if self._log is None or self.accepted:
            return
        if what := changed_between(self._log, log):
            text = (
                f"{log.name}: compared with the log of the run, {what}: its steps follow another "
                "law, which is the same once that is changed back. If nothing was changed in the "
                "plant, change it back, and add the log to another session."
            )
            warnings.warn(text, UnlikeTheLog, stacklevel=4)

    def tell(self) -> None:
        """Warns of what is unlike the log, if enough steps have come since the last time."""
        if self._count < self._next:
            return
        self._next = self._count + min(self._count, _KEPT)
        for kind, text in self._found().items():
            if kind not in self._told:
                self._told.add(kind)
                warnings.warn(text, UnlikeTheLog, stacklevel=4)

    def _found(self) -> dict[str, str]:
        names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
        met = Transition(*(np.array([getattr(step, n) for step in self._steps]) for n in names))
        alone = len(self._units) == 1  # the steps of several do not follow each other
        found = {}
        if self._log is not None and not self.accepted:
            found = unlike_the_log(met, self._log, self._limit if alone else None)
        if alone and (text := seems_reset(met)):
            found["resets"] = text
        return found
