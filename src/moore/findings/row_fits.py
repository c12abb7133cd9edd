"""Samples of rows inside episodes, and linear fits of what they tell, for the checks of a log."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moore.data.checks import as_float32
from moore.data.least_squares import fitted_weights
from moore.data.log import Log

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 4000  # rows, evenly spaced
FEW = 400  # rows say nothing
_WIDEST = 16  # columns whose products are taken, beside their squares


def inside(log: "Log | Dataset", episode: np.ndarray, low: int, high: int) -> np.ndarray:
    """A sample of rows whose neighbours from `low` to `high` are in the same episode."""
    rows = np.arange(max(0, -low), len(episode) - high)
    same = (episode[rows + low] == episode[rows]) & (episode[rows + high] == episode[rows])
    known = log.successor_known
    if log.next_obs is not None and known is not None:
        same &= np.asarray(known).reshape(-1)[rows].astype(bool)
    rows = rows[same]
    return rows[:: max(1, -(-len(rows) // _SAMPLE))]


def thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, one drawn from each of as many equal stretches, in order."""
    if len(rows) <= most:
        return rows
    part = np.arange(most) + np.random.default_rng(0).uniform(size=most)
    return rows[(part * len(rows) / most).astype(int)]


def successors(log: "Log | Dataset", rows: np.ndarray) -> np.ndarray:
    """The stored next states of rows, or else the next rows' observations."""
    return numbers(log.obs, rows + 1) if log.next_obs is None else numbers(log.next_obs, rows)


def numbers(values: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """As training sees them, with room for squares; what float32 cannot hold is infinite."""
    return as_float32(values[rows]).astype(np.float64)


def standard(values: np.ndarray) -> np.ndarray:
    """Columns that vary, or are not finite, with mean 0 and deviation 1."""
    with np.errstate(all="ignore"):
        middle, spread = values.mean(axis=0), values.std(axis=0)
        varies = ~(spread <= 1e-9 * np.abs(middle))
        return (values[:, varies] - middle[varies]) / spread[varies]


def seen_of(log: "Log | Dataset", rows: np.ndarray) -> np.ndarray | None:
    """(m, k): what may tell a reward, with squares and products; None if it is not finite."""
    columns = _columns_of(log, rows)
    return None if columns is None else with_products(columns)


def _columns_of(log: "Log | Dataset", rows: np.ndarray) -> np.ndarray | None:
    """(m, d): observation, action and successor where they vary; None if they are not finite."""
    if len(rows) < FEW:
        return None
    parts = (numbers(log.obs, rows), numbers(log.action, rows), successors(log, rows))
    columns = standard(np.column_stack(parts))
    return columns if np.isfinite(columns).all() else None


@dataclass(frozen=True, eq=False)
class RewardRows:
    """Rows with a row of their episode before and after them, and what may tell their rewards."""

    rows: np.ndarray  # (m,)
    columns: np.ndarray | None  # (m, d); None if it is not finite, or there are few rows
    seen: np.ndarray | None  # (m, k): these, with squares and products


def reward_rows(log: "Log | Dataset", ends: np.ndarray) -> RewardRows:
    """The rows whose rewards are looked at.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = inside(log, np.append(0, np.cumsum(ends[:-1])), -1, 2)
    columns = _columns_of(log, rows)
    return RewardRows(rows, columns, None if columns is None else with_products(columns))


def with_products(columns: np.ndarray) -> np.ndarray:
    """(m, k): the columns (m, d), with their products, or with their squares if they are many."""
    if columns.shape[1] > _WIDEST:
        return np.column_stack([columns, columns**2])
    one, other = np.triu_indices(columns.shape[1])
    return np.column_stack([columns, columns[:, one] * columns[:, other]])


def unexplained(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(k,) variance of the values (m, k) that `seen` (m, d) does not explain."""
    seen = np.column_stack([seen, np.ones(len(seen))])
    missed = values - seen @ fitted_weights(seen, values)
    return (missed**2).sum(axis=0) / max(len(seen) - seen.shape[1], 1)
