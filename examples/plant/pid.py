"""The old controller: a PI controller as it runs in a PLC, commissioned once, then left alone."""

import numpy as np
from tank import HIGH_PERCENT, LOW_PERCENT, Readings

GAIN_PERCENT_K = 4.0  # too low: commissioned carefully
RESET_MIN = 12.0


class Pid:
    """The velocity form: each minute it moves the valves on from where they are.

    So it needs no tracking. Whoever else has moved them, it goes on from there, and it cannot wind
    up.
    """

    def __init__(self, gain: float = GAIN_PERCENT_K, reset_min: float = RESET_MIN):
        """`gain` in percent for each kelvin, `reset_min` the integral time."""
        self._gain, self._reset_min, self._error = gain, reset_min, None

    def act(self, obs: np.ndarray) -> np.ndarray:
        """The output in percent, (1,), for an observation (5,)."""
        now = Readings(*(float(value) for value in obs))
        error = now.set_point_C - now.temperature_C
        before = error if self._error is None else self._error
        self._error = error
        change = self._gain * (error - before + error / self._reset_min)
        return np.clip([now.valve_percent + change], LOW_PERCENT, HIGH_PERCENT)
