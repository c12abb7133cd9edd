"""Readings that are numbers, but not measurements of one quantity all along.

Angles that wrap around, one value that stands for a missing one although it is an ordinary value,
and columns that go on in other units. All of it is told by samples of rows.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.mixed_units import mixed_units

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 5_000  # rows, evenly spaced
_FEW = 200  # rows say nothing
_SHOWN = 8
_TURN, _OTHERS = 0.75, 0.35  # of a column's range: a step that wraps around, and the others
_RARELY = 0.1  # of the steps
_LEAST_SHARE, _MOST_SHARE, _TIMES = 0.002, 0.5, 5  # of the rows hold the one value
_OUT_OF_LINE = 2.5  # times the usual step
_PARTS, _IN_PART, _ROWS_OF_PART = 12, 100, 40
_UNITS, _GAP = 20.0, 3.0  # times the spread, times the range


def summarize_readings(log: "Log | Dataset", ends: np.ndarray) -> dict[str, str]:
    """What seems to be no measurement of one quantity, in words; empty texts if all is well.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.

    Returns:
        `wrapped`: observation entries that jump from one end of their range to the other, as angles
        do; `dropped`: those that leave their course for a row and hold one and the same value
        there; `dropped_rewards`: the same of the rewards; `other_units`: entries and rewards that
        from one row on lie elsewhere, or there or in some of the episodes vary much more or less.
    """
    inside = ~ends[:-1]
    rows = np.flatnonzero(inside[1:] & inside[:-1]) + 1
    rows = rows[:: max(1, -(-len(rows) // _SAMPLE))]
    found = {"wrapped": "", "dropped": "", "dropped_rewards": ""}
    found["other_units"] = _other_units(log) or mixed_units(log, ends)
    if len(rows) < _FEW:
        return found
    with np.errstate(invalid="ignore", over="ignore"):
        before, here, after = (log.obs[rows + k].astype(np.float64) for k in (-1, 0, 1))
        finite = np.isfinite(before + here + after).all(axis=0)
        span, step = here.max(axis=0) - here.min(axis=0), np.abs(after - here)
    checked = [d for d in np.flatnonzero(finite).tolist() if span[d] > 0]
    wrapped = [str(d) for d in checked if _wraps(step[:, d], span[d])]
    dropped = [_dropped(d, before[:, d], here[:, d], after[:, d]) for d in checked]
    found["wrapped"] = ", ".join(wrapped[:_SHOWN])
    found["dropped"] = ", ".join([words for words in dropped if words][:_SHOWN])
    found["dropped_rewards"] = _dropped_rewards(log, rows)
    return found


def _dropped_rewards(log: "Log | Dataset", rows: np.ndarray) -> str:
    reward = np.asarray(log.reward)
    if reward.size != len(log.obs):
        return ""  # refused elsewhere
    reward = reward.reshape(-1)
    with np.errstate(invalid="ignore", over="ignore"):
        parts = [reward[rows + k].astype(np.float64) for k in (-1, 0, 1)]
        if not np.isfinite(sum(parts)).all():
            return ""
    return _dropped(0, *parts).removeprefix("0 ").strip("()")


def _wraps(step: np.ndarray, span: float) -> bool:
    """Whether some steps cross nearly all of the range, and are small if they go around."""
    jumps = step > _TURN * span
    if not 3 <= jumps.sum() <= _RARELY * len(step):
        return False
    rest = step[~jumps]
    usual = float(np.quantile(rest, 0.99))
    around = np.abs(step[jumps] - span) <= 3 * usual
    moves = usual <= _OTHERS * span and np.median(rest) > 1e-4 * span
    return bool(moves and around.mean() >= 0.9)


def _dropped(dim: int, before: np.ndarray, here: np.ndarray, after: np.ndarray) -> str:
    values, counts = np.unique(here, return_counts=True)
    most = int(counts.argmax())
    value, count = values[most], int(counts[most])
    shared = _LEAST_SHARE * len(here) <= count <= _MOST_SHARE * len(here)
    others_differ = len(values) - 1 >= 0.9 * (len(here) - count)
    if count < _TIMES or not shared or not others_differ:
        return ""
    at = (here == value) & (before != value) & (after != value)
    if at.sum() < _TIMES:
        return ""
    usual = np.median(np.abs(after - here)[here != value])
    off = np.minimum(np.abs(here - before), np.abs(after - here))[at]
    goes_on = np.abs(after - before)[at]  # at a stop of the plant, it does not
    if np.median(off) <= _OUT_OF_LINE * usual or np.median(goes_on) > np.median(off):
        return ""
    return f"{dim} ({value:.6g} in {count / len(here):.1%} of the rows)"


def _other_units(log: "Log | Dataset") -> str:
    """Columns whose parts before and after some row have nothing to do with each other."""
    size = len(log.obs) // _PARTS
    if size < _ROWS_OF_PART:
        return ""
    picked = np.linspace(0, size - 1, min(size, _IN_PART)).astype(np.int64)
    rows = size * np.arange(_PARTS)[:, None] + picked
    found = []
    reward = np.asarray(log.reward).reshape(len(log.reward), -1)
    for name, values in (("observation", log.obs), ("action", log.action), ("reward", reward)):
        if len(values) != len(log.obs):
            continue  # refused elsewhere
        with np.errstate(invalid="ignore", over="ignore"):
            parts = np.sort(values[rows].astype(np.float64), axis=1)  # (parts, m, dim)
        if not np.isfinite(parts).all():
            continue
        low, high = (parts[:, round(q * (len(picked) - 1))] for q in (0.1, 0.9))
        for dim in range(values.shape[1]):
            part = _break(low[:, dim], high[:, dim])
            if part:
                entry = name if name == "reward" else f"{name} {dim}"
                here = [f"{low[k, dim]:.3g} to {high[k, dim]:.3g}" for k in (part - 1, part)]
                found.append(f"{entry} ({here[0]}, from about row {part * size:,} on {here[1]})")
    return ", ".join(found[:_SHOWN])


def _break(low: np.ndarray, high: np.ndarray) -> int:
    """The part from which on a column lies elsewhere or varies otherwise; 0 if there is none."""
    spread = high - low
    if not (spread > 0).all():
        return 0
    for part in range(2, _PARTS - 1):
        one, other = spread[:part], spread[part:]
        if one.max() * _UNITS < other.min() or other.max() * _UNITS < one.min():
            return part
        lows, highs = (low[:part].min(), low[part:].min()), (high[:part].max(), high[part:].max())
        gap = max(lows[1] - highs[0], lows[0] - highs[1])
        if gap > _GAP * max(highs[0] - lows[0], highs[1] - lows[1]):
            return part
    return 0
