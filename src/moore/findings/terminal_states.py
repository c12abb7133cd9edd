"""Whether anything in a log tells its terminal rows from the others.

Where every end is flagged terminal, also those at which a recording was cut, the flags teach that
nothing can be earned there. Time-outs of one length are found by `moore.findings.end_rows`. Those
of any length come in states, and with rewards, like all others.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.row_fits import numbers, standard, successors, with_products

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_FEW = 20  # terminal rows say nothing
_SAMPLE = 2000  # rows of either kind
_OF_ENDS = 0.9  # are terminal where a log does not tell time-outs apart
_ALIKE = 0.7  # of the pairs of a terminal and another row that a fit puts in order
_RIDGE = 1e-2


def terminals_like_others(
    log: "Log | Dataset", terminated: np.ndarray, ends: np.ndarray, *, padded: bool = False
) -> bool:
    """Whether neither states nor rewards tell terminal rows, though nearly all ends are terminal.

    A quadratic fit to one half of the rows puts the other half in order; if it does so hardly
    better than chance, nothing tells them.

    Args:
        log: the rows.
        terminated: (n,) bool.
        ends: (n,) bool, last rows of the episodes.
        padded: whether the next states of terminal rows are none, so that the states are compared.
    """
    here, there = np.flatnonzero(terminated), np.flatnonzero(~ends)
    if len(here) < _FEW or len(there) < 2 * _FEW or len(here) < _OF_ENDS * ends.sum():
        return False
    rows = [part[:: max(1, -(-len(part) // _SAMPLE))] for part in (here, there)]
    reward = np.asarray(log.reward).reshape(len(ends), -1)
    known = log.successor_known
    if log.next_obs is None or padded or (known is not None and not _all(known, rows[0])):
        states = [numbers(log.obs, part) for part in rows]
    else:
        states = [successors(log, part) for part in rows]
    columns = [np.column_stack([s, numbers(reward, part)]) for s, part in
               zip(states, rows, strict=True)]  # fmt: skip
    seen = np.concatenate(columns)
    if not np.isfinite(seen).all():
        return False
    seen = with_products(standard(seen))
    return _in_order(seen, len(rows[0])) < _ALIKE


def _all(known: np.ndarray, rows: np.ndarray) -> bool:
    return bool(np.asarray(known).reshape(-1)[rows].all())


def _in_order(seen: np.ndarray, terminal: int) -> float:
    """The share of pairs of a terminal and another row, of rows not fitted to, in order."""
    of = np.append(np.ones(terminal), np.zeros(len(seen) - terminal))
    weight = np.where(of == 1, len(of) / terminal, len(of) / (len(of) - terminal))
    half = np.arange(len(of)) % 2 == 0
    shares = []
    for fitted in (half, ~half):
        x, y = np.column_stack([seen, np.ones(len(seen))]), of
        products = (x[fitted] * weight[fitted, None]).T
        left = products @ x[fitted]
        left += _RIDGE * np.trace(left) / len(left) * np.eye(len(left))
        score = x[~fitted] @ np.linalg.solve(left, products @ y[fitted])
        order = np.argsort(np.argsort(score, kind="stable"), kind="stable") + 1.0
        ones = y[~fitted] == 1
        n, m = ones.sum(), (~ones).sum()
        shares.append((order[ones].sum() - n * (n + 1) / 2) / (n * m))
    return float(np.mean(shares))
