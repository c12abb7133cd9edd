"""The clock of a session: seconds that never go back, also over the end of a process."""

import time
from collections.abc import Callable

from moore.errors import InputError
from moore.numbers import is_finite


def _wall() -> Callable[[], float]:
    """Seconds since 1970 as they were at the beginning, then those of a clock nobody sets."""
    began, ticks = time.time(), time.monotonic()
    return lambda: began + time.monotonic() - ticks


class SessionClock:
    """Reads somebody's clock; while that one stands before the last reading, time stands still.

    A clock that begins anew with a process goes on from the last reading in the log.
    """

    def __init__(self, source: Callable[[], float] | None = None):
        """`source`: returns seconds; by default the computer's clock, as a steady one."""
        self._source = source or _wall()
        self._ahead, self._last = 0.0, float("-inf")

    def __call__(self) -> float:
        self.passed(self._read() + self._ahead)
        return self._last

    def passed(self, reading: float) -> None:
        """Told a reading of the log."""
        self._last = max(self._last, reading)

    def go_on(self) -> None:
        """The log was read: the clock goes on from its last reading, if it stands before that."""
        self._ahead = max(self._last - self._read(), 0.0)

    def _read(self) -> float:
        """Raises InputError if the clock gives no time."""
        reading = self._source()
        if not is_finite(reading):
            raise InputError(f"the session's clock gave {reading!r}; expected seconds, a number.")
        return float(reading)
