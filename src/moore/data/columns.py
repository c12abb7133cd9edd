"""Statistics of a log's arrays, computed in blocks of rows to bound the memory."""

from dataclasses import dataclass

import numpy as np

from moore.data.checks import blocks

SAMPLE_ROWS = 200_000  # rows, evenly spaced, that histograms and modes are taken from
BINS = 40  # at most
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Columns:
    """Statistics of an array (n, dim); they are 0 in a dimension without usable values.

    A value is usable if a finite float32 can hold it; the statistics are over these values.
    """

    low: np.ndarray  # (dim,) float64
    high: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    mode_share: np.ndarray  # (dim,) share of the rows that hold the median of a sample
    non_finite: int  # values that are NaN or infinite
    first_non_finite: int | None  # row
    overflow: int  # finite values beyond float32
    first_overflow: int | None

    @property
    def constant(self) -> np.ndarray:
        """Dimensions that never change."""
        return np.flatnonzero(self.low == self.high)

    @property
    def nearly_constant(self) -> np.ndarray:
        """Dimensions that change by no more than rounding, or hold one value in 99.9% of rows."""
        rounding = self.sd <= 1e-6 * np.maximum(np.abs(self.mean), 1e-3)
        return np.flatnonzero((self.low < self.high) & (rounding | (self.mode_share >= 0.999)))


def usable(values: np.ndarray) -> np.ndarray:
    """Where a value is finite and stays so as float32."""
    if values.dtype == np.float16:  # which cannot hold the limit
        return np.isfinite(values)
    return np.abs(values) <= _FLOAT32_MAX  # False for NaN, too


def describe(array: np.ndarray) -> Columns:
    """Statistics of an array (n, dim) or (n,); needs about 100 MB of memory for any array."""
    array = array.reshape(len(array), -1)
    dim = array.shape[1]
    low, high = np.full(dim, np.inf), np.full(dim, -np.inf)
    count, mean, squares, same = (np.zeros(dim) for _ in range(4))
    mode = _sample_median(array)
    bad = {"non_finite": (0, None), "overflow": (0, None)}
    for rows in blocks(len(array), array[:1].nbytes):
        x = array[rows].astype(np.float64)
        good, finite = usable(x), np.isfinite(x)
        bad["non_finite"] = _count(bad["non_finite"], ~finite, rows.start)
        bad["overflow"] = _count(bad["overflow"], finite & ~good, rows.start)
        low = np.minimum(low, np.where(good, x, np.inf).min(axis=0))
        high = np.maximum(high, np.where(good, x, -np.inf).max(axis=0))
        same += (x == mode).sum(axis=0)
        # Chan, Golub and LeVeque (1983): means and squares of two parts, without cancellation.
        n = good.sum(axis=0)
        here = np.where(good, x, 0.0).sum(axis=0) / np.maximum(n, 1)
        total, off = np.maximum(count + n, 1), here - mean
        squares += (np.where(good, x - here, 0.0) ** 2).sum(axis=0) + off**2 * count * n / total
        mean, count = mean + off * n / total, count + n
    none = count == 0
    return Columns(
        low=np.where(none, 0.0, low),
        high=np.where(none, 0.0, high),
        mean=mean,
        sd=np.sqrt(squares / np.maximum(count, 1)),
        mode_share=same / max(1, len(array)),
        non_finite=bad["non_finite"][0],
        first_non_finite=bad["non_finite"][1],
        overflow=bad["overflow"][0],
        first_overflow=bad["overflow"][1],
    )


def histogram(values: np.ndarray) -> dict[str, list]:
    """Counts of usable values (m,) in b equal bins (fewer for few values), and b + 1 edges."""
    values = np.asarray(values, np.float64)
    values = values[usable(values)]
    if len(values) == 0:
        return {"edges": [0.0, 1.0], "counts": [0]}
    low, high = values.min(), values.max()
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # too narrow for edges that differ
        low, high = low - max(0.5, abs(low) * 1e-3), high + max(0.5, abs(high) * 1e-3)
    bins = int(np.clip(2 * np.sqrt(len(values)), 5, BINS))
    counts, edges = np.histogram(values, bins, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def sample_rows(rows: int) -> slice:
    """A slice of at most about `SAMPLE_ROWS` evenly spaced rows."""
    return slice(None, None, max(1, -(-rows // SAMPLE_ROWS)))


def _sample_median(array: np.ndarray) -> np.ndarray:
    sample = array[:: max(1, len(array) // 10_000)].astype(np.float64)
    return np.sort(sample, axis=0)[len(sample) // 2]  # an element of its own, NaN last


def _count(sofar: tuple, bad: np.ndarray, start: int) -> tuple:
    """Adds the bad values of a block that starts at row `start` to (number, first row)."""
    number, first = sofar
    if first is None and bad.any():
        first = start + int(bad.any(axis=1).argmax())
    return number + int(bad.sum()), first
