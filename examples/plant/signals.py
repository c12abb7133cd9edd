"""The signals that the guard watches: numbers that are small as long as all is well."""

import numpy as np
from tank import Readings

SETTLED_MIN = 25  # after a new set point the temperature should be near it
OPEN_PERCENT, OPEN_MIN = 20.0, 5  # once a valve has been open so far for so long


class Settling:
    """How far a temperature is from its set point, once it should have settled."""

    def __init__(self) -> None:
        self._set_point_C, self._minutes = np.nan, 0

    def deviation_K(self, before: Readings, after: Readings) -> float:
        """After a minute; 0 as long as the set point is new."""
        is_new = before.set_point_C != self._set_point_C
        self._minutes = 0 if is_new else self._minutes + 1
        self._set_point_C = before.set_point_C
        return abs(after.temperature_C - before.set_point_C) * (self._minutes >= SETTLED_MIN)


class JacketSensor:
    """Whether the jacket's sensor can be right: steam makes the jacket hotter than the tank."""

    def __init__(self) -> None:
        self._side, self._minutes = 0, 0

    def wrong_side_K(self, after: Readings) -> float:
        """How far the jacket is on the wrong side of the tank's temperature, after a minute."""
        side = int(after.valve_percent > OPEN_PERCENT) - int(after.valve_percent < -OPEN_PERCENT)
        self._minutes = self._minutes + 1 if side == self._side else 1
        self._side = side
        wrong_K = side * (after.temperature_C - after.jacket_C)
        return max(wrong_K, 0.0) * (self._minutes >= OPEN_MIN)


class Watch:
    """Both, as the session is told of them."""

    def __init__(self) -> None:
        self._settling, self._sensor = Settling(), JacketSensor()

    def after(self, before: Readings, after: Readings) -> dict[str, float]:
        """The signals after a minute, {name: kelvins}."""
        return {
            "deviation_K": self._settling.deviation_K(before, after),
            "jacket_K": self._sensor.wrong_side_K(after),
        }
