"""Whether stored next states belong to other rows, are in other units, or are no states at all.

Where rows were left out, a next state is that of no row, and right. Where it is, again and again,
that of a certain other row, or follows exactly from the next row's observation without being it,
the models would learn another system.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.data.order import foretold

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 2000  # rows, evenly spaced
_FEW = 20  # rows say nothing
_FEW_TO_FIT = 200  # say nothing of what a row foretells
_MOST = 0.9  # of the rows
_LAGS = (2, -1, 3, 4, 5, 6, 7, 8, -2)  # rows after the row itself
_EXACT = 1e-3  # of the standard deviation, of a linear relation
_OTHER = 0.01  # slopes or, in standard deviations, offsets that differ from 1 and 0


def what_is_misplaced(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Says what most next states inside episodes are, if they are wrong; else it is empty.

    It is also empty if no successors are stored, if most are the next row's observation, and for
    fewer than 20 rows inside episodes.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    if log.next_obs is None:
        return ""
    inside = ~ends[:-1]
    if log.successor_known is not None:
        inside &= log.successor_known[:-1].astype(bool, copy=False)
    rows = np.flatnonzero(inside)
    rows = rows[:: max(1, -(-len(rows) // _SAMPLE))]
    if len(rows) < _FEW:
        return ""
    stored = _rounded(log.next_obs[rows])
    following, own = _rounded(log.obs[rows + 1]), _rounded(log.obs[rows])
    if _agree(stored, following) >= 1 - _MOST or _agree(stored, own) >= _MOST:
        return ""
    if not all(np.isfinite(part).all() for part in (stored, following, own)):
        return ""
    place = _place(log, ends, rows, stored)
    if place:
        return place
    stored, following, own = (part.astype(np.float64) for part in (stored, following, own))
    action = log.action[rows].astype(np.float64)
    return _form(stored, following, own) or _nothing(stored, own, action)


def _agree(one: np.ndarray, other: np.ndarray) -> float:
    """The share of rows that are the same."""
    return float((one == other).all(axis=1).mean())


def _rounded(values: np.ndarray) -> np.ndarray:
    """As float32, in which what is too large is infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _place(log: "Log | Dataset", ends: np.ndarray, rows: np.ndarray, stored: np.ndarray) -> str:
    """The row of the same episode whose observation they are."""
    episode = np.append(0, np.cumsum(ends[:-1]))
    for lag in _LAGS:
        there = rows + lag
        same = (there >= 0) & (there < len(ends))
        same[same] = episode[there[same]] == episode[rows[same]]
        if same.sum() < _FEW:
            continue
        if _agree(stored[same], _rounded(log.obs[there[same]])) >= _MOST:
            if lag > 0:
                return f"the obs {lag} rows later"
            before = "of the row before" if lag == -1 else f"{-lag} rows before"
            return f"the obs {before}, as if the log ran backwards"
    return ""


def _form(stored: np.ndarray, following: np.ndarray, own: np.ndarray) -> str:
    """What was made of the next row's observation."""
    moving = following.std(axis=0) > 0
    change = following - own
    near = np.abs(stored - change) <= _EXACT * following.std(axis=0) + 1e-6 * np.abs(following)
    if near.all(axis=1).mean() >= _MOST:
        return "the change to the next row's obs"
    if _permuted(stored, following, moving):
        return "the next row's obs with its entries in another order"
    if not moving.any():
        return ""
    columns = [_line(x, y) for x, y in zip(following[:, moving].T, stored[:, moving].T,
                                           strict=True)]  # fmt: skip
    linear, other = zip(*columns, strict=True)
    return "the next row's obs in other units" if all(linear) and any(other) else ""


def _line(x: np.ndarray, y: np.ndarray) -> tuple[bool, bool]:
    """Whether most y (m,) lie on a line over x (m,), and whether it is another one than y = x."""
    kept = np.ones(len(x), bool)
    for _ in range(5):  # without the rows that follow no line, such as ends that are not flagged
        spread, centre, middle = x[kept].std(), x[kept].mean(), y[kept].mean()
        if not spread > 0:
            return False, False
        slope = float(((x[kept] - centre) * y[kept]).mean() / spread**2)
        left = np.abs(y - middle - slope * (x - centre))
        kept = left <= np.quantile(left, _MOST)
    linear = left[kept].max() <= 3 * _EXACT * abs(slope) * spread
    other = abs(slope - 1) > _OTHER or abs(middle - centre) > _OTHER * spread
    return bool(linear), bool(other)


def _permuted(stored: np.ndarray, following: np.ndarray, moving: np.ndarray) -> bool:
    """Whether each moving entry is one of the next row's observation, some of them another one."""
    at = np.linspace(0, len(stored) - 1, 200).astype(int)
    dims = np.flatnonzero(moving)
    shares = np.array([(stored[at, dim, None] == following[at]).mean(axis=0) for dim in dims])
    if not len(dims) or (shares.max(axis=1) < _MOST).any():
        return False
    return bool((shares[np.arange(len(dims)), dims] < _MOST).any())


def _nothing(stored: np.ndarray, own: np.ndarray, action: np.ndarray) -> str:
    """Whether neither observation nor action tells anything of them."""
    moving = stored.std(axis=0) > 0
    if len(stored) < _FEW_TO_FIT or not moving.any():
        return ""
    if foretold(np.column_stack([own, action]), stored[:, moving]):
        return ""
    return "something that the row's obs and action do not foretell at all"
