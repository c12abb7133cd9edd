"""Actions of another row, where actions change little from row to row.

Where actions are held, filtered, or follow slow observations, a neighbour's action tells nearly
what the own one does. So it is asked what a step tells of an action beyond what the neighbours'
actions tell of it: an action that moved the system is told by its step all the same, and one that
did not is no longer.
"""

import numpy as np

from moore.data.least_squares import fitted_weights
from moore.findings.row_fits import unexplained

_TELLS = 0.3  # share of what is open of the action
_LITTLE = 0.25  # of it, by what did not move the system
_NOTHING, _SOMETHING = 0.05, 0.02  # of an action, given its neighbour, and not given it
_SAME_WAY = 0.7  # correlation of effects
_OPEN = 1e-4  # of an action's variance: of less nothing can be told


def slow_actions(obs: np.ndarray, after: np.ndarray, actions: np.ndarray) -> int:
    """The row, counted from an action's own, in which its effect shows: 1 or -1; 0 for its own.

    Args:
        obs, after: (m, d) and (m, e) observations of rows and of their next rows, in deviations.
        actions: (m, lags, dim) actions of the rows up to the next one, the last of the lags.
    """
    next_, own, before, older, oldest = (actions[:, -lag] for lag in range(1, 6))

    def told(action: np.ndarray, *known: np.ndarray) -> float:
        left = unexplained(np.column_stack([obs, after, *known]), action)
        # A controller sees an observation before it acts: that tells of no effect.
        either = [unexplained(np.column_stack([seen, *known]), action) for seen in (obs, after)]
        clear = np.minimum(*either) > _OPEN * action.var(axis=0)
        shares = 1.0 - left / np.where(clear, np.minimum(*either), 1.0)
        return float(np.where(clear, shares, 0.0).max())

    of_next = told(next_, own)
    if of_next >= _TELLS and told(own, next_) <= min(_LITTLE * of_next, _NOTHING):
        # A controller of changes makes the next action of this step, and against its course.
        alike = _alike(_effect(obs, after, own), _effect(obs, after, next_))
        return -1 if alike >= _SAME_WAY and told(own, before) > _SOMETHING else 0
    of_before = told(before, own, older)
    if of_before < _TELLS or told(own, before) > _LITTLE * of_before:
        return 0
    return 1 if told(older, before, oldest) <= _LITTLE * of_before else 0


def _effect(obs: np.ndarray, after: np.ndarray, action: np.ndarray) -> np.ndarray:
    """(dim, e) by how much an action seems to move the observations."""
    spread = action / action.std(axis=0)
    seen = np.column_stack([obs, spread, np.ones(len(obs))])
    return fitted_weights(seen, after)[obs.shape[1] : -1]


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / max(size, 1e-300))
