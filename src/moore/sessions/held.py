"""The last good action of every unit, which is sent again while the readings are bad."""

import numpy as np
from jaxtyping import Bool, Float

from moore.envs.bounds import Bounds
from moore.errors import TurnError
from moore.formats.live_steps import Unit


class Held:
    """Last good actions, and how many bad readings came in a row."""

    def __init__(self, bounds: Bounds, most: int):
        """`most`: more bad readings of a unit in a row than this raise InputError."""
        self._bounds, self._most = bounds, most
        self._actions: dict[Unit, np.ndarray] = {}
        self._bad: dict[Unit, int] = {}

    def actions(self, units: list[Unit]) -> Float[np.ndarray, "rows action"]:
        """The last good action of each unit; the middle of the bounds if there was none."""
        middle = self._bounds.middle
        return np.array([self._actions.get(unit, middle) for unit in units])

    def keep(self, unit: Unit, action: Float[np.ndarray, " action"]) -> None:
        """A good action was sent."""
        self._actions[unit] = action

    def end_episode(self, unit: Unit) -> None:
        """The next episode of a unit does not begin with an action of this one."""
        self._actions.pop(unit, None)

    def count(self, units: list[Unit], good: Bool[np.ndarray, " rows"]) -> None:
        """Counts readings.

        Raises:
            TurnError: too many bad ones in a row, so the sensor is taken to be broken.
        """
        for unit, fine in zip(units, good, strict=True):
            self._bad[unit] = 0 if fine else self._bad.get(unit, 0) + 1
            if self._bad[unit] > self._most:
                raise TurnError(
                    f"unit {unit!r} has given {self._bad[unit]} readings in a row that are not "
                    "finite, so there is no action for it; look at its sensors. The next good "
                    "reading is acted on again."
                )
