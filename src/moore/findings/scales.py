"""Finds rewards and observations far from order 1, at which networks learn best."""

import math
from collections.abc import Sequence

import numpy as np

_LARGE, _SMALL = 1e3, 1e-3
_OFFSET = 100.0  # standard deviations between the mean and zero
_DUST = 1e-6  # relative: a column that changes by less is reported as nearly constant
_SHOWN = 8
_FEW = 100  # rows do not show what is usual
_LONE = 20.0  # times the range of the other values
_FAR = 10.0  # standard deviations outside the range of a log


def odd_scales(mean: Sequence[float], sd: Sequence[float]) -> str:
    """Which columns are far from order 1, in words; empty if none is.

    Columns that do not vary are left out.
    """
    size, offset = [], []
    for dim, (m, s) in enumerate(zip(mean, sd, strict=True)):
        if not s > _DUST * abs(m):
            continue
        if s > _LARGE or s < _SMALL or math.hypot(m, s) > _LARGE:
            size.append(f"{dim} (of the order of {order(m, s)})")
        elif abs(m) > _OFFSET * s:
            offset.append(f"{dim} ({m:.4g} with a standard deviation of {s:.2g})")
    parts = [f"{_some(size)} are far from order 1"] if size else []
    parts += [f"{_some(offset)} lie far from zero"] if offset else []
    return " and ".join(parts)


def odd_reward(mean: float, sd: float) -> str:
    """How the rewards are far from order 1; empty if they are not, or never change."""
    size = math.hypot(mean, sd)
    if not sd > 0 or not math.isfinite(size):
        return ""
    if size > _LARGE or size < _SMALL:
        return f"are of the order of {order(mean, sd)}"
    if abs(mean) > _OFFSET * sd:
        return f"lie around {mean:.4g} with a standard deviation of only {sd:.2g}"
    return ""


def lone_values(low: np.ndarray, high: np.ndarray, sample: np.ndarray) -> str:
    """Which columns have an extreme far beyond their other values, in words; empty if none has.

    Sensors that fail write such values: -9999, 65535. The rest of a column are the values that
    99% of its sample lie between, or, where the sample holds an extreme again and again, all values
    but the extremes. A column whose rest does not vary is left out.

    Args:
        low, high: (dims,) extremes of all rows.
        sample: (m, dims) some of the rows.
    """
    if len(sample) < _FEW or not np.isfinite(sample).any(axis=0).all():
        return ""
    found = (
        _lone(dim, float(low[dim]), float(high[dim]), column)  # one at a time, to save memory
        for dim, column in enumerate(sample.T)
    )
    return _some([words for words in found if words])


def _lone(dim: int, low: float, high: float, column: np.ndarray) -> str:
    """How an extreme of a column lies far beyond its other values; empty if none does."""
    column = column[np.isfinite(column)].astype(np.float64)
    rest = column[(column != low) & (column != high)]
    parts = [np.quantile(column, (0.005, 0.995), method="inverted_cdf")]
    parts += [(rest.min(), rest.max())] if rest.size else []
    for first, last in parts:
        with np.errstate(over="ignore"):
            reach, below, above = _LONE * (last - first), first - low, high - last
        lone = [f"{x:.6g}" for x, by in ((low, below), (high, above)) if reach > 0 and by > reach]
        if lone:
            return f"{dim} ({' and '.join(lone)}; others {first:.4g} to {last:.4g})"
    return ""


def far_outside(shown: np.ndarray, logged: np.ndarray, *, share: float = 1.0) -> str:
    """Which columns of a system lie far outside those of a log, in words; empty if none does.

    Far is more than 10 standard deviations of the logged values beyond all of them, in this share
    of the shown rows, as if units or order were others.

    Args:
        shown: (m, dims) rows of the system.
        logged: (n, dims) rows of the log.
        share: share of the rows that must be far.
    """
    shown = shown.astype(np.float64)
    low, high = logged.min(axis=0), logged.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    spread = np.maximum(logged.std(axis=0, dtype=np.float64) + _DUST * size, 1e-12)
    beyond = np.maximum(low - shown, shown - high) > _FAR * spread
    found = [
        f"{dim} ({shown[-1, dim]:.4g}; in the log {low[dim]:.4g} to {high[dim]:.4g})"
        for dim in np.flatnonzero(beyond.mean(axis=0) >= share)
    ]
    return _some(found)


def opposite_signs(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all values of one are positive and all of the other negative."""
    return bool(one.min() > 0 > other.max() or other.min() > 0 > one.max())


def order(mean: float, sd: float) -> str:
    """The power of ten of a typical value, such as 1e+06."""
    return f"{10.0 ** round(math.log10(max(math.hypot(mean, sd), 1e-300))):.0e}"


def _some(columns: list[str]) -> str:
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return ", ".join(columns[:_SHOWN]) + more
