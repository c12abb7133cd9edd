"""Whether actions have nothing to do with the rows in which they stand.

Where they are those of another episode, or were shuffled, steps cannot be told from them, at no
delay, and no better than from actions of other rows: any, of the same episode, or at the same step
of other episodes. The changes of the observations are fitted
linearly to observations, with products, and then what is left to the actions and their products
with the observations. Actions that follow exactly from the observations tell nothing of this kind.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import (
    FEW,
    inside,
    numbers,
    standard,
    successors,
    unexplained,
    with_products,
)

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 2000  # rows
_MANY = 1000  # rows, below which a slow plant may show nothing
_PAST = 6  # rows after which an action may show
_CLEAR = 0.3  # share of what observations leave of a change
_OTHERS = 4  # sets of other rows of each kind, whose actions show what chance tells
_ALIKE = 0.5  # correlation of actions that others cannot stand for
_CHANCE = 10.0  # rows' worth of a change, at least, that chance tells
_MORE = 1.5  # times what chance tells
_RULE = 0.9  # share of an action that observations tell: nothing is left to compare
_FAR = 10.0  # ranges of the middle half of the values, beyond which they are cut
_WIDEST = 40  # products of an action entry and an observation entry


def have_no_effect(log: "Log | Dataset", ends: np.ndarray) -> int:
    """1 if steps have nothing to do with the actions, 2 if observations have neither; else 0.

    It is 2 only if there are 1000 rows or more.

    It is also 0 for fewer than 400 rows inside episodes, and values that are not finite.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = inside(log, np.append(0, np.cumsum(ends[:-1])), -_PAST, 1)
    if len(rows) < FEW:
        return 0
    rows = rows[:: -(-len(rows) // _SAMPLE)]
    obs, after = numbers(log.obs, rows), successors(log, rows)
    action = numbers(log.action, slice(None))
    if not all(np.isfinite(part).all() for part in (obs, after, action)):
        return 0
    seen, change, action = (standard(_within(part)) for part in (obs, after - obs, action))
    if not (seen.shape[1] and change.shape[1] and action.shape[1]):
        return 0
    if _told(change, _Left(seen), action[rows]) >= _CLEAR:
        return 0
    left = _Left(with_products(seen))
    alone = _Left(np.ones((len(rows), 1)))
    own = _of_steps(change, left, action, rows)
    by_rule = _told(action[rows], alone, left.known)
    if own >= _CLEAR or by_rule >= _RULE:
        return 0
    of_steps, of_action = [], [0.01]
    for kind in _others(ends):
        moved = [action[other] for other in kind if not _alike(action[rows], action[other[rows]])]
        if moved:
            of_steps += _most([_of_steps(change, left, part, rows) for part in moved])
            of_action += _most([_told(part[rows], alone, left.known) for part in moved])
    if not of_steps:
        return 0
    of_steps.append(_CHANCE / len(rows))
    if own > _MORE * max(of_steps):
        return 0
    return 2 if len(rows) >= _MANY and by_rule <= _MORE * max(of_action) else 1


def _within(columns: np.ndarray) -> np.ndarray:
    """Columns (m, k) whose values are no farther out than a few ranges of the middle half.

    A value that stands for none would hide all others.
    """
    low, middle, high = np.quantile(columns, (0.25, 0.5, 0.75), axis=0)
    reach = np.where(high > low, _FAR * (high - low), np.inf)
    return np.clip(columns, middle - reach, middle + reach)


def _most(told: list[float]) -> list[float]:
    """The second largest, since one set may be the rows where the actions belong."""
    return sorted(told)[-2:][:1]


def _others(ends: np.ndarray) -> list[list[np.ndarray]]:
    """Other rows for each of n: any, of the same episode, and at the same step of other ones."""
    last = np.flatnonzero(np.append(ends[:-1], True))
    lengths = np.diff(last, prepend=-1)
    episode, first = np.repeat(np.arange(len(last)), lengths), last + 1 - lengths
    step, row = np.arange(len(ends)) - first[episode], np.arange(len(ends))
    parts = np.arange(1, _OTHERS + 1)
    far = [(row + len(row) * part // (_OTHERS + 1)) % len(row) for part in parts]
    long = lengths[episode]
    same = [first[episode] + (step + long * part // (_OTHERS + 1)) % long for part in parts]
    there = [(episode + part) % len(last) for part in parts if part < len(last)]
    return [far, same, [first[other] + step % lengths[other] for other in there]]


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether actions (m, a) of two sets of rows are nearly the same, as scripts and steps are."""
    one, other = (part - part.mean(axis=0) for part in (one, other))
    size = np.sqrt((one**2).sum(axis=0) * (other**2).sum(axis=0))
    return bool((np.abs((one * other).sum(axis=0)) > _ALIKE * size).any())


class _Left:
    """What columns (m, k) leave of others, by least squares."""

    def __init__(self, known: np.ndarray):
        self.known = known
        self._basis = np.linalg.qr(np.column_stack([known, np.ones(len(known))]))[0]

    def of(self, values: np.ndarray) -> np.ndarray:
        return values - self._basis @ (self._basis.T @ values)


def _of_steps(change: np.ndarray, left: _Left, action: np.ndarray, rows: np.ndarray) -> float:
    """How much of a change an action tells, at the delay at which it tells most."""
    seen = left.known
    return max(_told(change, left, _terms(action[rows - lag], seen)) for lag in range(_PAST + 1))


def _terms(action: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The actions (m, a), their squares, and their products with the observations."""
    terms = [action, action**2]
    if action.shape[1] * seen.shape[1] <= _WIDEST:
        terms.append((action[:, :, None] * seen[:, None, :]).reshape(len(action), -1))
    return np.column_stack(terms)


def _told(values: np.ndarray, left: _Left, more: np.ndarray) -> float:
    """The share of what is left of some value's variance that more columns explain, at most."""
    rest = left.of(values)
    rest = rest[:, rest.std(axis=0) > 1e-6]  # less is rounding
    if not rest.shape[1]:
        return 0.0
    return float((1.0 - unexplained(left.of(more), rest) / rest.var(axis=0)).max())
