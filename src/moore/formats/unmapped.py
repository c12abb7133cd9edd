"""Columns of a table that its map passes over, although they may tell ends, times or next states.

The next row is the successor inside an episode. So where no column of the map tells episodes, but
one beside it does, transitions would span their borders. Such a column is found by its name, and
then by its values.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from moore.data.checks import shown
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.look_alikes import may_mean
from moore.formats.passed_over import LABELS

_TIMES = re.compile(r"(time|date|datetime|times|date_?time)(_?stamps?)?|ts|utc", re.I)
_SHOWN = 5


def about_unmapped(names: list[str], columns: ColumnMap) -> list[str]:
    """A note on columns whose names may mean what the map does not name; empty without any.

    Args:
        names: the names of all columns.
        columns: the map.
    """
    used = _used(columns)
    found = [
        name
        for name in dict.fromkeys(names)
        if name not in used
        and (
            (columns.time is None and _TIMES.fullmatch(name))
            or (_tells_no_ends(columns) and _may_tell_ends(name))
            or (not columns.next_obs and _may_be_next(name, columns))
        )
    ]
    if not found:
        return []
    named = shown(", ".join(found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
    return [
        f"not in the map: {named}; if one of them tells times, ends of episodes or next states, "
        "name it (time, episode, terminal, timeout, next_obs)"
    ]


def ends_said(files: list[Path], columns: ColumnMap, names: list[str]) -> dict[str, int]:
    """The number of ends inside the log that only a column beside the map tells, as {"said": n}.

    It is empty if the map itself tells next states, or ends other than terminal ones, if no column
    has such a name, or if its values are neither labels of episodes nor flags.

    Args:
        files: the files of the log, which are one after the other.
        columns: the map.
        names: the names of all columns.
    """
    if columns.next_obs or not _tells_no_ends(columns):
        return {}
    used = _used(columns)
    for name in names:
        if name in used or names.count(name) > 1 or not _may_tell_ends(name):
            continue
        asked = replace(columns, obs=(), action=(), reward=None, time=None, episode=name)
        count = _by_labels if _is_label(name) else _by_flags
        try:
            ends, rows = map(sum, zip(*_counts(files, asked, count), strict=True))
        except InputError:  # a cell that nobody asked for
            continue
        if 0 < ends < 0.5 * rows:
            return {"said": ends}
    return {}


def _tells_no_ends(columns: ColumnMap) -> bool:
    """Whether no role of the map, but for that of terminal ends, says where an episode ends."""
    return not (columns.episode or columns.timeout or columns.window or columns.episode_rows)


def _used(columns: ColumnMap) -> set[str | None]:
    one = (columns.reward, columns.episode, columns.time, columns.terminal, columns.timeout)
    return {*columns.obs, *columns.action, *columns.next_obs, *one}


def _may_tell_ends(name: str) -> bool:
    flag = may_mean(name, "terminated", "terminal") or may_mean(name, "truncated", "timeout")
    return _is_label(name) or flag


def _is_label(name: str) -> bool:
    return bool(LABELS.fullmatch(_plain(name)))


def _may_be_next(name: str, columns: ColumnMap) -> bool:
    """Whether the name is that of an observation with a word such as `next`."""
    word, plain = _plain(name), {_plain(column) for column in columns.obs}
    parts = {word.removeprefix("next"), word.removesuffix("next"), word.removeprefix("new")}
    return bool((parts - {word}) & plain) or may_mean(name, "next_obs", "next_obs")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _counts(
    files: Iterable[Path], columns: ColumnMap, count: Callable
) -> Iterator[tuple[int, int]]:
    """Of each log the ends inside it that are not flagged terminal, and its rows."""
    logs = [[file] for file in files] if columns.files != "parts" else [list(files)]
    for log in logs:
        words: dict[str, int] = {}
        codes, known = [], []
        for numbers, labels, flagged in _columns(log, columns):
            code = [words.setdefault(str(label).lower(), len(words)) for label in labels]
            missing = words.setdefault("", len(words))
            codes.append(np.array([*code, missing])[numbers])  # -1 is the last one
            known.append(flagged)
        if codes:
            ends = count(np.concatenate(codes), list(words)) & ~np.concatenate(known)
            yield int(ends[:-1].sum()), len(ends)


def _columns(files: list[Path], columns: ColumnMap) -> Iterator[tuple]:
    """Of each block its labels by number, these, and (b,) bool, the rows flagged terminal."""
    from moore.formats.table_files import read_pieces

    assert columns.episode is not None  # the one that `unmapped_ends` asks for
    for file in files:
        for piece in read_pieces(file, str(file), columns, [], {}):
            numbers, labels = piece.cells.labels(piece.columns[columns.episode])
            flagged = np.zeros(len(numbers), bool)
            if columns.terminal:
                cells = piece.columns[columns.terminal]
                flagged = piece.cells.flags(cells, columns.terminal) == 1
            yield numbers, labels, flagged


def _by_labels(codes: np.ndarray, words: list[str]) -> np.ndarray:
    """(n,) bool: whether the next row has another label."""
    return np.append(codes[1:] != codes[:-1], True)


def _by_flags(codes: np.ndarray, words: list[str]) -> np.ndarray:
    """(n,) bool: whether the row is flagged; none is if there is anything but flags."""
    flags = set(words) <= {*_SET, *_CLEAR}
    return np.isin(codes, [i for i, word in enumerate(words) if word in _SET]) & flags


_SET, _CLEAR = ["1", "1.0", "true", "yes"], ["0", "0.0", "false", "no", ""]
