"""Compares the terminal flags of a log with the environment's own termination rule."""

import numpy as np

from moore.data.checks import blocks
from moore.data.log import Log
from moore.envs.termination import known_rule, never


def check_flags(log: Log, terminated: np.ndarray, ends: np.ndarray, env_id: str | None) -> dict:
    """Counts the rows whose flag contradicts the rule, and finds the first of each kind.

    `flagged_healthy` are terminal rows at which the rule does not end the episode,
    `unhealthy_unflagged` rows at which it does although they are not terminal. Only rows with a
    known, finite successor are checked; `rule_checked` is their number, or 0 if no rule is known.

    Args:
        log: the rows, with the environment's default observations.
        terminated: (n,) bool.
        ends: (n,) bool, last rows of the episodes.
        env_id: Gymnasium id of the environment; may be None.
    """
    flagged, unflagged, checked = [], [], 0
    rule = known_rule(env_id)
    for block in blocks(0 if rule is None else log.size, log.obs[:1].nbytes):
        assert rule is not None  # without it there are no blocks
        rows = np.arange(block.start, block.stop)
        next_obs, usable = _successors(log, rows, ends)
        usable |= (rule is never) & terminated[rows]  # whatever follows, the flag is wrong
        across = next_obs.T
        verdict = np.asarray(rule(across, across[:0], across))
        flagged.append(rows[usable & terminated[rows] & ~verdict])
        unflagged.append(rows[usable & ~terminated[rows] & verdict])
        checked += int(usable.sum())
    both = {"flagged_healthy": flagged, "unhealthy_unflagged": unflagged}
    found = {key: np.concatenate([np.zeros(0, int), *parts]) for key, parts in both.items()}
    return {
        "rule_checked": checked,
        **{key: len(rows) for key, rows in found.items()},
        "first_rows": {key: int(rows[0]) if len(rows) else None for key, rows in found.items()},
    }


def _successors(log: Log, rows: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Next observations of consecutive rows, float32, and which of them are known and finite."""
    if log.next_obs is None:
        after = log.obs[np.minimum(rows + 1, log.size - 1)]
        known = ~ends[rows] & (rows < log.size - 1)
    else:
        after = log.next_obs[rows[0] : rows[-1] + 1]
        known = np.ones(len(rows), bool)
        if log.successor_known is not None:
            known = log.successor_known[rows] != 0
    with np.errstate(over="ignore"):  # what overflows is not finite, and so left out
        after = after.astype(np.float32)
    usable = known & np.isfinite(after).all(axis=1)
    return np.where(usable[:, None], after, 0), usable
