"""A user's own signals: a limit on a sensor or on how fast it changes, and how often it may break.

With `allowed` 0 the first violation is an alarm. Otherwise the share of blocks with a violation is
tested by `betting`: if every block's probability of a violation, given all blocks before it, is at
most `allowed`, an alarm ever comes with the stated error probability at most.

Neighbouring readings resemble each other: a temperature that is too high stays so for a while. Then
single steps break the assumption, and steps must be judged in blocks that are longer than such a
while.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from moore.errors import InputError
from moore.guarding.betting import Detector, first_detector
from moore.numbers import check_numbers, check_whole


@dataclass(frozen=True)
class Limit:
    """What a signal may do.

    Attributes:
        name: name of the signal, for alarms.
        low: lower limit of its value.
        high: upper limit of its value.
        rate: largest change in one second.
        allowed: share of blocks in which it may break a limit; 0 allows no violation at all.
        block: number of readings that are judged as one; more than one only makes a difference
            where `allowed` is above 0.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf
    rate: float = math.inf
    allowed: float = 0.0
    block: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"the name of a signal is {self.name!r}; expected a text.")
        of = f"signal {self.name}"
        check_numbers(of, low=self.low, high=self.high, rate=self.rate, allowed=self.allowed)
        check_whole(of, block=self.block)
        if not self.low <= self.high:
            raise InputError(
                f"signal {self.name} has the limits {self.low} and {self.high}; expected the lower "
                "one first."
            )
        if not self.rate > 0.0:
            raise InputError(f"signal {self.name} has rate {self.rate}; expected more than 0.")
        if not 0.0 <= self.allowed < 1.0:
            raise InputError(
                f"signal {self.name} has allowed {self.allowed}; expected a share from 0 to 1."
            )
        if self.block < 1:
            raise InputError(f"signal {self.name} has block {self.block}; expected 1 or more.")


@dataclass(frozen=True, eq=False)
class Signal:
    """The state of a watched signal.

    Attributes:
        limit: what the signal may do.
        last: last reading; None before the first one.
        at: its time in seconds; None before the first one.
        readings: number of readings in the running block.
        broken: what was broken in the running block; empty: nothing.
        detector: money won from "violations are not more frequent than allowed".
        calm: for how many readings it has kept its limits, whoever acted. A violation that is never
            allowed sets this to 0; one that is allowed at times takes away 1 / allowed readings, so
            that it grows only if violations are rarer than that.
    """

    limit: Limit
    last: float | None
    at: float
    readings: int
    broken: str
    detector: Detector
    calm: float = 0.0

    def after(self, value: float, now: float) -> "Signal":
        """The state after a reading.

        Args:
            value: the reading; one that is not a finite number breaks the limit.
            now: time in seconds, on a clock that never goes back.
        """
        found = _broken(self, value, now)
        broken = self.broken or found
        readings, detector = self.readings + 1, self.detector
        if readings == self.limit.block and self.limit.allowed > 0.0:
            detector = detector.after(0.0 if broken else 1.0)
        ended = readings == self.limit.block
        last = value if math.isfinite(value) else None
        calm = self._calm_after(found)
        return Signal(self.limit, last, now, 0 if ended else readings, broken, detector, calm)

    def beside(self, value: float, now: float) -> "Signal":
        """The state after a reading that is held against nobody; see `after`."""
        last = value if math.isfinite(value) else None
        calm = self._calm_after(_broken(self, value, now))
        return replace(self, last=last, at=now, calm=calm)

    def begun_anew(self) -> "Signal":
        """The state at the beginning of a new test."""
        return replace(first_signal(self.limit), last=self.last, at=self.at, calm=self.calm)

    def _calm_after(self, broken: str) -> float:
        if not broken:
            return self.calm + 1.0
        allowed = self.limit.allowed
        return 0.0 if allowed == 0.0 else max(self.calm + 1.0 - 1.0 / allowed, 0.0)

    def begun(self) -> "Signal":
        """The state with a clean sheet if a block has just ended."""
        return self if self.readings else replace(self, broken="")

    def evidence(self) -> float:
        """Alarm when this reaches 1/error; infinite after a violation that is never allowed."""
        if self.limit.allowed == 0.0:
            return math.inf if self.broken else 0.0
        return float(self.detector.total[..., 0])


def first_signal(limit: Limit) -> Signal:
    """A signal before its first reading."""
    return Signal(limit, None, 0.0, 0, "", first_detector(np.array([1.0 - limit.allowed])))


def _broken(signal: Signal, value: float, now: float) -> str:
    limit = signal.limit
    if not math.isfinite(value):
        return "is not a finite number"
    if value < limit.low:
        return f"is {value:.6g}, below {limit.low:.6g}"
    if value > limit.high:
        return f"is {value:.6g}, above {limit.high:.6g}"
    if signal.last is not None and abs(value - signal.last) > limit.rate * (now - signal.at):
        took = now - signal.at
        return f"went from {signal.last:.6g} to {value:.6g} in {took:.3g} s"
    return ""
