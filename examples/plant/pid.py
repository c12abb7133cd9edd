"""The old controller: a PID controller as it runs in a PLC, commissioned once, then left alone.

Its constants come from a step test at 55 °C, 20% more steam: 1.3 K for each percent, with a dead
time of 2 minutes and a time constant of 68.

- The gain is that of the SIMC rule (Skogestad 2003, "Simple analytic rules for model reduction and
  PID controller tuning"), 68 / (1.3 (2 + 11)): a closed loop of 11 minutes, slow out of caution.
- The rule then asks for a reset time of 4 (2 + 11) = 52 minutes. After changes of the feed somebody
  found that slow, and made it 12: so the temperature overshoots by some kelvins.
- The rate is half the dead time, as Ziegler and Nichols advise (1942).
"""

import math

import numpy as np
from tank import HIGH_PERCENT, LOW_PERCENT, Readings

GAIN_PERCENT_K = 4.0
RESET_MIN = 12.0
RATE_MIN = 1.0
FILTER = 5.0  # the time constant of the derivative's filter is the rate divided by this


class Pid:
    """The textbook's form, with the sum of the errors in a memory of its own.

    The derivative is that of the temperature, so that a new set point makes no kick. At the ends of
    the range the integral is led back (Åström & Hägglund 1995, "PID Controllers", section 3.5), so
    that it does not wind up. While somebody else moves the valves it follows: see `track`.
    """

    def __init__(
        self,
        gain: float = GAIN_PERCENT_K,
        reset_min: float = RESET_MIN,
        rate_min: float = RATE_MIN,
    ):
        """Tunes it.

        Args:
            gain: in percent for each kelvin.
            reset_min: the integral time.
            rate_min: the derivative time.
        """
        self._gain, self._reset_min, self._rate_min = gain, reset_min, rate_min
        self._tracking_min = max(math.sqrt(reset_min * rate_min), 1.0)
        self._temperature_C: float | None = None  # None: it has not been asked yet
        self._slope, self._integral, self._output = 0.0, 0.0, 0.0

    def act(self, obs: np.ndarray) -> np.ndarray:
        """The output in percent, (1,), for an observation (5,); to be asked once a minute."""
        now = Readings(*(float(value) for value in obs))
        error = now.set_point_C - now.temperature_C
        begins = self._temperature_C is None
        self._slope = 0.0 if begins else self._filtered(now.temperature_C)
        self._temperature_C = now.temperature_C
        rest = self._gain * (error - self._rate_min * self._slope)
        if begins:
            self._integral = now.valve_percent - rest
        self._integral += self._gain * error / self._reset_min
        wanted = rest + self._integral
        self._output = float(np.clip(wanted, LOW_PERCENT, HIGH_PERCENT))
        self._integral += (self._output - wanted) / self._tracking_min
        return np.array([self._output])

    def track(self, obs: np.ndarray, sent: np.ndarray) -> None:
        """Told what was sent in place of its output, so that it can go on from there."""
        del obs
        self._integral += float(sent[0]) - self._output
        self._output = float(sent[0])

    def _filtered(self, temperature_C: float) -> float:
        """The slope of the temperature in kelvins a minute, through the filter."""
        lag_min = self._rate_min / FILTER
        return (lag_min * self._slope + temperature_C - self._temperature_C) / (lag_min + 1.0)
