"""Whether the stored next states can be the true successors."""

import numpy as np

from moore.data.checks import blocks
from moore.data.log import Log, stored_successors


def summarize_successors(log: Log, ends: np.ndarray) -> dict:
    """Counts of suspicious next states, and the first row of each kind.

    A next state is `broken` if it is not the next row's observation inside an episode, `reset` if
    it is the next episode's first observation at the end of one, `unchanged` if it is the row's own
    observation, `unknown` if it is not stored, and `lost` if it is not stored in a row that is not
    terminal. NaN equals nothing.
    """
    terminated = log.terminated.astype(bool, copy=False)
    if log.next_obs is None:
        unknown = terminated
        kinds = {kind: np.zeros(log.size, bool) for kind in ("broken", "reset", "unchanged")}
    else:
        known = log.successor_known
        known = np.ones(log.size, bool) if known is None else known.astype(bool, copy=False)
        unknown = ~known
        kinds = _compare(log, ends, known)
    found = kinds | {"unknown": unknown, "lost": unknown & ~terminated}
    counts = {f"{kind}_successors": int(rows.sum()) for kind, rows in found.items()}
    first = {
        f"{kind}_successors": int(rows.argmax()) if rows.any() else None
        for kind, rows in found.items()
    }
    return {**counts, "first_rows": first, "successors_stored": log.next_obs is not None}


def _compare(log: Log, ends: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    successors = stored_successors(log)
    is_next, unchanged = np.zeros(log.size, bool), np.zeros(log.size, bool)
    for rows in blocks(log.size, 3 * log.obs[:1].nbytes):
        own, after = _float32(log.obs[rows]), _float32(successors[rows])
        unchanged[rows] = (own == after).all(axis=1)
        following = _float32(log.obs[rows.start + 1 : rows.stop + 1])
        is_next[rows.start : rows.start + len(following)] = (
            after[: len(following)] == following
        ).all(axis=1)
    inside = ~ends & known
    inside[-1] = False  # nothing follows the last row
    return {
        "broken": inside & ~is_next,
        "reset": ends & known & is_next,
        "unchanged": unchanged & known,
    }


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # overflow is reported as such
        return values.astype(np.float32, copy=False)
