"""The law that parts of a log follow: a linear regression of the change of the observations.

A part is known by the moments of its columns (observations, actions, and changes of observations)
alone, so that laws are learned on one part, or on several, and tried on others in no time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from moore.data.least_squares import solved

_FAR = 1.5  # sums of two deviations
_FLOOR = 1e-3  # of a change's variance: less is no noise of a system

Sums = tuple[int, np.ndarray, np.ndarray]  # rows, sums (m,) and products (m, m) of their columns


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class LogPart:
    """A part of a log, by the moments of its columns: obs, action, and change of obs.

    Attributes:
        moments: (m, m) second moments about their means.
        known: number of the columns that are known before the change: obs and action.
    """

    moments: np.ndarray
    known: int

    @cached_property
    def law(self) -> np.ndarray:
        """(known, obs): the regression of the changes; a column that stands still has no weight."""
        inner = self.moments[: self.known, : self.known]
        size = np.sqrt(np.maximum(np.diag(inner), 1e-300))
        scaled = inner / np.outer(size, size) + 1e-6 * np.eye(self.known)
        cross = self.moments[: self.known, self.known :] / size[:, None]
        return solved(scaled, cross) / size[:, None]

    @cached_property
    def least(self) -> np.ndarray:
        """(obs,) what the law misses of the changes, but at least what may be rounding."""
        spread = np.diag(self.moments)[self.known :]
        return np.maximum(self.missed_by(self.law), _FLOOR * spread + 1e-300)

    def missed_by(self, law: np.ndarray) -> np.ndarray:
        """(obs,) what a law (known, obs) misses of the changes of this part."""
        inner, cross = np.split(self.moments[: self.known], [self.known], axis=1)
        spread = np.diag(self.moments)[self.known :]
        return spread + ((inner @ law - 2 * cross) * law).sum(axis=0)

    def excess(self, fitted: "LogPart") -> float:
        """How much more that is than what its own law misses, over all entries, in logarithms."""
        ratio = np.maximum(self.missed_by(fitted.law), 1e-300) / self.least
        return float(np.log(ratio).clip(min=0).sum())

    def turned(self, turn: "ColumnChange") -> "LogPart":
        """The same part with its columns in another order, then scaled."""
        order, scale = turn.order, turn.scale
        part = LogPart(self.moments[np.ix_(order, order)] * np.outer(scale, scale), self.known)
        entries = order[self.known :] - self.known
        part.__dict__["least"] = self.least[entries] * scale[self.known :] ** 2
        return part


@dataclass(frozen=True, eq=False)
class ColumnChange:
    """What may have become of a part: its columns are scaled, or two are exchanged."""

    what: str
    scale: np.ndarray
    order: np.ndarray

    @property
    def keeps(self) -> np.ndarray:
        """(m,) bool: the columns that stay as they are."""
        return (self.scale == 1.0) & (self.order == np.arange(len(self.order)))


@dataclass(frozen=True, eq=False)
class LogParts:
    """Several parts of a log, each known by the sums of its columns."""

    sums: Sequence[Sums]
    known: int

    @cached_property
    def counts(self) -> np.ndarray:
        """(parts,) numbers of rows."""
        return np.array([part[0] for part in self.sums])

    @cached_property
    def means(self) -> np.ndarray:
        """(parts, m) means of the columns."""
        return np.stack([part[1] for part in self.sums]) / self.counts[:, None]

    @cached_property
    def parts(self) -> list[LogPart]:
        """Each part; what its own law misses makes up for the weights that were fitted."""
        found = [joined([part], self.known) for part in self.sums]
        for part, count in zip(found, self.counts, strict=True):
            part.__dict__["least"] = part.least / (1 - min(self.known / count, 0.5))
        return found

    def joined(self, which: np.ndarray) -> LogPart:
        """The parts (parts,) bool as one."""
        return joined([part for part, one in zip(self.sums, which, strict=True) if one], self.known)

    def elsewhere(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(known,) bool: columns of which two kinds of parts have no values in common.

        A law that is not linear, as that of a wheel, is another one there.
        """
        means, sizes = [], []
        for which in (ones, others):
            weights = self.counts[which] / self.counts[which].sum()
            means.append(weights @ self.means[which][:, : self.known])
            sizes.append(np.sqrt(np.diag(self.joined(which).moments)[: self.known]))
        return np.abs(means[0] - means[1]) > _FAR * (sizes[0] + sizes[1])

    def excess(self, which: np.ndarray, law: np.ndarray) -> float:
        """How much more a law misses of these parts than their own, as the mean of the parts."""
        return float(np.mean([self._beyond(self.parts[i], law) for i in np.flatnonzero(which)]))

    def excess_turned(self, which: np.ndarray, law: np.ndarray, turn: ColumnChange) -> float:
        """The same of the parts once they are turned."""
        parts = [self.parts[i].turned(turn) for i in np.flatnonzero(which)]
        return float(np.mean([self._beyond(part, law) for part in parts]))

    @staticmethod
    def _beyond(part: LogPart, law: np.ndarray, chance: float = 1.0) -> float:
        ratio = np.maximum(part.missed_by(law), 1e-300) / part.least / chance
        return float(np.log(ratio).clip(min=0).sum())

    def apart(self) -> np.ndarray:
        """(parts, parts) how much more the law of each column's part misses of a row's part."""
        found = np.empty((len(self.parts),) * 2)
        for column, (part, count) in enumerate(zip(self.parts, self.counts, strict=True)):
            chance = 1 + self.known / count  # a law that was fitted to few rows
            found[:, column] = [self._beyond(one, part.law, chance) for one in self.parts]
        return found


def sums_of(columns: np.ndarray) -> Sums:
    """Of columns (rows, m)."""
    return len(columns), columns.sum(axis=0), columns.T @ columns


def joined(sums: Sequence[Sums], known: int) -> LogPart:
    """The part that several make up."""
    rows = sum(count for count, _, _ in sums)
    mean = np.sum([total for _, total, _ in sums], axis=0) / rows
    products = np.sum([product for _, _, product in sums], axis=0) / rows
    return LogPart(products - np.outer(mean, mean), known)
