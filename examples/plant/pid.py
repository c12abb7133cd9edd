"""The old controller: a PID controller as it runs in a PLC, commissioned once, then left alone."""

import numpy as np
from tank import HIGH_PERCENT, LOW_PERCENT, Readings

GAIN_PERCENT_K = 4.0  # too low: commissioned carefully
RESET_MIN = 12.0
RATE_MIN = 0.5
FILTER = 5.0  # the derivative is filtered with the rate's fifth part, as is usual


class Pid:
    """The velocity form: each minute it moves the valves on from where they are.

    So it needs no tracking. Whoever else has moved them, it goes on from there, and it cannot wind
    up. The derivative is that of the measurement, so that a new set point makes no kick.
    """

    def __init__(
        self,
        gain: float = GAIN_PERCENT_K,
        reset_min: float = RESET_MIN,
        rate_min: float = RATE_MIN,
    ):
        """`gain` in percent for each kelvin, `reset_min` the integral time, `rate_min` the
        derivative time."""
        self._gain, self._reset_min, self._rate_min = gain, reset_min, rate_min
        self._error, self._temperature_C, self._slope = None, None, 0.0

    def act(self, obs: np.ndarray) -> np.ndarray:
        """The output in percent, (1,), for an observation (5,)."""
        now = Readings(*(float(value) for value in obs))
        error = now.set_point_C - now.temperature_C
        before = error if self._error is None else self._error
        turned = self._bend(now.temperature_C)
        self._error = error
        change = self._gain * (error - before + error / self._reset_min - self._rate_min * turned)
        return np.clip([now.valve_percent + change], LOW_PERCENT, HIGH_PERCENT)

    def _bend(self, temperature_C: float) -> float:
        """How much the filtered slope of the temperature has changed, in kelvins a minute."""
        if self._temperature_C is None:
            self._temperature_C = temperature_C
        slope, rise = self._slope, temperature_C - self._temperature_C
        keeps = (lag := self._rate_min / FILTER) / (lag + 1.0)
        self._slope = keeps * slope + (1.0 - keeps) * rise
        self._temperature_C = temperature_C
        return self._slope - slope
