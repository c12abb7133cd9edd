"""Compares what a session has met with the log, and warns where they are unlike: once of a kind."""

import warnings
from collections import deque
from collections.abc import Sequence

import numpy as np

from moore.data.column_names import columns_of
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.findings.duplicates import shared_rows
from moore.findings.two_logs import changed_between
from moore.formats.live_steps import Step, Unit
from moore.replay.buffer import Transition
from moore.runs.hand_over import check_first
from moore.runs.met import seems_reset, unlike_the_log

_KEPT = 5000  # newest steps
_KEYS = ("obs", "action", "reward")
_FIRST = 100  # steps; then twice as many each time, and in the end every `_KEPT`


class UnlikeTheLog(UserWarning):
    """The warning by which a session tells that its system is unlike the log."""


class Likeness:
    """The newest steps of a session, and what was said of them.

    Attributes:
        look_first: whether the next good observation is compared before anything acts.
        accepted: whether the user has accepted that the system is unlike the log.
        columns: names and units of the log's columns, where it has them.
    """

    def __init__(self, log: Dataset | None, limit: int | None):
        """Begins with no step.

        Args:
            log: the log of the run; None: there is nothing to compare with.
            limit: steps after which an episode of evaluation is cut; None if it is a guess.
        """
        self.look_first, self.accepted = False, False
        self.columns = columns_of(log)
        self._log, self._limit = log, limit
        self._steps: deque[Step] = deque(maxlen=_KEPT)
        self._hashes: deque[int] = deque(maxlen=_KEPT)  # of their observations
        self._hashed: set[int] = set()
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
            if len(self._hashes) == _KEPT:
                self._hashed.discard(self._hashes[0])
            self._hashes.append(hash(step.obs.tobytes()))
            self._hashed.add(self._hashes[-1])
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
        for known, where in (
            (own, "the log of the run"),
            (self._met(), "what the session has met"),
        ):
            count = shared_rows(rows, known) if known else 0
            if count:
                raise InputError(
                    f"{log.name}: {count:,} of its {log.size:,} rows are in {where} already; they "
                    "would count twice. Give the rows that are new, or, if the plant went the same "
                    'way again, accept=("known-rows",).'
                )

    def _met(self) -> tuple[np.ndarray, ...]:
        """Observations, actions and rewards of the newest steps; empty if there are none."""
        if not self._steps:
            return ()
        return tuple(np.array([getattr(s, key) for s in self._steps]) for key in _KEYS)

    def tell_known(self, records: Sequence[dict]) -> None:
        """Warns, once, of an episode all of whose rows the session has already."""
        first = np.array(records[0]["obs"], np.float32)  # looked up, since all rows take long
        new = hash(first.tobytes()) not in self._hashed
        if new or "known" in self._told or self.accepted:
            return
        told = [records[i::2] for i in (0, 1)]  # actions, and what came of them
        rows = [np.array([_numbers(one[key]) for one in told[key == "reward"]]) for key in _KEYS]
        if shared_rows(rows, self._met()) == len(told[0]):
            self._told.add("known")
            text = (
                f"all {len(told[0])} rows of this episode are in what the session has met already, "
                "and count twice. If it was told twice, tell each episode once; if the plant went "
                "the same way again, nothing is wrong."
            )
            warnings.warn(text, UnlikeTheLog, stacklevel=4)

    def compare(self, log: Dataset) -> None:
        """Warns of a log to be added that is otherwise than that of the run; see `two_logs`."""
        if self._log is None or self.accepted:
            return
        if what := changed_between(self._log, log):
            text = (
                f"{log.name}: compared with the log of the run, {what}. If nothing was changed in "
                "the plant, change it back, and add the log to another session."
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


def _numbers(told: object) -> np.ndarray:
    """What a record holds; what was not measured is NaN."""
    return np.array(np.nan if isinstance(told, str) else told, float)
