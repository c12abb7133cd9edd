"""The bounds of an environment's actions, and the conversion between them and [-1, 1]."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Bounds:
    """Lowest and highest action, in the environment's units.

    An entry whose bounds are equal is locked: it is 0 in [-1, 1], and its only value in the
    environment's units.

    Attributes:
        low, high: (action,) float32.
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        """(action,) float32: the action that is sent when there is no other."""
        return self.low + 0.5 * (self.high - self.low)

    @property
    def locked(self) -> np.ndarray:
        """Entries that have one value only."""
        return np.flatnonzero(self.low == self.high)

    def own(self, scaled: np.ndarray) -> np.ndarray:
        """Converts actions (..., action) from [-1, 1] to the environment's units, within bounds."""
        half = 0.5 * (self.high - self.low)
        own = self.low + (np.asarray(scaled) + 1.0) * half
        return np.minimum(np.maximum(own, self.low), self.high)

    def scaled(self, action: np.ndarray) -> np.ndarray:
        """Converts actions (..., action) from the environment's units to [-1, 1], clipped there."""
        reach = self.high - self.low
        inside = 2.0 * (np.asarray(action) - self.low) / np.where(reach > 0, reach, 1.0) - 1.0
        return np.clip(np.where(reach > 0, inside, 0.0), -1.0, 1.0)

    def __str__(self) -> str:
        return f"{self.low.tolist()} to {self.high.tolist()}"
