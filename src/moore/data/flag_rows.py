"""Flags of ends that stand a row before or after the row that ends an episode."""

import numpy as np

from moore.data.log import Log

_FEW_ENDS, _FEW_ROWS = 5, 100  # say nothing
_FAR = 1.5  # times what 99% of the steps keep to
_MOST, _HARDLY, _NEARLY_ALL = 0.6, 0.2, 0.8
_NEARER = 0.5  # to the first row than what would be a first row, if the flags had slipped


def slipped_flags(log: Log, ends: np.ndarray) -> dict[str, int]:
    """How many ends seem to be flagged one row early or late, as {"early": n} or {"late": n}.

    The observations jump where an episode ends. If they do not after most flagged rows, but after
    the rows that follow them, or that come before them, the flags are not in their rows. Terminal
    and other ends are looked at together and each for themselves. A column that stands still within
    episodes, such as a setpoint, jumps where it changes.

    Some systems jump in the first step of every episode, or in the last. There the rows after the
    flags are nearer to the first row of the log, which is known to begin an episode.

    Args:
        log: a log without stored successors.
        ends: (m,) bool, flags of its first rows.
    """
    m = len(ends)
    obs = log.obs[:m].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        step = np.abs(np.diff(obs, axis=0))
    beside = np.append(ends[1:], False) | ends | np.append(False, ends[:-1])
    inside = ~beside[:-1]
    if inside.sum() < _FEW_ROWS or not np.isfinite(step).all():
        return {}
    usual = np.quantile(step[inside], 0.99, axis=0)
    moving = usual > 0
    if not moving.any():
        return {}
    size = (step[:, moving] / usual[moving]).max(axis=1)
    far = size > _FAR * np.quantile(size[inside], 0.99)
    far |= (step[:, ~moving] > 0).any(axis=1)
    away = np.abs(obs - obs[0])[:, moving] / usual[moving]
    terminated = np.asarray(log.terminated).reshape(-1)[:m].astype(bool) & ends
    for kind in (ends, terminated, ends & ~terminated):
        if found := _slipped(kind, ends, far, away.max(axis=1)):
            return found
    return {}


def _slipped(
    kind: np.ndarray, ends: np.ndarray, far: np.ndarray, away: np.ndarray
) -> dict[str, int]:
    """See `slipped_flags`; `away`: (m,) how far each row is from the first one."""
    at = np.flatnonzero(kind[1:-2]) + 1
    at = at[~ends[at - 1] & ~ends[at + 1]]
    if len(at) < _FEW_ENDS or far[at].mean() > _HARDLY:
        return {}
    for name, rows in (("early", at + 1), ("late", at - 1)):
        begin_there = np.mean(away[at + 1] < _NEARER * away[rows + 1])
        if (alone := far[rows] & ~far[at]).mean() >= _MOST and begin_there < _NEARLY_ALL:
            return {name: int(alone.sum())}
    return {}
