"""Whether every episode was standardised by itself: a mean of 0 and a deviation of 1 in each.

Such numbers hold what was only known when the episode was over, and a live system cannot show them.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import numbers

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_EPISODES, _MOST = 5, 20
_SHORTEST, _LONGEST = 10, 20_000  # rows
_EXACT = 1e-3


@np.errstate(all="ignore")  # of values that are refused elsewhere
def standardised_by_episode(log: "Log | Dataset", ends: np.ndarray) -> list[int]:
    """The observation entries with mean 0 and deviation 1 in each of five episodes or more.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    last = np.flatnonzero(ends)
    first = np.append(0, last[:-1] + 1)[: len(last)]
    length = last - first + 1
    fit = np.flatnonzero((length >= _SHORTEST) & (length <= _LONGEST))
    if len(fit) < _EPISODES:
        return []
    # The last state of an episode is a row of its own in some logs, and a successor in others.
    standard = np.ones((2, log.obs.shape[1]), bool)
    for one in fit[np.linspace(0, len(fit) - 1, min(len(fit), _MOST)).astype(int)]:
        obs = numbers(log.obs, slice(first[one], last[one] + 1))
        standard[0] &= _is_standard(obs)
        if log.next_obs is None:
            standard[1] = False
        else:
            final = numbers(log.next_obs, slice(last[one], last[one] + 1))
            standard[1] &= _is_standard(np.concatenate([obs, final]))
        if not standard.any():
            return []
    return np.flatnonzero(standard.any(axis=0)).tolist()


def _is_standard(obs: np.ndarray) -> np.ndarray:
    """(d,) bool: columns (m, d) with mean 0 and deviation 1."""
    near = [np.abs(obs.std(axis=0, ddof=ddof) - 1) <= _EXACT for ddof in (0, 1)]
    return (np.abs(obs.mean(axis=0)) <= _EXACT) & (near[0] | near[1])
