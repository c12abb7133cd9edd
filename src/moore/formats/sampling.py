"""Intervals between the rows of a log: the usual one, and those that no transition may span."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moore.data.intervals import span
from moore.errors import InputError
from moore.numbers import counted


@dataclass(frozen=True)
class TimeUnit:
    """What the times of a column count: units of `tick` seconds, in UTC if they are `zoned`."""

    tick: float
    zoned: bool = False


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals between consecutive rows of one episode.

    `long` and `short` mark the row after an interval that is longer or shorter than the median by
    more than the tolerance times the median.
    """

    usual: float  # seconds, the median
    low: float  # seconds, the shortest and the longest within the tolerance
    high: float
    count: int
    tolerance: float
    seconds: np.ndarray  # (m,) before each row; 0 where none counts
    long: np.ndarray  # (m,) bool
    short: np.ndarray  # (m,) bool

    @property
    def breaks(self) -> np.ndarray:
        return self.long | self.short

    def usual_before(self, time: np.ndarray, tick: float) -> np.ndarray:
        """(m,) bool: rows before which the interval is a usual one, be it between two episodes."""
        off = np.abs(np.diff(time) * tick - self.usual)
        return np.append(False, off <= self.tolerance * self.usual)


def check_increasing(
    time: np.ndarray, inside: np.ndarray, where: Callable[[int], str], *, name: str, column: str
) -> None:
    """Raises InputError at the first row whose time is not after that of the row before it.

    Args:
        time: (m,) times of the rows.
        inside: (m,) bool, whether a row continues the episode of the row before it.
        where: gives the name of a row for the error.
        name: name of the log in the error.
        column: name of the column of the time.
    """
    wrong = inside[1:] & (time[1:] <= time[:-1])
    if wrong.any():
        row = int(wrong.argmax()) + 1
        kind = "the same as" if time[row] == time[row - 1] else "before"
        raise InputError(
            f"{name}: {column} in {where(row)} is {kind} that of the row before it (the first "
            f"of {int(wrong.sum())} such rows); expected times that increase inside an "
            "episode; sort the rows, name the column of the episode, or, where a clock was put "
            "back, give times in UTC"
        )


# Seconds since 1970 of the years 1990 to 2100, in other units, and days since 1900.
_SINCE_1970 = (6.3e8, 4.2e9)
_SPREADSHEET_DAYS = (2e4, 8e4)
_MATLAB_DAYS = (7.2e5, 7.8e5)  # datenum, days since the year 0
# Dates as digits, by their number: 20260131120000 has 14.
_DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_MOST = {"%m": 12, "%d": 31, "%H": 23, "%M": 59, "%S": 59}


def looks_like(time: np.ndarray) -> str:
    """Which unit known times (m,), read as seconds, may have instead; empty if seconds are likely.

    These are milliseconds and shorter since 1970, the days of spreadsheets and of MATLAB's datenum,
    and dates as digits.
    """
    if not len(time):
        return ""
    first, step = abs(float(time[0])), np.diff(time[:1000].astype(np.float64))
    for unit, count in (("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if _SINCE_1970[0] * count <= first < _SINCE_1970[1] * count:
            return f'times look like {unit} since 1970, but are read as s: time_unit = "{unit}"'
    if how := _digits(time[:1000]):
        return f'times look like dates written as digits: time_format = "{how}"'
    small = len(step) and 0 < float(np.median(step)) < 0.5
    for (low, high), who in (
        (_SPREADSHEET_DAYS, "spreadsheets count"),
        (_MATLAB_DAYS, "MATLAB's datenum counts"),
    ):
        if low <= first < high and small:
            return (
                f"if the times are days, as {who} them, they are read wrongly, as s: "
                'time_unit = "day"'
            )
    return ""


def _digits(time: np.ndarray) -> str:
    """The format of numbers (m,) all of which are dates as digits; empty if one is none."""
    whole = np.clip(time, 0, 1e18).astype(np.int64)
    for count, how in _DIGITS.items():
        years = whole // 10 ** (count - 4)
        if (whole != time).any() or (years < 1990).any() or (years > 2100).any():
            continue
        place, good = count - 4, years > 0
        for part in (how[i : i + 2] for i in range(2, len(how), 2)):
            if part != "%f":
                place -= 2
                value = whole // 10**place % 100
                good &= (value <= _MOST[part]) & ((value > 0) | (part not in ("%m", "%d")))
        if good.all():
            return how
    return ""


def measure_intervals(
    time: np.ndarray, adjacent: np.ndarray, *, tick: float, tolerance: float
) -> Intervals | None:
    """The intervals before rows that are `adjacent` (m,) to the row before; None without any."""
    steps = np.zeros(len(time))
    steps[1:] = np.where(adjacent[1:], np.diff(time), 0)
    chosen = steps[adjacent]
    if len(chosen) == 0:
        return None
    usual = float(np.median(chosen))
    long = adjacent & (steps > usual * (1 + tolerance))
    short = adjacent & (steps < usual * (1 - tolerance))
    within = steps[adjacent & ~long & ~short]
    low, high = (within.min(), within.max()) if len(within) else (usual, usual)
    return Intervals(
        usual=usual * tick,
        low=float(low) * tick,
        high=float(high) * tick,
        count=len(chosen),
        tolerance=tolerance,
        seconds=steps * tick,
        long=long,
        short=short,
    )


def describe_intervals(found: Intervals, where: Callable[[int], str]) -> list[str]:
    """Sentences on the usual interval, and on the number and the first of those that differ."""
    spread = ""
    if found.high > found.low * (1 + 1e-6):
        spread = f"; those that count lie between {span(found.low)} and {span(found.high)}"
    notes = [f"a row every {span(found.usual)} (median of {found.count:,} intervals{spread})"]
    share = f"{100 * found.tolerance:g}%"
    for rows, kind, word in (
        (found.long, "longer", "gap"),
        (found.short, "shorter", "short interval"),
    ):
        count = int(rows.sum())
        if count:
            row = int(rows.argmax())
            notes.append(
                f"{counted(count, word)}, more than {share} {kind} than that: "
                f"the first is {span(found.seconds[row])}, before {where(row)}; no transition "
                "spans one, the episode ends there (truncated)"
            )
    odd = int(found.breaks.sum())
    if odd > 0.2 * found.count:
        notes.append(
            f"{100 * odd / found.count:.0f}% of the intervals are irregular, so that most of the "
            "log may be lost: resample it to a fixed interval, or give another gap_tolerance"
        )
    return notes


def window_numbers(
    time: np.ndarray, starts: np.ndarray, *, tick: float, seconds: float
) -> np.ndarray:
    """(m,) the number of each row's window, counted from the last row that `starts` an episode."""
    first = np.flatnonzero(starts)
    begun = np.repeat(time[first], np.diff(np.append(first, len(time))))
    return np.floor((time - begun) * tick / seconds + 1e-9).astype(np.int64)
