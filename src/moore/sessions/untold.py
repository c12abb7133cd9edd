"""What happened beside a policy and nobody was told of yet: alarms, and actions that are held.

A plant may run for days on a controller that does not answer any more: its last action is held, and
the log says so. So it is also a warning, when it begins and when it ends.
"""

import warnings
from dataclasses import dataclass

from moore.formats.live_steps import Step, Unit
from moore.guarding.guard import GuardAlarm


class NoUsableAction(UserWarning):
    """The warning by which a session tells that no usable action came, and when one comes again.

    It comes from the controller that ran before, or from the projection of the interlocks.
    """


@dataclass
class _Spell:
    """Actions of a unit that were held one after the other.

    Attributes:
        count: how many spells there were.
        steps: steps of the running one; 0: there is none.
    """

    count: int = 0
    steps: int = 0

    @property
    def is_told(self) -> bool:
        """Spells 1, 2, 4, 8, ... are told, so that what comes and goes fills no console."""
        return self.count & (self.count - 1) == 0


class Untold:
    """Collects what is to be told, and tells it as warnings."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._told: list[tuple[type[Warning], str]] = []
        self._spells: dict[Unit, _Spell] = {}
        self._outside: set[Unit] = set()

    def alarm(self, step: Step, text: str) -> None:
        """The guard has alarmed after this step."""
        self._told.append((GuardAlarm, f"{_where(step)}: {text}"))

    def acted(self, step: Step, decision: dict) -> None:
        """An action was sent; the decision says what was wrong with what others wanted, if it was.

        A step whose observation is not finite tells nothing: nobody was asked.
        """
        if decision["old"] is None:
            return
        spell = self._spells.setdefault(step.unit, _Spell())
        held = decision.get("unusable", "")  # not in the logs of earlier versions
        if held and not spell.steps:
            spell.count += 1
            self._tell_held(step, held, spell)
        elif spell.steps and not held and spell.is_told:
            text = f"a usable action came again, after {spell.steps} steps without one."
            self._told.append((NoUsableAction, f"{_where(step)}: {text}"))
        spell.steps = spell.steps + 1 if held else 0
        if decision["fault"] and not held and step.unit not in self._outside:
            self._outside.add(step.unit)
            more = "If it is made for these units and bounds, nothing is wrong; this is told once."
            self._told.append((NoUsableAction, f"{_where(step)}: {decision['fault']} {more}"))

    def _tell_held(self, step: Step, text: str, spell: _Spell) -> None:
        if spell.is_told:
            more = "The next warning comes when there is a usable action again."
            if spell.count > 1:
                more = f"This has begun {spell.count} times. {more}"
            self._told.append((NoUsableAction, f"{_where(step)}: {text} {more}"))

    def track_failed(self, error: Exception) -> None:
        """The old controller could not be told what was sent; this is told at once."""
        warnings.warn(f"the controller's track failed ({error}).", stacklevel=3)

    def tell(self) -> None:
        """Warns of everything that nobody was told of."""
        told, self._told = self._told, []
        for kind, text in told:
            warnings.warn(text, kind, stacklevel=3)


def _where(step: Step) -> str:
    return f"unit {step.unit!r}" + (f", step {step.number}" if step.number else "")
