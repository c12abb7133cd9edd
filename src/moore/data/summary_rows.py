"""Rows below a table's own that sum them up: the means or sums of all columns, without a label."""

from collections.abc import Sequence

import numpy as np

_MOST = 8  # rows, as pandas' describe() writes
_FEW_ROWS, _FEW_COLUMNS = 20, 3
_MEAN = 1e-3  # standard deviations by which a mean may be rounded
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
    with np.errstate(all="ignore"):
        mean, spread = (
            np.concatenate([of(part[:count], axis=0, dtype=np.float64) for part in parts])
            for of in (np.nanmean, np.nanstd)
        )
    varies = spread > 1e-9 * np.abs(mean)
    if varies.sum() < _FEW_COLUMNS or not np.isfinite(mean).all():
        return None
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
