"""Whether the rows of a log stand in the order of time.

Without stored successors the next row is taken for the successor, so in a shuffled log every
transition would be wrong. With stored ones the transitions are right, but episodes mean nothing.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.least_squares import fitted_weights
from moore.data.log import Log

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 5_000  # rows, evenly spaced
_FEW = 200  # rows do not show whether they are shuffled
_ALIKE = 0.9  # of the difference of two random rows
_FORETOLD = 0.1  # share of the variance


def is_shuffled(log: "Log | Dataset", ends: np.ndarray) -> bool:
    """Whether neighbouring rows of the same episode have nothing to do with each other.

    In every dimension that changes, the next row must differ from the stored successor as much as a
    random row. If no successors are stored, it must differ so from the row itself, and a linear
    prediction from observation and action must not explain it, because a fast plant may do so. If
    there are fewer than 200 rows, or a value is not finite, the answer is no.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    inside = ~ends[:-1]
    if log.next_obs is not None and log.successor_known is not None:
        inside &= log.successor_known[:-1].astype(bool, copy=False)
    rows = np.flatnonzero(inside)
    rows = rows[:: max(1, -(-len(rows) // _SAMPLE))]
    if len(rows) < _FEW:
        return False
    with np.errstate(invalid="ignore"):  # NaN that signals
        reached = (log.obs if log.next_obs is None else log.next_obs)[rows].astype(np.float64)
        following = log.obs[rows + 1].astype(np.float64)
        action = log.action[rows].astype(np.float64)
    if not all(np.isfinite(part).all() for part in (reached, following, action)):
        return False
    size = np.abs(following).max(axis=0)
    size = np.where(size > 0, size, 1.0)  # squares of the largest numbers do not fit
    with np.errstate(over="ignore"):
        reached, following = reached / size, following / size
    if not np.isfinite(reached).all():
        return False
    moving = following.std(axis=0) > 0
    if not moving.any() or not _apart(reached[:, moving], following[:, moving]):
        return False
    seen = np.column_stack([reached, action])
    return log.next_obs is not None or not foretold(seen, following[:, moving])


def _apart(reached: np.ndarray, following: np.ndarray) -> bool:
    """Whether in every column the entries of a row differ as much as those of random rows."""
    other = np.random.default_rng(0).permutation(following)
    pairs, random = (np.abs(following - x).mean(axis=0) for x in (reached, other))
    return bool((pairs >= _ALIKE * random).all())


def foretold(seen: np.ndarray, following: np.ndarray) -> bool:
    """Whether `seen` (m, k) explains, linearly, a part of the variance of any column."""
    seen = seen - seen.mean(axis=0)
    spread = seen.std(axis=0)
    seen = np.column_stack([seen / np.where(spread > 0, spread, 1.0), np.ones(len(seen))])
    left = following - seen @ fitted_weights(seen, following)
    freedom = max(len(seen) - seen.shape[1], 1) / len(seen)
    explained = 1.0 - left.var(axis=0) / following.var(axis=0) / freedom
    return bool((explained > _FORETOLD).any())
