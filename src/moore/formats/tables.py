"""CSV and Parquet logs from one file, a folder or a pattern, with a map of their columns."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from moore.data.checks import shown
from moore.data.log import Log, hash_file, with_notes
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.log_files import about_empty, about_episodes, about_folder, find_files
from moore.formats.rows import Block, Places, TableRows, join_blocks
from moore.formats.sampling import TimeUnit, looks_like
from moore.formats.summary_rows import summary_row
from moore.formats.transitions import Names, make_log
from moore.formats.unmapped import about_unmapped, ends_said


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
    notes = about_folder(source)
    log = read_files(files, source, columns, exact=exact, own_reward=own_reward, notes=notes)
    names = _names_of(files[0], source, columns)
    beside = with_notes(log.metadata, about_unmapped(names, columns))
    if signs := ends_said(files, columns, names):
        beside["unflagged_ends"] = signs
    return replace(log, metadata=beside)


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
    reading.sure = whole != (None, None)
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
    _check_last_rows(source, rows)
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
    from moore.formats.table_files import column_names

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


def _check_last_rows(source: str, rows: TableRows) -> None:
    """Raises InputError if rows at the end sum up all others."""
    parts = [rows.obs, rows.action] + ([] if rows.reward is None else [rows.reward[:, None]])
    found = summary_row(parts)
    if found is not None:
        row, what = found
        raise InputError(
            f"{source}: {rows.where(row)} and what follows sum up the rows above: there are the "
            f"{what} of all columns; leave these rows out"
        )


def _check_pyarrow(source: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise InputError(
            f"{source}: CSV and Parquet are read by pyarrow, which is not installed; run "
            'pip install "moore-rl[tables]"'
        ) from None


def _goes_on(block: Block) -> bool:
    """Whether the first row has a label, that of the row before."""
    if block.labelled is None or block.first is None:
        return False
    return bool(block.labelled[0] and not block.first[0])


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
    clock: TimeUnit | None = None
    row: int = 0
    label: object = None
    seen: set = field(default_factory=set)
    empty: list[str] = field(default_factory=list)  # files without rows
    sure: bool = False  # how many episodes there are is known
    over: int = 0  # files that go on with the label of the file before

    def blocks(self, files: list[Path]) -> Iterator[Block]:
        from moore.formats.table_files import read_pieces

        self.notes += about_episodes(self.columns, len(files), self.file_ends)
        for file in files:
            name = str(file) if len(files) > 1 else self.source
            begins = self.file_ends or self.row == 0
            if begins:
                self.seen = set()
            start = self.row
            for piece in read_pieces(file, name, self.columns, self.notes, self.units):
                self.places.add(self.row, file.name, piece.word, piece.number)
                block = self._block(piece, name, begins=begins)
                if len(block.obs):
                    if self.row == start and not begins:
                        self.over += _goes_on(block)
                    yield block
                    self.row += len(block.obs)
                    begins = False
            if self.row == start:
                self.empty.append(file.name)
        self._check_files(len(files))

    def _check_files(self, files: int) -> None:
        """Notes on files without rows, and on episodes that go on in the next file.

        Raises:
            InputError: every file has the same label, and neither times nor the map say that they
                are parts of one episode.
        """
        self.notes += about_empty(self.empty)
        if not self.over or self.sure:
            return
        if len(self.seen) == 1 and self.columns.files is self.columns.time is None:
            raise InputError(
                f"{self.source}: {self.columns.episode} is {shown(repr(self.label))} in all "
                f"{files} files; expected another label for each episode; if each file is an "
                'episode, say files = "episodes", and if all are parts of one, files = "parts"'
            )
        self.notes.append(
            f"{self.over:,} of the files begin with the {self.columns.episode} that the file "
            "before ends with: one episode goes on from file to file there (if labels begin anew "
            'in each file, say files = "episodes")'
        )

    def _block(self, piece, name: str, *, begins: bool) -> Block:
        columns, cells, tick = self.columns, piece.cells, 1.0
        found: dict[str, np.ndarray] = {}
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
            tick = (self.clock or clock).tick
            found |= {"time": time, "time_known": known}
        first = np.zeros(len(found["obs"]), bool)
        if columns.episode is not None:
            numbers, words = cells.labels(piece.columns[columns.episode])
            first, found["labelled"] = self._episodes(name, numbers, words, cells, begins=begins)
        first[:1] |= begins
        return Block.of(found, first=first, tick=tick)

    def _episodes(self, name: str, numbers: np.ndarray, words: list, cells, *, begins: bool):
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
                        f"{name}: {self.columns.episode} is {shown(repr(word))} again in "
                        f"{cells.where(int(row))}, after another episode; expected the rows of an "
                        "episode together; sort the rows"
                        + (
                            ""
                            if name == self.source
                            else ', or, if labels begin anew in each file, say files = "episodes"'
                        )
                    )
                if _is_summary(word, self.seen):
                    raise InputError(
                        f"{name}: {self.columns.episode} is {shown(repr(word))} in "
                        f"{cells.where(int(row))}, and a number in all rows before, as where a row "
                        f"sums up the others; leave it out, or say missing = [{shown(repr(word))}]"
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


_SUMMARIES = frozenset(
    [
        "average",
        "avg",
        "count",
        "max",
        "maximum",
        "mean",
        "median",
        "min",
        "minimum",
        "std",
        "sum",
        "total",
        "totals",
    ]
)


def _is_summary(label: object, before: set) -> bool:
    """Whether a label names a summary of rows, and those before it are numbers."""
    if not isinstance(label, str) or label.lower().rstrip(":") not in _SUMMARIES:
        return False
    return bool(before) and all(_is_number(other) for other in before)


def _is_number(label: object) -> bool:
    try:
        float(str(label))
    except ValueError:
        return False
    return True


def _vector(values: np.ndarray, column: str, name: str) -> np.ndarray:
    if values.ndim == 2 and values.shape[1] != 1:
        raise InputError(
            f"{name}: column {shown(column)} holds {values.shape[1]} numbers a row; expected one"
        )
    return values.reshape(-1)
