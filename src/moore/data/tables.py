"""CSV and Parquet logs from one file, a folder or a pattern, with a map of their columns."""

import glob
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from moore.data.checks import shown
from moore.data.column_map import ColumnMap
from moore.data.log import Log, hash_file
from moore.data.rows import Block, Places, join_blocks
from moore.data.sampling import Clock, looks_like
from moore.data.transitions import Names, make_log
from moore.errors import InputError

CSV = (".csv", ".tsv")
PARQUET = (".parquet", ".pq")


def find_files(source: str) -> list[Path]:
    """The files of a log, of one kind, in the order of their names (2 before 10).

    Hidden files, which some systems and editors put beside others, are none of a log's.

    Raises:
        InputError: there is no file, a link to one leads nowhere, or there are both CSV and Parquet
            files.
    """
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        found = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
    elif os.path.exists(path) or not set("*?[") & set(source):
        found = [path]
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]
    tables = [f for f in found if f.suffix.lower() in CSV + PARQUET]
    files = [f for f in tables if os.path.isfile(f)]
    lost = sorted(f for f in tables if os.path.islink(f) and not os.path.exists(f))
    if lost:
        raise InputError(
            f"{source}: the link {shown(lost[0])} leads nowhere; expected a file; mend it or "
            "remove it"
        )
    kinds = {f.suffix.lower() in CSV for f in files}
    if len(kinds) > 1:
        raise InputError(f"{source}: CSV and Parquet files; expected one kind; name a pattern")
    if not files:
        given = "no CSV or Parquet file in it" if os.path.isdir(path) else "no such file"
        raise InputError(f"{source}: {given}; check the name and the folder")
    return sorted(files, key=natural_order)


def read_tables(
    source: str, columns: ColumnMap, *, exact: bool = False, own_reward: bool = False
) -> Log:
    """Reads a log of tables, block by block.

    Args:
        source: `path.csv`, `path.parquet`, a folder of such files, or a pattern such as
            `logs/*.csv`.
        columns: the roles of the columns.
        exact: read observations and actions as float64 instead of float32.
        own_reward: the reward comes from elsewhere, so the map need not name one.

    Raises:
        InputError: a file or column does not exist, a cell is no number, or times do not increase.
    """
    if own_reward:
        columns = replace(columns, reward=None)
    files = find_files(source)
    notes = _passed_over(source)
    return read_files(files, source, columns, exact=exact, own_reward=own_reward, notes=notes)


def _passed_over(source: str) -> list[str]:
    """A note on what else lies in a folder, such as packed files or further folders."""
    path = Path(os.path.expanduser(source))
    if not os.path.isdir(path):
        return []
    read = (*CSV, *PARQUET, ".toml")
    others = sorted(
        entry.name + "/" * entry.is_dir()
        for entry in path.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix.lower() not in read)
    )
    if not others:
        return []
    named = shown(", ".join(others[:5])) + (", ..." if len(others) > 5 else "")
    return [f"not read in this folder: {named}"]


def read_files(
    files: list[Path],
    source: str,
    columns: ColumnMap,
    *,
    exact: bool,
    own_reward: bool,
    notes: list[str] | None = None,
    names: dict[str, list[str]] | None = None,
    whole: tuple[object, object] = (None, None),
) -> Log:
    """The log that these files make.

    `names` are the names of the entries of list columns; `whole` gives the numbers of episodes and
    rows that there must be, if they are known.
    """
    _check_pyarrow(source)
    import pyarrow as pa

    by_file = files_are(columns) == "episodes"
    reading = _Reading(source, columns, Places(), by_file, list(notes or []), dict(names or {}))
    try:
        there = _names_of(files[0], source if len(files) == 1 else str(files[0]), columns)
        check_asked(source, columns, own_reward=own_reward, names=there)
        rows = join_blocks(reading.blocks(files), reading.places, exact=exact, name=source)
        digest = hashlib.sha256("".join(hash_file(file) for file in files).encode())
    except (OSError, pa.ArrowException) as error:  # a disk, or a cell that nobody foresaw
        raise InputError(
            f"{source}: cannot be read ({shown(error)}); expected whole files of numbers and text; "
            "see who may read them, or write them again"
        ) from error
    _check_whole(source, whole, (int(rows.first.sum()), rows.size))
    ends = not columns.timeout or columns.episode is not None or (by_file and len(files) > 1)
    of = Names(reading.names["obs"], reading.names["action"], reading.units | dict(columns.units))
    log = make_log(rows, columns, of, name=source, notes=reading.notes, ends=ends)
    digest.update(columns.text.encode())
    return replace(log, sha256=digest.hexdigest())


def files_are(columns: ColumnMap) -> str:
    """Whether each file is an episode or a part of one log, by the map or by its columns."""
    named = columns.episode or columns.episode_rows or columns.window
    return columns.files or ("parts" if named else "episodes")


def _names_of(file: Path, source: str, columns: ColumnMap) -> list[str]:
    from moore.data.table_files import column_names

    return column_names(file, source, columns)


def check_asked(
    source: str, columns: ColumnMap, *, own_reward: bool, names: list[str] | None = None
) -> None:
    """Raises InputError unless the map names observation, action and reward among `names`."""
    missing = [key for key in ("obs", "action") if not getattr(columns, key)]
    if columns.reward is None and not own_reward:
        missing.append("reward")
    if missing:
        there = f"; the file has {shown(', '.join(map(repr, names)))}" if names else ""
        raise InputError(
            f"{source}: no column is named for {', '.join(missing)}{there}; expected a column map: "
            f"{Path(source).stem or 'log'}.toml beside the log, --columns columns.toml, or the "
            "flags --obs, --action and --reward of moore convert and inspect (a reward may also be "
            "a function, --reward module:function)"
        )


