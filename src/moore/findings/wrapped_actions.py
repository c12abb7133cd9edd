"""Actions that overflowed their integer type: 130 per cent is stored as -126 in eight bits.

Such a column fills its type from end to end, and a wrapped action lies within the bounds, so
nothing but the plant's answer tells it. The law of the steps is a linear regression on rows whose
action is far from both ends; near the ends it is asked which action explains the step, the logged
one or the one that is a turn away.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.least_squares import fitted_weights
from moore.data.log import Log
from moore.findings.row_fits import numbers, standard, successors, thinned
from moore.findings.two_parts import usable_rows

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_VALUES = (256, 65536)  # of the types
_FILLED = 0.98  # of the type
_SAMPLE = 6000  # rows
_NEAR = 0.25  # of the type: near an end
_FEW, _FEW_TO_FIT = 10, 200  # rows say nothing
_WHOLE = 1e-3  # of a unit
_TRIMS, _MOST = 6, 0.75  # fits, and rows that follow the law
_FAR = 25.0  # variances of the noise
_BETTER, _NOISE = 0.1, 12.0  # of what the logged action misses may be left, and variances
_SHARE = 0.1  # of the rows near the ends
_MOST_FAR = 0.6  # of the rows near the ends that the logged action does not explain
_CHANCE = 10.0  # times as many rows as in the middle of the range


@np.errstate(all="ignore")  # of values that are refused elsewhere
def wrapped_actions(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Which action entries seem to have overflowed, in words; empty if none has.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    found = []
    sample = np.asarray(log.action[:: max(1, len(log.action) // _SAMPLE)], np.float64)
    whole = {dim: _turn(sample[:, dim], log.action, dim) for dim in range(sample.shape[1])}
    if not any(whole.values()):
        return ""
    rows = thinned(np.flatnonzero(usable_rows(log, ends)), _SAMPLE)
    obs, action = numbers(log.obs, rows), numbers(log.action, rows)
    change = successors(log, rows) - obs
    if not all(np.isfinite(part).all() for part in (obs, action, change)):
        return ""
    change = standard(change)
    for dim in (dim for dim, turn in whole.items() if turn):
        if count := _explained(obs, action, change, dim, whole[dim]):
            found.append(f"{dim} (in {count:,} of {len(rows):,} rows that were looked at)")
    return ", ".join(found)


def _turn(sample: np.ndarray, actions: np.ndarray, dim: int) -> float:
    """What is added to an entry that overflows, if it fills an integer type; 0 if it fills none."""
    values = np.unique(sample)
    if len(values) < _FEW or not np.isfinite(values).all():
        return 0.0
    unit = float(np.diff(values).min())
    places = (values - values[0]) / unit
    if np.abs(places - np.rint(places)).max() > _WHOLE:
        return 0.0
    span = (float(actions[:, dim].max()) - float(actions[:, dim].min())) / unit
    return next((n * unit for n in _VALUES if _FILLED * n <= span + 1 <= n + _WHOLE), 0.0)


def _explained(
    obs: np.ndarray, action: np.ndarray, change: np.ndarray, dim: int, turn: float
) -> int:
    """In how many rows the action that is a turn away explains the step, and the logged one not."""
    column = action[:, dim]
    middle = (column.max() + column.min()) / 2
    inner = np.abs(column - middle) < (0.5 - _NEAR) * turn
    if min(inner.sum(), (~inner).sum()) < _FEW_TO_FIT or not change.shape[1]:
        return 0
    away = action.copy()
    away[:, dim] += np.where(column < middle, turn, -turn)
    seen, other = (np.column_stack([obs, part, np.ones(len(obs))]) for part in (action, away))
    weights, noise = _law(seen[inner], change[inner])
    missed, left = (((change - x @ weights) ** 2 / noise).sum(axis=1) for x in (seen, other))
    far = missed > _FAR * change.shape[1]
    wrapped = far & (left < _BETTER * missed) & (left < _NOISE * change.shape[1])
    count, chance = int(wrapped[~inner].sum()), float(wrapped[inner].mean())
    # A law that is not linear misses rows near the ends, too, and no other action explains most.
    near = int((~inner).sum())
    least = max(_FEW, _CHANCE * chance * near, _MOST_FAR * far[~inner].sum(), _SHARE * near)
    return count if count >= least else 0


def _law(seen: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights (k, dims) that most rows follow, and the variances (dims,) of what they miss.

    Actions that are far beyond the type, or another entry that overflows, spoil some of the rows.
    """
    kept = np.ones(len(seen), bool)
    for _ in range(_TRIMS):
        weights = fitted_weights(seen[kept], change[kept])
        missed = (change - seen @ weights) ** 2
        noise = np.maximum(missed[kept].mean(axis=0), 1e-12)
        off = (missed / noise).sum(axis=1)
        kept = off <= np.quantile(off, _MOST)
    return weights, noise
