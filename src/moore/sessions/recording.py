"""The journal of a session, and what it lacks because the disk refused.

An action that could not be recorded is not learned from, and nothing that is told later may be
taken for its outcome: a gap goes before the next record that the disk takes.
"""

import warnings

import numpy as np

from moore.errors import TurnError, WriteError
from moore.formats.live_steps import Step, Steps, Unit
from moore.sessions.journal import Journal


class NotRecorded(UserWarning):
    """The warning by which a session tells that actions are not recorded, and when they are again.

    Where a controller that ran before stands by, that one acts meanwhile.
    """


class Recording:
    """Writes records, and knows which actions are missing.

    Attributes:
        trouble: why the newest records could not be written, as a sentence; empty: they were.
    """

    def __init__(self, journal: Journal):
        self._journal, self.trouble = journal, ""
        self._gaps: set[Unit] = set()  # units of which a gap has to be written first
        self._unrecorded: set[Unit] = set()  # units whose newest action is missing
        self._count, self._told = 0, False

    def write(self, records: list[dict]) -> list[dict]:
        """Appends the records, and gaps before them where actions are missing: all or nothing.

        Returns:
            What was written.

        Raises:
            WriteError: the disk refuses.
        """
        gaps = [{"kind": "gap", "unit": unit} for unit in sorted(self._gaps, key=str)]
        try:
            self._journal.write([*gaps, *records])
        except WriteError as error:
            self.trouble = str(error)
            raise
        self._gaps.clear()
        self._unrecorded -= {record["unit"] for record in records if record["kind"] == "act"}
        self.trouble = ""
        return [*gaps, *records]

    def miss(self, units: list[Unit]) -> None:
        """An action of each of these units was given, or asked for, that is not recorded."""
        self._gaps.update(units)
        self._unrecorded.update(units)
        self._count += len(units)

    def tell(self) -> None:
        """Warns once when recording has ended, and once when it goes on."""
        if self.trouble and not self._told:
            self._told = True
            warnings.warn(
                f"{self.trouble} The old controller acts until then.", NotRecorded, stacklevel=3
            )
        elif self._told and not self.trouble:
            lacking, self._count, self._told = self._count, 0, False
            text = f"steps are recorded again; {lacking} actions are missing in the log."
            warnings.warn(text, NotRecorded, stacklevel=3)

    def running(self, steps: Steps, unit: Unit, *, beside: bool) -> Step:
        """The unit's step whose outcome is open.

        Args:
            steps: all open steps.
            unit: id of the unit.
            beside: whether an old controller stands by; then number 0 stands for a step that is
                not recorded.

        Raises:
            TurnError: there is none.
        """
        if unit in self._unrecorded:
            if beside:
                nothing = np.zeros(0, np.float32)
                return Step(0, unit, nothing, nothing)
            raise TurnError(
                f"the newest action of unit {unit!r} was not recorded, because the disk refused, "
                "so nothing can be learned from its outcome; go on with act()."
            )
        step = steps.newest(unit)
        if step is None or step.seen or step.lost:
            raise TurnError(
                f"unit {unit!r} has no action whose outcome is open; call act() first, and "
                "observe() once after it."
            )
        return step
