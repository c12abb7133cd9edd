"""The usual changes of a log from one row to the next, to recognise unusual ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moore.data.dataset import Dataset
from moore.data.log import Log, stored_successors

AnyLog = Log | Dataset
SAMPLE = 20_000  # rows, evenly spaced
_FEW = 10  # rows say nothing of what is usual
_FAR = 3.0  # times the usual
_NEAR = 0.03


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class UsualSteps:
    """One-step changes inside episodes, in a sample of rows."""

    rows: np.ndarray  # (m,) that were looked at
    change: np.ndarray  # (m, obs_dim) float64

    @property
    def known(self) -> bool:
        """Whether there are enough rows to say what is usual."""
        return len(self.rows) >= _FEW

    def far(self, change: np.ndarray) -> np.ndarray:
        """(k,) bool: changes (k, obs_dim) that are far beyond the usual in some dimension.

        The usual change is the limit for 99% of the sample, or the effect of rounding in a
        dimension that hardly ever changes.
        """
        if not self.known:
            return np.zeros(len(change), bool)
        return (np.abs(change) > _FAR * np.maximum(self._usual, self._least)).any(axis=1)

    def near(self, change: np.ndarray) -> np.ndarray:
        """(k,) bool: changes (k, obs_dim) that are 0 up to rounding in every dimension."""
        if not self.known:
            return (change == 0).all(axis=1)
        return (np.abs(change) <= _NEAR * np.maximum(self._usual, self._least)).all(axis=1)

    @cached_property
    def _usual(self) -> np.ndarray:
        return np.quantile(np.abs(self.change), 0.99, axis=0)

    @cached_property
    def _least(self) -> float:
        return 1e-6 * float(np.abs(self.change).max(initial=0.0))


def usual_steps(log: AnyLog, ends: np.ndarray) -> UsualSteps:
    """Changes of rows that do not end an episode and whose successor is stored and finite.

    Args:
        log: with next_obs.
        ends: (n,) bool, last rows of the episodes.
    """
    inside = ~ends
    if log.successor_known is not None:
        inside &= log.successor_known.astype(bool, copy=False)
    rows = np.flatnonzero(inside)
    rows = rows[:: max(1, -(-len(rows) // SAMPLE))]
    change = changes(log, rows)
    finite = np.isfinite(change).all(axis=1)
    return UsualSteps(rows[finite], change[finite])


def changes(log: AnyLog, rows: np.ndarray) -> np.ndarray:
    """(k, obs_dim) float64: the stored successors of rows minus their obs."""
    with np.errstate(invalid="ignore", over="ignore"):
        return stored_successors(log)[rows].astype(np.float64) - log.obs[rows].astype(np.float64)
