"""Whether entries of the observations stand a row late or early against all others.

In a log of a state, the row before tells nothing of the next observation that the row itself does
not tell. Where one entry is a row late, the row itself lacks what this entry is by now, and the row
before tells it. Move the entry back, and the row before tells nothing again. What both rows tell
together is the same either way, so that states which are not seen, noise of sensors and laws which
are not linear stay as they are. All is linear regression, of the moments of a sample of rows.

Two scores are compared, in logarithms of the volume of what is missed: that of the next observation
and that of it together with the next action. A set-point, or the answer of an exact controller,
betrays entries of the next row in the first one, and not in the second.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import FEW, numbers, thinned

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 4000  # rows, at random: a controller or a sensor may do something every few rows
_ROWS_TO_COLUMN = 10
_FLOOR = 1e-4  # of a change's variance: less is no noise of a system
_GAIN = 0.5  # of either score, at least, by each move, and by the row before if nothing is moved
_CLEAN = 15.0  # times what the row before still tells then; or
_LARGE, _OF_LEFT, _EACH = 4.0, 0.7, 2.0  # so large, and times that, and by each move
_SAME = 0.3  # of the gain, by which both rows together may tell more or less after the move
_TIE = 0.7  # of the gain: what may as well have been moved
_LITTLE, _MORE = 0.1, 1.1  # gain of a first entry, and times the gain, by one more
_WIDEST, _MOST = 40, 12  # entries, and those that are late together
_FARTHEST = 2  # rows from a row


@np.errstate(all="ignore")  # of values that are refused elsewhere
def late_columns(log: "Log | Dataset", ends: np.ndarray) -> str:
    """Which entries of the observations stand a row late or early, in words; empty if none does.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows = _rows(log, ends)
    if len(rows) < FEW:
        return ""
    lags = np.arange(-_FARTHEST, _FARTHEST + 1)
    obs = np.stack([numbers(log.obs, rows + lag) for lag in lags], axis=1)  # (m, lag, entry)
    action = np.stack([numbers(log.action, rows + lag) for lag in lags], axis=1)
    change = (obs[:, _FARTHEST + 1] - obs[:, _FARTHEST]).std(axis=0)
    dims, acts = np.flatnonzero(change > 0), np.flatnonzero(action.std(axis=(0, 1)) > 0)
    size = 2 * (len(dims) + len(acts))
    if not 2 <= len(dims) <= _WIDEST or len(rows) < _ROWS_TO_COLUMN * size:
        return ""
    obs = (obs / change)[:, :, dims].reshape(len(rows), -1)
    action = (action / action.std(axis=(0, 1)))[:, :, acts].reshape(len(rows), -1)
    columns = np.column_stack([obs, action])
    if not np.isfinite(columns).all():
        return ""
    columns = columns - columns.mean(axis=0)
    found = _search(_Rows(columns.T @ columns / len(rows), len(rows), len(dims), len(acts)))
    return ", or ".join(
        f"observation{'s' if len(which) > 1 else ''} {', '.join(str(dims[i]) for i in which)} "
        f"a row {'late' if way > 0 else 'early'}"
        for which, way in found
    )


def _rows(log: "Log | Dataset", ends: np.ndarray) -> np.ndarray:
    """A sample of the rows with two rows of their episode on either side, each the next one's."""
    whole = np.append(0, np.cumsum(ends[:-1]))
    rows = np.arange(_FARTHEST, len(ends) - _FARTHEST)
    rows = thinned(rows[whole[rows - _FARTHEST] == whole[rows + _FARTHEST]], _SAMPLE)
    if log.next_obs is not None:
        for lag in range(-_FARTHEST, _FARTHEST):
            here, there = log.next_obs[rows + lag], log.obs[rows + lag + 1]
            rows = rows[np.isclose(here, there, rtol=1e-4, atol=1e-6).all(axis=1)]
    return rows


