"""Whether the outcomes of last steps look like first observations: of a system that resets itself.

Where an episode ends, such a system shows the first observation of the next one as the outcome of
the last step. Its info may say nothing of it, and if it is reset once more, even the next row does
not show it. But no step leads so far, and what is shown lies where episodes begin.
"""

from dataclasses import dataclass

import numpy as np

from moore.data.least_squares import fitted_weights

_SAMPLE = 5_000  # rows, evenly spaced
_FEW = 3  # ends, or first observations, say nothing
_FEW_STEPS = 20
_FAR = 3.0  # times the usual error of a linear prediction
_USUAL = 0.99  # of the steps
_SELDOM = 0.05  # of the rows inside episodes lie where episodes begin, if that is a small part
_MOST, _HALF = 0.8, 0.5  # of the ends, or of the entries that vary


# What is told of an environment, with `who`.
ITSELF = (
    "where an episode ends, {who} shows an observation with which episodes begin, and to which no "
    "step leads: it seems to reset itself. Let step() return the last observation of the episode; "
    "moore resets."
)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class SystemSteps:
    """Transitions: obs (n, obs), action (n, action) and next_obs (n, obs)."""

    obs: np.ndarray
    action: np.ndarray
    next_obs: np.ndarray

    def part(self, rows: np.ndarray) -> "SystemSteps":
        """The transitions `rows`, a mask or indices."""
        return SystemSteps(self.obs[rows], self.action[rows], self.next_obs[rows])

    @property
    def finite(self) -> bool:
        return all(np.isfinite(part).all() for part in (self.obs, self.action, self.next_obs))


@np.errstate(all="ignore")  # of values that are refused elsewhere
def resets_itself(steps: SystemSteps, terminated: np.ndarray, truncated: np.ndarray) -> bool:
    """Whether what comes after terminal rows, or after those that were cut, looks like a reset.

    Args:
        steps: rows in the order of time, (n, ...).
        terminated, truncated: (n,) bool.
    """
    ends = terminated | truncated
    starts = steps.obs[np.flatnonzero(ends[:-1]) + 1]
    inside = steps.part(_some(~ends))
    kinds = (steps.part(_some(kind)) for kind in (terminated, truncated & ~terminated))
    return any(look_like_resets(last, inside, starts) for last in kinds)


def look_like_resets(last: SystemSteps, inside: SystemSteps, starts: np.ndarray) -> bool:
    """Whether most last steps lead to where episodes begin, by a step that is none of the system.

    The steps are compared with the errors of a linear prediction. If episodes begin in a small part
    of all observations, one entry that goes too far is enough; if they begin anywhere, half of the
    last steps must go too far in half of the entries.

    Args:
        last: last steps of episodes that ended in one way, terminal or cut; at least 3.
        inside: steps inside episodes; at least 20.
        starts: (k, obs) first observations of episodes; at least 3.
    """
    few = len(last.obs) < _FEW or len(starts) < _FEW or len(inside.obs) < _FEW_STEPS
    if few or not (last.finite and inside.finite and np.isfinite(starts).all()):
        return False
    error, at_end = _errors(inside, last)
    usual = np.quantile(np.abs(error), _USUAL, axis=0)
    spread = inside.obs.std(axis=0, dtype=np.float64)
    varies = spread > 0
    if not varies.any():
        return False
    far = np.abs(at_end) > _FAR * np.maximum(usual, 1e-4 * spread)
    far = far[:, varies]
    low, high = starts.min(axis=0), starts.max(axis=0)
    margin = (0.5 + _FEW / len(starts)) * (high - low) + 1e-3 * spread  # few show little of it

    def among(reached: np.ndarray) -> np.ndarray:
        return ((reached >= low - margin) & (reached <= high + margin)).all(axis=1)

    if among(inside.next_obs).mean() < _SELDOM:
        return bool((among(last.next_obs) & far.any(axis=1)).mean() >= _MOST)
    return bool((among(last.next_obs) & (far.mean(axis=1) >= _HALF)).mean() >= _HALF)


def _some(mask: np.ndarray) -> np.ndarray:
    rows = np.flatnonzero(mask)
    return rows[:: max(1, -(-len(rows) // _SAMPLE))]


def _errors(inside: SystemSteps, last: SystemSteps) -> tuple[np.ndarray, np.ndarray]:
    """What a linear prediction of changes misses, inside episodes (n, obs) and at their ends."""
    middle, size = inside.obs.mean(axis=0), inside.obs.std(axis=0)
    size = np.where(size > 0, size, 1.0)

    def known(steps: SystemSteps) -> np.ndarray:
        return np.column_stack([(steps.obs - middle) / size, steps.action, np.ones(len(steps.obs))])

    change, at_end = (s.next_obs.astype(np.float64) - s.obs for s in (inside, last))
    if len(change) < 3 * known(inside).shape[1]:  # too few to fit
        return change, at_end
    weights = fitted_weights(known(inside), change)
    return change - known(inside) @ weights, at_end - known(last) @ weights
