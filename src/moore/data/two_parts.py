"""Columns that have another sign, size or order from some row on, as the steps of a system tell.

A part of a log in which a sensor or an actuator counts the other way round, or in other units, or
in which two columns are exchanged, follows another law than the rest; and it follows the same law
once that column is turned, scaled or exchanged back. The law is a linear regression of the change
of the observations on observations and actions, learned on either part and tried on the other one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.data.row_fits import FEW, numbers, successors

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 12_000  # rows, evenly spaced
_PARTS = 12
_FEW_OF_LOG = 100  # rows of one of two logs
_WIDEST = 24  # columns of which all pairs are tried
_FLOOR = 1e-3  # of a change's variance: less is no noise of a system
_APART = 0.5  # the least score of parts that follow two laws
_LEFT = 0.2  # of this score, at most, once a column is changed back
_TIE = 0.02  # of this score: what may be one or the other
_SHOWN = 3
_TIMES = 1.35  # a column that is less many times as large may be the plant's own
_COARSE = np.exp(np.linspace(-np.log(20.0), np.log(20.0), 25))
_FINE = np.exp(np.linspace(-1, 1, 9) * np.log(20.0) / 12)


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
        return np.linalg.solve(scaled, cross) / size[:, None]

    @cached_property
    def least(self) -> np.ndarray:
        """(obs,) what the law misses of the changes, but at least what may be rounding."""
        return np.maximum(self.missed_by(self), _FLOOR * self._spread + 1e-300)

    @property
    def _spread(self) -> np.ndarray:
        return np.diag(self.moments)[self.known :]

    def missed_by(self, fitted: "LogPart") -> np.ndarray:
        """(obs,) what the law of another part misses of the changes of this one."""
        inner, cross = np.split(self.moments[: self.known], [self.known], axis=1)
        return self._spread + ((inner @ fitted.law - 2 * cross) * fitted.law).sum(axis=0)

    def excess(self, fitted: "LogPart") -> float:
        """How much more that is than what its own law misses, over all entries, in logarithms."""
        ratio = np.maximum(self.missed_by(fitted), 1e-300) / self.least
        return float(np.log(ratio).clip(min=0).sum())

    def turned(self, scale: np.ndarray, order: np.ndarray) -> "LogPart":
        """The same part with its columns in another order, then scaled."""
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


@np.errstate(all="ignore")  # of values that are refused elsewhere
def changed_columns(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Which column has another sign, size or place from some row on, in words; empty if none has.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = _rows(log, ends)
    if len(rows) < FEW:
        return ""
    columns = _columns(log, rows)
    if columns is None:
        return ""
    dims, acts = _moving(columns)
    chosen = np.column_stack([columns[0][:, dims], columns[1][:, acts], columns[2][:, dims]])
    if not len(dims) or len(rows) < 2 * _PARTS * chosen.shape[1]:
        return ""
    found = _search(chosen - chosen.mean(axis=0), dims, acts)
    return "" if found is None else f"from about row {rows[found[0]]:,} on, {found[1]}"


@np.errstate(all="ignore")
def changed_between(log: "Dataset", other: "Dataset") -> str:
    """Which column of another log of the same system has another sign, size or place, in words.

    It is empty if none has, and if one of the logs has few rows for its columns.
    """
    both = []
    for one in (log, other):
        rows = _rows(one, one.terminated | one.truncated)
        columns = _columns(one, rows) if len(rows) >= _FEW_OF_LOG else None
        if columns is None:
            return ""
        both.append(columns)
    (dims, acts), (also, too) = (_moving(columns) for columns in both)
    dims, acts = np.intersect1d(dims, also), np.intersect1d(acts, too)
    known = len(dims) + len(acts)
    if not len(dims) or min(len(c[0]) for c in both) < _PARTS * (known + len(dims)):
        return ""
    parts = [np.column_stack([c[0][:, dims], c[1][:, acts], c[2][:, dims]]) for c in both]
    sums = [_sums(part - part.mean(axis=0)) for part in parts]
    return _explained(*(_joined([part], known) for part in sums), dims, acts)


def _columns(
    log: "Log | Dataset", rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Observations, actions and changes of observations of rows; None if any is not finite."""
    obs, action = numbers(log.obs, rows), numbers(log.action, rows)
    change = successors(log, rows) - obs
    finite = all(np.isfinite(part).all() for part in (obs, action, change))
    return (obs, action, change) if finite else None


