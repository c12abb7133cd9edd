"""Columns that are in other units in some episodes, or in some stretches of a log.

A column in other units is the same course many times as large. So the parts of a log fall into two
kinds, in one of which the column varies much more, and its steps are as much larger as its range. A
thing that moves in some episodes only, or a part where little happens, does not look like that.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_PARTS, _STRETCHES = 40, 24  # episodes, evenly chosen, or stretches of the log
_ROWS = 20  # of a part say little
_IN_PART = 40  # rows
_FEW = 3  # parts of either kind say nothing
_GAP = 15.0  # times, with no part between
_ALIKE = 3.0  # times: what the steps of a part are of its range
_SHOWN = 8


def mixed_units(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Columns that vary many times as much in some parts of a log as in others, in words.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    starts, rows, what = _parts(len(log.obs), ends)
    if not len(starts):
        return ""
    found = []
    reward = np.asarray(log.reward).reshape(len(log.reward), -1)
    for name, values in (("observation", log.obs), ("action", log.action), ("reward", reward)):
        if len(values) != len(log.obs):
            continue  # refused elsewhere
        span, step, size = _measured(values[starts[:, None] + np.arange(rows)])
        for dim in range(values.shape[1]):
            if many := _kinds(span[:, dim], step[:, dim], size[:, dim]):
                entry = name if name == "reward" else f"{name} {dim}"
                found.append(f"{entry} ({many[0]:.0f} times as much in {many[1]} of "
                             f"{len(starts)} {what} as in the others)")  # fmt: skip
    return ", ".join(found[:_SHOWN])


def _parts(size: int, ends: np.ndarray) -> tuple[np.ndarray, int, str]:
    """First rows (parts,) and number of rows to look at of each part, and what the parts are."""
    last = np.flatnonzero(ends)
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)]
    lengths = last - first + 1
    first, lengths = first[lengths >= _ROWS], lengths[lengths >= _ROWS]
    what = "episodes"
    if len(first) < 2 * _FEW:
        length, what = size // _STRETCHES, "stretches"
        if length < _ROWS:
            return first[:0], 0, what
        first, lengths = length * np.arange(_STRETCHES), np.full(_STRETCHES, length)
    chosen = np.unique(np.linspace(0, len(first) - 1, min(len(first), _PARTS)).astype(int))
    rows = min(_IN_PART, int(lengths[chosen].min()))
    return first[chosen] + (lengths[chosen] - rows) // 2, rows, what


def _measured(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(parts, dims) range of most values, usual step and large size, of (parts, rows, dims)."""
    rows = parts.shape[1]
    few = rows // 10
    with np.errstate(invalid="ignore", over="ignore"):
        parts = parts.astype(np.float64)
        step = np.partition(np.abs(np.diff(parts, axis=1)), rows // 2, axis=1)[:, rows // 2]
        ordered = np.sort(parts, axis=1)
        low, high = ordered[:, few], ordered[:, -1 - few]
        return high - low, step, np.maximum(np.abs(low), np.abs(high))


def _kinds(span: np.ndarray, step: np.ndarray, size: np.ndarray) -> tuple[float, int] | None:
    """How many times as much the column varies in parts of one kind, and how many these are."""
    if not (np.isfinite(span + step + size).all() and (np.minimum(step, span) > 0).all()):
        return None
    order = np.argsort(span)
    gaps = span[order[1:]] / span[order[:-1]]
    at = int(gaps.argmax()) + 1
    small, large = order[:at], order[at:]
    if gaps[at - 1] < _GAP or min(len(small), len(large)) < _FEW:
        return None
    rough = step / span
    ratio = np.median(rough[large]) / np.median(rough[small])
    times = np.median(span[large]) / np.median(span[small])
    larger = np.median(size[large]) / np.median(size[small])
    if not 1 / _ALIKE < ratio < _ALIKE or not 1 / _ALIKE < larger / times < _ALIKE:
        return None
    few = small if len(small) < len(large) else large
    return (times if few is large else 1 / times), len(few)
