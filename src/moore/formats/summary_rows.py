"""Rows below a table's own that sum them up: the means or sums of all columns, without a label."""

import warnings
from collections.abc import Sequence

import numpy as np

from moore.data.checks import blocks

_MOST = 8  # rows, as pandas' describe() writes
_SAMPLE = 10_000  # rows whose deviation is taken
_FEW_ROWS, _FEW_COLUMNS = 20, 3
_MEAN = 1e-3  # standard deviations by which a mean may be rounded
_ROUGHLY = 0.2  # of them, of the rows that are looked at first
_SUM = 1e-4  # of a sum
_BEFORE = 20.0  # times as far off the row before must be: a plant may rest at its mean


def summary_row(parts: Sequence[np.ndarray]) -> tuple[int, str] | None:
    """The row below which one holds the mean or the sum of every column above, and which of them.

    Args:
        parts: (n, k) numbers each; columns that never change tell nothing. Rows with values that
            are not finite are none.
    """
    count = len(parts[0]) - _MOST
    if count < _FEW_ROWS:
        return None
    tail = np.column_stack([part[-_MOST - 1 :] for part in parts]).astype(np.float64)
    if not np.isfinite(tail[-1]).all():
        return None
    rough, spread = _of_sample([part[:count] for part in parts])
    varies = spread > 1e-9 * np.abs(rough)
    if varies.sum() < _FEW_COLUMNS or not _may_sum_up(tail[1:], rough, spread, varies):
        return None
    mean = np.concatenate([_mean(part[:count]) for part in parts])
    sums, tail = (mean * count)[varies], tail[:, varies]
    for above in range(_MOST):
        rows = count + above
        total = sums + tail[1 : above + 1].sum(axis=0)
        for at in range(above, _MOST):
            row, before = tail[at + 1], tail[above]
            reach = _MEAN * spread[varies]
            near = np.abs(row - total / rows) <= reach
            apart = (np.abs(before - total / rows) > _BEFORE * reach).any()
            if near.all() and apart:
                return rows, "means"
            large = np.abs(total) > _BEFORE * (np.abs(mean) + spread)[varies]
            if large.all() and (np.abs(row - total) <= _SUM * np.abs(total)).all():
                return rows, "sums"
    return None


def _of_sample(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (k,) of what is there in some of the rows."""
    some = [part[:: -(-len(part) // _SAMPLE)].astype(np.float64) for part in parts]
    values = np.column_stack(some)
    values[~np.isfinite(values)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a column without a value
        return np.nanmean(values, axis=0), np.nanstd(values, axis=0)


def _may_sum_up(tail: np.ndarray, mean: np.ndarray, spread: np.ndarray, varies: np.ndarray) -> bool:
    """Whether a row is roughly a mean, or large enough for a sum, in every column that varies."""
    near = np.abs(tail - mean) <= _ROUGHLY * spread
    large = np.abs(tail) > _BEFORE / 2 * (np.abs(mean) + spread)
    return bool((near[:, varies].all(axis=1) | large[:, varies].all(axis=1)).any())


def _mean(part: np.ndarray) -> np.ndarray:
    """The mean (k,) of what is there in all rows, a block at a time."""
    total, there = np.zeros(part.shape[1]), np.zeros(part.shape[1])
    for rows in blocks(len(part), 16 * part[:1].size):
        known = np.isfinite(part[rows])
        total += np.where(known, part[rows], 0.0).sum(axis=0, dtype=np.float64)
        there += known.sum(axis=0)
    return total / np.maximum(there, 1)
