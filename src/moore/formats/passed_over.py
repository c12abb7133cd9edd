"""Arrays that hold what a log seems to lack, but under an unknown name.

A log without stored successors gets the observations of the next rows, which is right inside
episodes whose ends are flagged. So an array with next observations, or with numbers of episodes or
steps, must not be ignored silently. It is recognised by its values.
"""

import re
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from moore.data.checks import as_float32, shown
from moore.errors import InputError

_WINDOWS, _LENGTH = 16, 64  # consecutive rows that are compared, and how many times
_SAME = 0.8  # of the rows that go on
_UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError)
_MOVES = 0.1
LABELS = re.compile(r"(ep|eps|episodes?|traj|trajs|trajector(y|ies)|rollouts?|demos?|paths?)"
                     r"(s?(id|ids|ix|idx|index|indices|num|number|no|nr|count))?")  # fmt: skip
_COUNTERS = re.compile(r"(t|time|(time|env|episode|elapsed)?steps?(id|idx|index|count|num)?"
                       r"|(step|time)inepisode|elapsed(time)?|frameindex)")  # fmt: skip
_FIRST = re.compile(r"(is)?(first|starts?|init|initial|begins?|resets?)|(episodes?|ep)"
                    r"(starts?|begins?|first|resets?)|resetflags?")  # fmt: skip


@runtime_checkable
class Array(Protocol):
    """An array of the source whose rows are read only when they are needed."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


def check_passed_over(
    others: Mapping[str, Array],
    obs: Array,
    terminated: np.ndarray,
    *,
    cut: bool,
    names: Mapping[str, str],
    name: str,
) -> list[str]:
    """Notes on the arrays that are not read, for a log without stored successors.

    Args:
        others: arrays that are not read, by their names in the source.
        obs: (n, obs_dim).
        terminated: (n,) bool.
        cut: whether any row is flagged as timed out.
        names: the format's names for `next_obs` and `truncated`.
        name: name of the log.

    Raises:
        InputError: one of them holds the successors, or ends of episodes that no flag marks.
    """
    notes = []
    for key, array in others.items():
        if array.dtype.kind not in "biuf":
            continue
        try:
            holds = array.shape == obs.shape and _holds_successors(array, obs, terminated)
            ends = np.zeros(0, np.int64) if cut else _ends_said(key, array, terminated)
        except _UNREADABLE:  # a damaged array that nobody asked for
            continue
        if holds:
            raise InputError(
                f"{name}: no array {names['next_obs']}, but {shown(repr(key))} holds the next "
                f"row's observation in each row; rename it to {names['next_obs']}"
            )
        if len(ends):
            raise InputError(
                f"{name}: no {names['truncated']}, but {shown(repr(key))} says that "
                f"{len(ends):,} rows that are not terminal end an episode (first: row "
                f"{ends[0]}); store {names['truncated']}, 1 in these rows and 0 elsewhere"
            )
        if array.shape == obs.shape and len(array.shape) == 2:
            notes.append(
                f"the array {shown(key)} has the shape of the observations and is not read; if it "
                f"holds the next ones, rename it to {names['next_obs']}."
            )
    return notes


def _holds_successors(array: Array, obs: Array, terminated: np.ndarray) -> bool:
    rows = obs.shape[0]
    starts = np.unique(np.linspace(0, max(0, rows - _LENGTH - 1), _WINDOWS).astype(np.int64))
    same, moves, count = 0, 0, 0
    for start in starts.tolist():
        stop = min(start + _LENGTH, rows - 1)
        state, after = as_float32(obs[start : stop + 1]), as_float32(array[start:stop])
        inside = ~terminated[start:stop]
        same += int(((after == state[1:]).all(axis=1) & inside).sum())
        moves += int(((state[1:] != state[:-1]).any(axis=1) & inside).sum())
        count += int(inside.sum())
    return same >= _SAME * count and moves >= _MOVES * count and moves > 0


def _ends_said(key: str, array: Array, terminated: np.ndarray) -> np.ndarray:
    """Rows that are not terminal but end an episode according to an array of such a name."""
    if array.shape not in ((len(terminated),), (len(terminated), 1)):
        return np.zeros(0, np.int64)
    word = re.sub(r"[\W_]", "", key.rpartition("/")[2]).lower()
    kind = next((find for name, find in _KINDS if name.fullmatch(word)), None)
    values = np.zeros(0) if kind is None else np.asarray(array[:], np.float64).reshape(-1)
    if kind is None or len(values) < 2 or not np.isfinite(values).all():
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(kind(values))
    return ends[~terminated[ends]]


def _by_label(values: np.ndarray) -> np.ndarray:
    """(n - 1,) bool: whether the next row has another number."""
    step = np.diff(values) != 0
    return step & (step.mean() < 0.5)


def _by_counter(values: np.ndarray) -> np.ndarray:
    """(n - 1,) bool: whether a regular count begins again at 0 or 1 in the next row."""
    step = np.diff(values)
    back, even = step < 0, step[step >= 0]
    again = values[1:][back]
    steady = len(even) > 0 and even.min() > 0 and even.max() <= 1.01 * even.min()
    return back & (steady and values[0] in (0, 1) and bool((again == values[0]).all()))


def _by_first(values: np.ndarray) -> np.ndarray:
    """(n - 1,) bool: whether the next row is flagged as a first one."""
    flags = values[0] == 1 and bool(np.isin(values, (0, 1)).all()) and values[1:].mean() < 0.5
    return (values[1:] == 1) & flags


_KINDS = ((LABELS, _by_label), (_COUNTERS, _by_counter), (_FIRST, _by_first))