@dataclass(frozen=True, eq=False)
class _Rows:
    """The moments of rows about a row: observations at five lags, then actions at five."""

    moments: np.ndarray
    count: int
    dims: int
    acts: int

    def missed(self, move: np.ndarray, acts: int, *, before: bool) -> np.ndarray:
        """(2,) how much of the next observation, and of it and the next action, is not foretold.

        Args:
            move: (obs,) rows by which each entry is moved forward: 1 for one that is late.
            acts: the same of the actions.
            before: whether the row before is known, too.
        """
        now, following = self._at(move, acts, 0), self._at(move, acts, 1)
        known = np.append(now, self._at(move, acts, -1)) if before else now
        m = self.moments
        inner, cross = m[np.ix_(known, known)], m[np.ix_(known, following)]
        size = np.sqrt(np.maximum(np.diag(inner), 1e-300))
        scaled = inner / np.outer(size, size) + 1e-9 * np.eye(len(known))
        weights = np.linalg.solve(scaled, cross / size[:, None])
        left = m[np.ix_(following, following)] - weights.T @ (cross / size[:, None])
        left = left / (1 - len(known) / self.count) + _FLOOR * np.eye(len(left))
        parts = (left[: self.dims, : self.dims], left)
        return np.array([np.linalg.slogdet(part)[1] for part in parts])

    def _at(self, move: np.ndarray, acts: int, lag: int) -> np.ndarray:
        """The columns of all entries, then of all actions, so many rows later."""
        obs = (move + lag + _FARTHEST) * self.dims + np.arange(self.dims)
        first = (2 * _FARTHEST + 1) * self.dims + (acts + lag + _FARTHEST) * self.acts
        return np.append(obs, first + np.arange(self.acts))


Found = tuple[tuple[int, ...], int]  # entries, and 1 if they are late, -1 if they are early


def _search(rows: _Rows) -> list[Found]:
    """The entries that seem to have been moved, or the two sets one of which may have been."""
    still = np.zeros(rows.dims, int)
    alone, both = (rows.missed(still, 0, before=before) for before in (False, True))
    if (alone - both)[0] < _GAIN:
        return []
    found = _candidates(rows, alone)
    best = max(found, key=lambda one: found[one])
    if not _explains(rows, best, alone, both):
        return []
    actions = [alone - rows.missed(still, way, before=False) for way in (1, -1)]
    if max(gain.min() for gain in actions) >= _TIE * found[best]:
        return []  # `moore.findings.shifts` looks at them
    alike = [one for one in found if found[one] >= _TIE * found[best]]
    # Of what is late together a part explains a part.
    others = [one for one in alike if one[1] != best[1] or not set(one[0]) < set(best[0])]
    others.remove(best)
    if not others:
        return [best]
    # What is late, or what all others are, who then are early; in either way, it is neither.
    only = len(others) == 1 and others[0][1] != best[1] and not set(others[0][0]) & set(best[0])
    return [best, *others] if only else []


def _candidates(rows: _Rows, alone: np.ndarray) -> dict[Found, float]:
    """What either score gains at least by moving an entry, or several that belong together."""

    def gain(which: tuple[int, ...], way: int) -> float:
        move = np.zeros(rows.dims, int)
        move[list(which)] = way
        return float((alone - rows.missed(move, 0, before=False)).min())

    found: dict[Found, float] = {}
    for way in (1, -1):
        found |= {((at,), way): gain((at,), way) for at in range(rows.dims)}
        best = max((which for which, to in found if to == way), key=lambda w: found[w, way])
        while found[best, way] >= _LITTLE and len(best) < min(rows.dims // 2, _MOST):
            wider = [tuple(sorted((*best, at))) for at in range(rows.dims) if at not in best]
            gains = [gain(which, way) for which in wider]
            if max(gains) < _MORE * found[best, way]:
                break
            best = wider[int(np.argmax(gains))]
            found[best, way] = max(gains)
    return found


def _explains(rows: _Rows, found: Found, alone: np.ndarray, both: np.ndarray) -> bool:
    """Whether the move makes the row before tell little, and both rows together tell the same."""
    move = np.zeros(rows.dims, int)
    move[list(found[0])] = found[1]
    moved, and_before = (rows.missed(move, 0, before=before) for before in (False, True))
    gain, left, other = alone - moved, moved - and_before, both - and_before
    if gain.min() < _GAIN * len(found[0]) or abs(other[1]) > _SAME * gain[1]:
        return False
    large = gain.min() >= max(_LARGE, _EACH * len(found[0])) and gain[0] >= _OF_LEFT * left[0]
    return bool(gain[0] >= _CLEAN * left[0] or large)