def _moving(columns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The entries of observations and of actions that vary."""
    obs, action, change = columns
    dims, acts = (np.flatnonzero(values.std(axis=0) > 0) for values in (obs, action))
    return dims[change[:, dims].std(axis=0) > 0], acts


def _rows(log: "Log | Dataset", ends: np.ndarray) -> np.ndarray:
    """A sample of rows whose successor is known and not that of an end."""
    usable = ~ends
    usable[-1] = usable[-1] and log.next_obs is not None
    if log.next_obs is not None and log.successor_known is not None:
        usable &= np.asarray(log.successor_known).reshape(-1).astype(bool)
    rows = np.flatnonzero(usable)
    return rows[:: max(1, -(-len(rows) // _SAMPLE))]


def _search(columns: np.ndarray, dims: np.ndarray, acts: np.ndarray) -> tuple[int, str] | None:
    """The row (of the columns) and the change that explain best why two parts follow two laws."""
    firsts = [len(columns) * part // _PARTS for part in range(_PARTS + 1)]
    sums = [_sums(columns[a:b]) for a, b in pairwise(firsts)]
    known = len(dims) + len(acts)
    # A part is left out between the two, in which the change may be.
    pairs = {at: (_joined(sums[:at], known), _joined(sums[at + 1 :], known))
             for at in range(2, _PARTS - 2)}  # fmt: skip
    apart = {at: one.excess(other) + other.excess(one) for at, (one, other) in pairs.items()}
    at = max(apart, key=lambda place: apart[place])
    what = _explained(*pairs[at], dims, acts)
    return (firsts[at] + len(columns) // (2 * _PARTS), what) if what else None


def _explained(one: LogPart, other: LogPart, dims: np.ndarray, acts: np.ndarray) -> str:
    """The changes after which two parts that are apart follow one law; empty if there are none."""
    apart = one.excess(other) + other.excess(one)
    if apart < _APART:
        return ""
    found = []
    for turn in _turns(one, other, dims, acts):
        turned = other.turned(turn.scale, turn.order)
        found.append((turned.excess(one) + one.excess(turned), turn.what))
    # Of a system with one entry, a sensor that is turned cannot be told from an actuator that is.
    least = min(left for left, _ in found)
    if least > _LEFT * apart:
        return ""
    alike = [what for left, what in sorted(found) if left <= least + _TIE * apart]
    return ", or ".join(alike[:_SHOWN])


def _turns(
    one: LogPart, other: LogPart, dims: np.ndarray, acts: np.ndarray
) -> Iterator[ColumnChange]:
    """What may have become of the other part: the sign, the best factor, or two exchanged."""
    size = 2 * len(dims) + len(acts)
    as_is, ones = np.arange(size), np.ones(size)
    places = [[at, at + len(dims) + len(acts)] for at in range(len(dims))]
    places += [[len(dims) + at] for at in range(len(acts))]
    names = [f"observation {dim}" for dim in dims] + [f"action {dim}" for dim in acts]

    def scaled(place: list[int], factor: float) -> np.ndarray:
        scale = ones.copy()
        scale[place] = factor
        return scale

    for name, place in zip(names, places, strict=True):
        yield ColumnChange(f"{name} has the other sign", scaled(place, -1.0), as_is)
        best = 1.0
        for factors in (_COARSE, _FINE):
            left = [other.turned(scaled(place, best * x), as_is).excess(one) for x in factors]
            best *= float(factors[np.argmin(left)])
        if not 1 / _TIMES < best < _TIMES:
            yield ColumnChange(
                f"{name} is about {1 / best:.2g} times as large", scaled(place, best), as_is
            )
    for kind in (range(len(dims)), range(len(dims), len(names))):
        for first in kind if len(kind) <= _WIDEST else ():
            for second in range(kind.start, first):
                order = as_is.copy()
                order[places[first] + places[second]] = places[second] + places[first]
                yield ColumnChange(f"{names[second]} and {names[first]} are exchanged", ones, order)


def _sums(columns: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    return len(columns), columns.sum(axis=0), columns.T @ columns


def _joined(sums: list[tuple[int, np.ndarray, np.ndarray]], known: int) -> LogPart:
    rows = sum(part[0] for part in sums)
    mean, products = (np.sum([part[i] for part in sums], axis=0) / rows for i in (1, 2))
    return LogPart(products - np.outer(mean, mean), known)
