"""Rows that are exact copies of an earlier row, and rows of one log that another one holds."""

from collections.abc import Sequence

import numpy as np

from moore.data.checks import blocks

Rows = Sequence[np.ndarray]

_START, _FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)  # splitmix64's
_SHIFT = np.uint64(29)
_DIGITS = 16  # binary ones of a value that an export to text keeps
_SHARED = 10, 0.01  # rows, and share of the rows; fewer may be alike by chance
_BY_CHANCE = 3.0  # times as many as rows of one log that are alike


def duplicate_rows(arrays: Sequence[np.ndarray], hashes: np.ndarray | None = None) -> np.ndarray:
    """Indices (k,) int64, ascending, of the rows that equal an earlier one in every array.

    Rows with equal hashes are compared value by value, so a collision is not counted. Zeros of
    either sign are equal, and so are NaNs. This needs about 32 bytes a row.

    Args:
        arrays: each (n, ...), of numbers.
        hashes: (n,) uint64, from `row_hashes`.
    """
    arrays = [array.reshape(len(array), -1) for array in arrays]
    hashes = row_hashes(arrays) if hashes is None else hashes
    order = np.argsort(hashes, kind="stable")  # equal hashes stay in the order of the log
    hashes = hashes[order]
    second = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    equal = np.ones(len(second), bool)
    for part in blocks(len(second), 128):
        equal[part] = _same(arrays, order[second[part] - 1], order[second[part]])
    copies = order[second[equal]]
    if not equal.all():
        collided = np.unique(hashes[second[~equal]])
        copies = copies[~np.isin(hashes[second[equal]], collided)]
        starts, ends = (np.searchsorted(hashes, collided, side) for side in ("left", "right"))
        groups = [order[start:end] for start, end in zip(starts, ends, strict=True)]
        copies = np.concatenate([copies, *(_copies_among(arrays, group) for group in groups)])
    return np.sort(copies)


def shared_rows(one: Rows, other: Rows) -> int:
    """How many rows of one log another log holds, too; 0 if they may be alike by chance.

    Values that agree in their first four or five digits are taken for the same, since an export to
    text rounds them. Of a plant that rests, rows are alike in one log as well as in two: more must
    be alike here. A log of fewer than ten rows tells nothing.

    Args:
        one: observations (n, obs), actions (n, action) and rewards (n,).
        other: the same of m rows.
    """
    here, there = (row_hashes([_rounded(array) for array in rows]) for rows in (one, other))
    kinds, counts = np.unique(there, return_counts=True)
    alike = float(counts[counts > 1].sum()) / max(len(there), 1)
    count = int(np.isin(here, kinds).sum())
    least = max(_SHARED[0], (_SHARED[1] + _BY_CHANCE * alike) * len(here))
    return count if count >= least else 0


def _rounded(values: np.ndarray) -> np.ndarray:
    """(n, k) whole numbers, which are those of values that agree in their first digits."""
    values = np.asarray(values, np.float32).astype(np.float64).reshape(len(values), -1)
    part, power = np.frexp(values)
    return np.rint(np.ldexp(part, _DIGITS)) + np.ldexp(1.0, _DIGITS + 1) * power


def row_hashes(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """A hash (n,) uint64 of each row's values."""
    hashes = np.full(len(arrays[0]), _START)
    for array in arrays:
        array = array.reshape(len(array), -1)
        for rows in blocks(len(array), array[:1].nbytes):
            words = _words(array[rows])
            h = hashes[rows]
            for column in words.T:
                h ^= column
                h *= _FACTOR
                h ^= h >> _SHIFT
    return hashes


def _words(values: np.ndarray) -> np.ndarray:
    """The bits of each value, uint64; equal values have equal bits."""
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    values = np.ascontiguousarray(values + values.dtype.type(0))  # -0 + 0 = 0
    values[np.isnan(values)] = np.nan
    return values.view(f"u{values.itemsize}").astype(np.uint64)


def _same(arrays: Sequence[np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether the rows `one` (k,) equal the rows `other` (k,), in every array."""
    pairs = ((_words(array[one]), _words(array[other])) for array in arrays)
    return np.all([(a == b).all(axis=1) for a, b in pairs], axis=0)


def _copies_among(arrays: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    values = np.concatenate([_words(array[rows]) for array in arrays], axis=1)
    _, first = np.unique(values, axis=0, return_index=True)
    return np.delete(rows, first)
