"""Columns that have another sign, size or order from some row on, as the steps of a system tell.

A part of a log in which a sensor or an actuator counts the other way round, or in other units, or
in which two columns are exchanged, follows another law than the rest; and it follows the same law
once that column is turned, scaled or exchanged back. The law is a linear regression of the change
of the observations on observations and actions, learned on either part and tried on the other one.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.law_parts import ColumnChange, LogPart, LogParts, sums_of
from moore.findings.row_fits import FEW, numbers, successors

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 12_000  # rows, evenly spaced
_PARTS = 12
_WIDEST = 24  # columns of which all pairs are tried
_APART = 0.5  # the least score of parts that follow two laws
_LEFT = 0.2  # of this score, at most, once a column is changed back
_LEFT_OF_EACH = 0.25  # the same of each part alone
_BENT = 0.5  # of what the others differ by: more among the ones is no straight law
_TIE = 0.02  # of this score: what may be one or the other
_SHOWN = 3
_TIMES = 1.35  # a column that is less many times as large may be the plant's own
_COARSE = np.exp(np.linspace(-np.log(20.0), np.log(20.0), 25))
_FINE = np.exp(np.linspace(-1, 1, 9) * np.log(20.0) / 12)


@np.errstate(all="ignore")  # of values that are refused elsewhere
def changed_columns(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Which column has another sign, size or place from some row on, in words; empty if none has.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = sample_of(log, ends)
    if len(rows) < FEW:
        return ""
    columns = rows_in(log, rows)
    if columns is None:
        return ""
    dims, acts = moving(columns)
    chosen = np.column_stack([columns[0][:, dims], columns[1][:, acts], columns[2][:, dims]])
    if not len(dims) or len(rows) < 2 * _PARTS * chosen.shape[1]:
        return ""
    found = _search(chosen - chosen.mean(axis=0), dims, acts)
    return "" if found is None else f"from about row {rows[found[0]]:,} on, {found[1]}"


def rows_in(
    log: "Log | Dataset", rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Observations, actions and changes of observations of rows; None if any is not finite."""
    obs, action = numbers(log.obs, rows), numbers(log.action, rows)
    change = successors(log, rows) - obs
    finite = all(np.isfinite(part).all() for part in (obs, action, change))
    return (obs, action, change) if finite else None


def moving(columns: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The entries of observations and of actions that vary."""
    obs, action, change = columns
    dims, acts = (np.flatnonzero(values.std(axis=0) > 0) for values in (obs, action))
    return dims[change[:, dims].std(axis=0) > 0], acts


def sample_of(log: "Log | Dataset", ends: np.ndarray) -> np.ndarray:
    """A sample of the rows whose change is known."""
    rows = np.flatnonzero(usable_rows(log, ends))
    return rows[:: max(1, -(-len(rows) // _SAMPLE))]


def usable_rows(log: "Log | Dataset", ends: np.ndarray) -> np.ndarray:
    """(n,) bool: rows whose successor is known and not that of an end."""
    usable = ~ends
    usable[-1] = usable[-1] and log.next_obs is not None
    if log.next_obs is not None and log.successor_known is not None:
        usable &= np.asarray(log.successor_known).reshape(-1).astype(bool)
    return usable


def _search(columns: np.ndarray, dims: np.ndarray, acts: np.ndarray) -> tuple[int, str] | None:
    """The row (of the columns) and the change that explain best why two parts follow two laws."""
    firsts = [len(columns) * part // _PARTS for part in range(_PARTS + 1)]
    sums = [sums_of(columns[a:b]) for a, b in pairwise(firsts)]
    parts, place = LogParts(sums, len(dims) + len(acts)), np.arange(_PARTS)
    # A part is left out between the two, in which the change may be.
    pairs = {at: (parts.joined(place < at), parts.joined(place > at))
             for at in range(2, _PARTS - 2)}  # fmt: skip
    apart = {at: one.excess(other) + other.excess(one) for at, (one, other) in pairs.items()}
    at = max(apart, key=lambda place: apart[place])
    what = explained(parts, place < at, place > at, dims, acts)
    return (firsts[at] + len(columns) // (2 * _PARTS), what) if what else None


def explained(
    parts: LogParts, ones: np.ndarray, others: np.ndarray, dims: np.ndarray, acts: np.ndarray
) -> str:
    """The changes after which parts that are apart follow one law; empty if there are none.

    They must do so as two, and each of the others alone: a law that is bent differs a little from
    part to part, and some change always makes that less.

    Args:
        parts: the parts.
        ones, others: (parts,) bool, those that are as they should be, and those that changed.
        dims, acts: entries of the observations and the actions that their columns are.
    """
    one, other = parts.joined(ones), parts.joined(others)
    apart = one.excess(other) + other.excess(one)
    if apart < _APART:
        return ""
    found = []
    for turn in _turns(one, other, dims, acts):
        turned = other.turned(turn)
        found.append((turned.excess(one) + one.excess(turned), turn))
    # Of a system with one entry, a sensor that is turned cannot be told from an actuator that is.
    least = min(left for left, _ in found)
    if least > _LEFT * apart:
        return ""
    inner, before = parts.excess(ones, one.law), parts.excess(others, one.law)
    if inner > _BENT * before:
        return ""
    elsewhere = parts.elsewhere(ones, others)
    alike = [
        turn.what
        for left, turn in sorted(found, key=lambda pair: pair[0])
        if left <= least + _TIE * apart
        and not (elsewhere & turn.keeps[: parts.known]).any()
        and parts.excess_turned(others, one.law, turn) - inner <= _LEFT_OF_EACH * (before - inner)
    ]
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
            left = [
                other.turned(ColumnChange("", scaled(place, best * x), as_is)).excess(one)
                for x in factors
            ]
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
