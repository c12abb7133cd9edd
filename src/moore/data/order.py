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
_LONG = 10  # rows of an episode; of fewer, random rows of the whole log are looked at
_EPISODES = 50  # evenly chosen
_RESTS = 0.02  # of a column's deviation: noise around the levels of its episodes


def is_shuffled(log: "Log | Dataset", ends: np.ndarray) -> bool:
    """Whether neighbouring rows of the same episode have nothing to do with each other.

    In every dimension that changes, the next row must differ from the stored successor as much as a
    random row of the same episode, since episodes may lie far apart. If no successors are stored,
    it must differ so from the row itself, and a linear prediction from observation and action must
    not explain it, because a fast plant may do so. If there are fewer than 200 rows, or a value is
    not finite, or entries hardly leave the levels of their episodes, the answer is no.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    inside = ~ends[:-1]
    if log.next_obs is not None and log.successor_known is not None:
        inside &= log.successor_known[:-1].astype(bool, copy=False)
    rows, episode = _chosen(np.flatnonzero(inside), ends)
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
    spread, other = following.std(axis=0), following[_another(episode)]
    reached, following, other, action = (
        _about_means(part, episode) for part in (reached, following, other, action)
    )
    moving = following.std(axis=0) > _RESTS * spread
    if not moving.any():
        return False
    pairs, random = (np.abs(following - x).mean(axis=0) for x in (reached, other))
    if not (pairs >= _ALIKE * random)[moving].all():
        return False
    seen = np.column_stack([reached, action])
    return log.next_obs is not None or not foretold(seen, following[:, moving])


def _chosen(inside: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sample of the rows `inside` episodes, and from 0 the number of the episode of each."""
    episode = np.cumsum(ends)[inside]
    numbers, counts = np.unique(episode, return_counts=True)
    numbers = numbers[counts >= _LONG]
    if len(numbers):
        kept = numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), _EPISODES)).astype(int)]
        inside = inside[np.isin(episode, kept)]
    rows = inside[:: max(1, -(-len(inside) // _SAMPLE))]
    if not len(numbers):
        return rows, np.zeros(len(rows), int)
    return rows, np.unique(np.cumsum(ends)[rows], return_inverse=True)[1]


def _another(episode: np.ndarray) -> np.ndarray:
    """(m,) for each row of a sample a random one of the same episode; episodes are in order."""
    chance = np.random.default_rng(0).uniform(size=len(episode))
    return np.lexsort((chance, episode))


def _about_means(values: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """The values (m, k) less their means over the rows of the same episode."""
    counts = np.bincount(episode)
    means = [np.bincount(episode, weights=column) / counts for column in values.T]
    return values - np.stack(means, axis=1)[episode]


def foretold(seen: np.ndarray, following: np.ndarray) -> bool:
    """Whether `seen` (m, k) explains, linearly, a part of the variance of any column."""
    seen = seen - seen.mean(axis=0)
    spread = seen.std(axis=0)
    seen = np.column_stack([seen / np.where(spread > 0, spread, 1.0), np.ones(len(seen))])
    left = following - seen @ fitted_weights(seen, following)
    freedom = max(len(seen) - seen.shape[1], 1) / len(seen)
    explained = 1.0 - left.var(axis=0) / following.var(axis=0) / freedom
    return bool((explained > _FORETOLD).any())
