"""Whether rows are left out again and again, so that some steps are longer than the others.

A table without times may have been thinned out: every tenth row is missing. Then the next row is
taken for the successor, and every ninth step is as long as two. Rows are counted through the log
and through each episode; where the rows of one count follow another law than all others, and theirs
is that of two or three steps, rows are missing. The first rows of an episode are left aside, where
a controller begins.

The law is that of plant and controller together, the change of the observations on the
observations, since nobody knows the actions that are missing. A controller that acts every few rows
makes another such law, too; so the rows must also miss the law of the plant, with their actions.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.log import Log
from moore.findings.law_parts import LogParts, joined, sums_of
from moore.findings.mixed_laws import longer_steps
from moore.findings.row_fits import FEW, thinned
from moore.findings.two_parts import moving, rows_in, usable_rows

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_SAMPLE = 6000  # rows, drawn at random: evenly spaced ones would have one count only
_LONGEST = 20  # rows between two that are missing
_ROWS, _ROWS_TO_COLUMN = 50, 3  # of a count
_CLEAR, _MORE = 8.0, 0.15  # standard errors, and a share, by which a count misses more
_MISSING = {2: "one seems to be missing", 3: "two seem to be missing"}
_APART = 0.1  # the least score of rows of another law
_INNER = 0.3  # of this score, among the others
_WITH_ACTIONS = 0.05  # of this score, at least, by the law of all rows and their actions


@np.errstate(all="ignore")  # of values that are refused elsewhere
def left_out(log: "Log | Dataset", ends: np.ndarray) -> str:
    """After how many rows one is missing, again and again, in words; empty if none seems to be.

    Args:
        log: the rows.
        ends: (n,) bool, last rows of the episodes.
    """
    rows, counts = _rows(log, ends)
    columns = rows_in(log, rows) if len(rows) >= FEW else None
    if columns is None:
        return ""
    dims, acts = moving(columns)
    if not len(dims):
        return ""
    obs, action, change = columns[0][:, dims], columns[1][:, acts], columns[2][:, dims]
    every, count = _conspicuous(obs, change, counts)
    if not every:
        return ""
    alone, known = (
        LogParts([sums_of(part[count == at]) for at in range(every)], part.shape[1] - len(dims))
        for part in (_centred(obs, change), _centred(obs, action, change))
    )
    times = _longer(alone, known, every, len(dims))
    return f"after every {every} rows {_MISSING[times]}" if times else ""


def _rows(log: "Log | Dataset", ends: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """A sample of rows, and their numbers in the log and in their episodes."""
    rows = np.flatnonzero(usable_rows(log, ends))
    first = np.append(0, np.flatnonzero(ends[:-1]) + 1)
    step = rows - first[np.searchsorted(first, rows, side="right") - 1]
    settled = np.flatnonzero(step >= min(_LONGEST, len(ends) // len(first) // 4))
    settled = thinned(settled, _SAMPLE)
    return rows[settled], (rows[settled], step[settled])


def _centred(*parts: np.ndarray) -> np.ndarray:
    columns = np.column_stack(parts)
    return columns - columns.mean(axis=0)


def _conspicuous(
    obs: np.ndarray, change: np.ndarray, counts: tuple[np.ndarray, ...]
) -> tuple[int, np.ndarray]:
    """The period at which one count misses the law most, and all counts from this one on; or 0."""
    dims, columns = obs.shape[1], _centred(obs, change)
    law = joined([sums_of(columns)], dims).law
    missed = (columns[:, dims:] - columns[:, :dims] @ law) ** 2
    missed = (missed / np.maximum(missed.mean(axis=0), 1e-300)).mean(axis=1)
    best, found = _CLEAR, (0, counts[0])
    for count in counts:
        for every in range(2, _LONGEST + 1):
            rows = np.bincount(count % every, minlength=every)
            if rows.min() < max(_ROWS, _ROWS_TO_COLUMN * dims):
                continue
            total = np.bincount(count % every, missed, every)
            at = int((total / rows).argmax())
            rest = (total.sum() - total[at]) / (rows.sum() - rows[at])
            more = total[at] / rows[at] / max(rest, 1e-300) - 1
            if more > _MORE and more * np.sqrt(rows[at]) > best:
                best, found = more * np.sqrt(rows[at]), (every, (count - at) % every)
    return found


def _longer(alone: LogParts, known: LogParts, every: int, dims: int) -> int:
    """How many steps make one of the rows of the first count; 0 if all steps are alike.

    Args:
        alone, known: the rows of each count, without and with their actions.
        every: number of counts.
        dims: entries of an observation.
    """
    counts = np.arange(every)
    for at in (0, 1) if every == 2 else (0,):  # of two counts either may be the one
        rest, this = counts != at, counts == at
        law = alone.joined(rest).law
        before, inner = alone.excess(this, law), alone.excess(rest, law)
        with_actions = known.excess(this, known.joined(counts >= 0).law)
        if before < _APART or inner > _INNER * before or with_actions < _WITH_ACTIONS * before:
            continue
        times = longer_steps(alone, rest, this, dims)
        if times in _MISSING:
            return times
    return 0