def _check_whole(source: str, told: tuple[object, object], found: tuple[int, int]) -> None:
    for what, expected, count in zip(("episodes", "rows"), told, found, strict=True):
        if expected is not None and expected != count:
            raise InputError(
                f"{source}: {count} {what} are there, its description says {shown(expected)}; "
                "expected all of them; copy the missing files"
            )


def _check_pyarrow(source: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError(
            f"{source}: CSV and Parquet are read by pyarrow, which is not installed; run "
            'pip install "moore-rl[tables]"'
        ) from None


@dataclass
class _Reading:
    """One pass through the files, which also collects names, units and notes."""

    source: str
    columns: ColumnMap
    places: Places
    file_ends: bool  # each file is an episode
    notes: list[str]
    list_names: dict[str, list[str]]
    names: dict[str, list[str]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    clock: Clock | None = None
    row: int = 0
    label: object = None
    seen: set | None = None

    def blocks(self, files: list[Path]) -> Iterator[Block]:
        from moore.data.table_files import read_pieces

        self.notes += _about_episodes(self.columns, len(files), self.file_ends)
        for file in files:
            name = str(file) if len(files) > 1 else self.source
            begins = self.file_ends or self.row == 0
            if begins:
                self.seen = set()
            for piece in read_pieces(file, name, self.columns, self.notes, self.units):
                self.places.add(self.row, file.name, piece.word, piece.number)
                block = self._block(piece, name, begins=begins)
                if len(block.obs):
                    yield block
                    self.row += len(block.obs)
                    begins = False

    def _block(self, piece, name: str, *, begins: bool) -> Block:
        columns, cells, found = self.columns, piece.cells, {}
        for key in ("obs", "action", "next_obs"):
            parts = [(c, cells.numbers(piece.columns[c], c)) for c in getattr(columns, key)]
            if parts:
                found[key] = np.column_stack([values for _, values in parts])
                self._name(key, parts, name)
        for key in ("reward", "terminal", "timeout"):
            if column := getattr(columns, key):
                read = cells.numbers if key == "reward" else cells.flags
                found[key] = _vector(read(piece.columns[column], column), column, name)
        if columns.time is not None:
            time, known, clock = cells.times(piece.columns[columns.time], columns.time)
            if known.any():  # otherwise it says nothing of the others
                self.clock = self.clock or clock
            if known.any() and clock != self.clock:
                raise InputError(
                    f"{name}: {columns.time} is written in another way than before; expected one "
                    "kind of time in all rows and files, all with a time zone or all without"
                )
            if clock.tick == 1.0 and self.row == 0 and (hint := looks_like(time[known])):
                self.notes.append(hint)
            clock = self.clock or clock
            found |= {"time": time, "time_known": known, "tick": clock.tick}
        first = np.zeros(len(found["obs"]), bool)
        if columns.episode is not None:
            numbers, words = cells.labels(piece.columns[columns.episode])
            first, found["labelled"] = self._episodes(numbers, words, cells, begins=begins)
        first[:1] |= begins
        return Block(**found, first=first)

    def _episodes(self, numbers: np.ndarray, words: list, cells, *, begins: bool):
        """(b,) bool, the rows that begin an episode, and (b,) bool, those with a label."""
        there = np.flatnonzero(numbers >= 0)
        first = np.zeros(len(numbers), bool)
        if len(there):
            of = numbers[there]
            changed = np.append(True, of[1:] != of[:-1])
            same = not begins and self.seen and words[of[0]] == self.label
            changed[0] = not same
            first[there] = changed
            for row in there[changed]:
                word = words[numbers[row]]
                if word in self.seen:
                    raise InputError(
                        f"{self.source}: {self.columns.episode} is {shown(repr(word))} again in "
                        f"{cells.where(int(row))}, after another episode; expected the rows of an "
                        "episode together; sort the rows"
                    )
                self.seen.add(word)
            self.label = words[of[-1]]
        return first, numbers >= 0

    def _name(self, key: str, parts: list, name: str) -> None:
        """The names of the dimensions, from the first block; the others must have as many."""
        dims = []
        for column, values in parts:
            if values.ndim == 1:
                dims.append(column)
            else:
                given = self.list_names.get(column, [])
                width = values.shape[1]
                fits = len(given) == width
                dims += given if fits else [f"{column}[{i}]" for i in range(width)]
        before = self.names.setdefault(key, dims)
        if dims != before:
            raise InputError(
                f"{name}: {key} is {shown(', '.join(dims))}, before {shown(', '.join(before))}; "
                "expected as many numbers of each column in every row and file"
            )


def _about_episodes(columns: ColumnMap, files: int, file_ends: bool) -> list[str]:
    named = columns.episode or columns.window or columns.episode_rows
    if files > 1 and file_ends and not named:
        return [f"{files} files, each an episode (truncated at its end, unless flagged)"]
    if not (named or columns.terminal or columns.timeout):
        return [
            "no column tells episodes: the log is one, cut only at gaps (cut it with episode, "
            "window or episode_rows)"
        ]
    return []


def _vector(values: np.ndarray, column: str, name: str) -> np.ndarray:
    if values.ndim == 2 and values.shape[1] != 1:
        raise InputError(
            f"{name}: column {shown(column)} holds {values.shape[1]} numbers a row; expected one"
        )
    return values.reshape(-1)


def natural_order(path: Path) -> list:
    """A sort key that compares digits as numbers, so that 2 comes before 10."""
    parts = re.split(r"([0-9]+)", str(path))
    return [(int(p), p) if p.isdecimal() else (-1, p) for p in parts]
