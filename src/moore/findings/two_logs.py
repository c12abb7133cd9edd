"""What is otherwise in another log of the same system: columns, the interval, rewards.

The laws of the two logs are compared as those of two parts of a log are (`two_parts`, `mixed_laws`
and `two_rewards` in this room). A log that was made later, or exported by another program, has as
many numbers in a row, and nothing else would tell that they mean others.
"""

from typing import TYPE_CHECKING

import numpy as np

from moore.data.intervals import other_interval
from moore.findings.law_parts import LogParts, sums_of
from moore.findings.mixed_laws import follow_another, longer_steps
from moore.findings.row_fits import numbers, standard, successors, thinned, with_products
from moore.findings.two_parts import explained, moving, rows_in, sample_of
from moore.findings.two_rewards import rewards_of_parts

if TYPE_CHECKING:
    from moore.data.dataset import Dataset

_FEW = 100  # rows of one of the logs
_ROWS_TO_COLUMN = 12
_PIECES = 6  # of either log
_REWARDS = 4000  # rows of either log


@np.errstate(all="ignore")  # of values that are refused elsewhere
def changed_between(log: "Dataset", other: "Dataset") -> str:
    """Which column of another log has another sign, size or place, or what else, in words.

    What else is the time between two rows, or the sign or size of the rewards. It is empty if
    nothing is otherwise, and if one of the logs has few rows for its columns.

    Args:
        log: a log.
        other: another one of the same system.
    """
    interval = other_interval(log.metadata, other.metadata)
    law = f"there is {interval}" if interval else _other_law(log, other)
    found = (law, _other_rewards(log, other))
    return "; ".join(text for text in found if text)


def _other_law(log: "Dataset", other: "Dataset") -> str:
    both = []
    for one in (log, other):
        rows = sample_of(one, one.terminated | one.truncated)
        columns = rows_in(one, rows) if len(rows) >= _FEW else None
        if columns is None:
            return ""
        both.append(columns)
    (dims, acts), (also, too) = (moving(columns) for columns in both)
    dims, acts = np.intersect1d(dims, also), np.intersect1d(acts, too)
    known = len(dims) + len(acts)
    if not len(dims) or min(len(c[0]) for c in both) < _ROWS_TO_COLUMN * (known + len(dims)):
        return ""
    parts = [np.column_stack([c[0][:, dims], c[1][:, acts], c[2][:, dims]]) for c in both]
    centred = [part - part.mean(axis=0) for part in parts]
    sums = [sums_of(piece) for part in centred for piece in np.array_split(part, _PIECES)]
    pieces, of_other = LogParts(sums, known), np.arange(2 * _PIECES) >= _PIECES
    words = explained(pieces, ~of_other, of_other, dims, acts)
    if words or not follow_another(pieces, of_other):
        return words
    if times := longer_steps(pieces, ~of_other, of_other, len(dims)):
        return f"a step is as long as {times}, as if rows were logged less often"
    if times := longer_steps(pieces, of_other, ~of_other, len(dims)):
        return f"{times} steps are as long as one, as if rows were logged more often"
    return ""


def _other_rewards(log: "Dataset", other: "Dataset") -> str:
    """The sign or size of the rewards of the other log, where they follow the law of this one."""
    columns, values = [], []
    for one in (log, other):
        rows = thinned(sample_of(one, one.terminated | one.truncated), _REWARDS)
        known = (numbers(one.obs, rows), numbers(one.action, rows), successors(one, rows))
        columns.append(np.column_stack(known))
        values.append(numbers(one.reward, rows))
    first, second = map(len, values)
    seen = np.vstack(columns)
    if min(first, second) < _FEW or not np.isfinite(seen).all():
        return ""
    seen, reward = standard(seen), np.concatenate(values)
    changed = rewards_of_parts(seen, with_products(seen), reward, stop=first, begin=first)
    return f"rewards are {changed[1]}" if changed[1] else ""
