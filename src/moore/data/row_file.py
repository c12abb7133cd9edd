"""Logs larger than memory: a folder whose rows stay on disk and are read where they are drawn.

    rows.npy       every row as one record: obs, action, reward, next_obs and the three flags
    stretches.npy  last rows of the stretches that a sample is made of
    returns.npy    of all complete episodes
    lengths.npy    the same
    log.json       sizes, the hash of the rows, and statistics of every column

A record is what a draw needs, so a draw reads one page of the disk. The file is mapped into memory:
the system keeps what was read as long as there is room, and nothing of it counts as memory of the
process. `moore.formats.row_writer` writes such a folder.
"""

import json
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from moore.data.checks import shown
from moore.data.columns import Columns
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores

ROWS, FACTS = "rows.npy", "log.json"
FORMAT = 1
# Rows of such a log that are held in memory at most: a random part of it, see `RowFile.sample`.
ROOM = 2**20
# Joint indices of logged and online rows are int32 on the device.
MOST_ROWS = 2**31 - 2**27
# Threads that read at a time: 16 read five times as fast as one from a disk.
_THREADS = 16
_NUMBERS = ("rows", "obs_dim", "action_dim", "terminals", "timeouts", "unknown_successors")


def is_row_folder(source: str | Path) -> bool:
    """Whether the path is a folder that `moore.formats.row_writer` has written."""
    path = os.path.expanduser(source)
    return all(os.path.isfile(os.path.join(path, name)) for name in (ROWS, FACTS))


def row_type(obs_dim: int, action_dim: int) -> np.dtype:
    """The record of a row: float32 numbers, then a byte for each flag, without padding."""
    return np.dtype(
        [
            ("obs", "<f4", (obs_dim,)),
            ("action", "<f4", (action_dim,)),
            ("reward", "<f4"),
            ("next_obs", "<f4", (obs_dim,)),
            ("terminated", "?"),
            ("truncated", "?"),
            ("successor_known", "?"),
        ]
    )


@dataclass(frozen=True, eq=False)
class RowFile:
    """An opened folder of rows.

    Attributes:
        folder: the folder.
        facts: the content of log.json, checked.
    """

    folder: Path
    facts: dict

    @property
    def size(self) -> int:
        return self.facts["rows"]

    @property
    def type(self) -> np.dtype:
        return row_type(self.facts["obs_dim"], self.facts["action_dim"])

    @property
    def sha256(self) -> str:
        """Of the records."""
        return self.facts["sha256"]

    @property
    def reference(self) -> ReferenceScores | None:
        given = self.facts.get("reference")
        return None if given is None else ReferenceScores(**given)

    def columns(self, key: str) -> Columns:
        """Statistics over all rows of obs, action, reward or next_obs."""
        return columns_of(self.facts["statistics"][key])

    @cached_property
    def records(self) -> np.ndarray:
        """(n,) records of `type`, mapped; the fields of a slice are arrays of these rows."""
        return np.load(self.folder / ROWS, mmap_mode="r")

    @cached_property
    def _bytes(self) -> np.ndarray:
        """(n, bytes of a record), mapped for reading in random places.

        NumPy copies a record of bytes as a whole, which is five to ten times faster than field by
        field, and the system reads no pages ahead that nobody has asked for.
        """
        with open(self.folder / ROWS, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)
        start = len(mapped) - self.size * self.type.itemsize
        return np.frombuffer(mapped, np.uint8, offset=start).reshape(self.size, -1)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Copies the records of these rows (k,), in their order.

        Several threads read, because a disk answers many at once much faster than one by one.

        Raises:
            IndexError: there is no such row.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.size:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {self.size}")
        found = np.empty((len(rows), self.type.itemsize), np.uint8)
        step = max(-(-len(rows) // _THREADS), 256)

        def copy(begin: int) -> None:
            part = slice(begin, begin + step)
            np.take(self._bytes, rows[part], axis=0, out=found[part], mode="clip")

        for _ in self._threads.map(copy, range(0, len(rows), step)):
            pass
        return found.view(self.type)[:, 0]

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, "moore-rows")

    @cached_property
    def episode_returns(self) -> np.ndarray:
        return np.load(self.folder / "returns.npy", mmap_mode="r")

    @cached_property
    def episode_lengths(self) -> np.ndarray:
        return np.load(self.folder / "lengths.npy", mmap_mode="r")

    def sample(self, room: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Random stretches of at most `room` rows together; all rows if they fit.

        Returns:
            The rows (k,), ascending, and (k,) bool, where a stretch ends.
        """
        if self.size <= room:
            return np.arange(self.size), np.arange(self.size) == self.size - 1
        last = np.load(self.folder / "stretches.npy", mmap_mode="r")
        order = np.random.default_rng(seed).permutation(len(last))
        begins = np.where(order > 0, last[order - 1] + 1, 0)
        lengths = last[order] + 1 - begins
        chosen = np.cumsum(lengths) <= room
        chosen[0] = True  # of which a smaller room gets the beginning
        first, length = begins[chosen], lengths[chosen]
        by_row = np.argsort(first)
        first, length = first[by_row], length[by_row]
        until = np.cumsum(length)
        rows = np.repeat(first - until + length, length) + np.arange(until[-1])
        ends = np.zeros(len(rows), bool)
        ends[until - 1] = ends[room - 1 : room] = True
        return rows[:room], ends[:room]


@dataclass(frozen=True, eq=False)
class Whole:
    """The log on disk of which a data set holds a random part.

    Attributes:
        file: all rows.
        rows: (k,) int64, which of them the data set holds, ascending.
    """

    file: RowFile
    rows: np.ndarray

    def begins_episode(self, places: np.ndarray) -> np.ndarray:
        """Whether rows of the data set (k,) are first rows of episodes, (k,) bool.

        A long episode is in the data set in pieces, and only the first of them begins there. If
        none does, all count.
        """
        rows = self.rows[places]
        before = self.file.take(np.maximum(rows - 1, 0))
        found = (rows == 0) | before["terminated"] | before["truncated"]
        return found if found.any() else np.ones(len(places), bool)


def open_rows(source: str | Path) -> RowFile:
    """Opens a folder of rows; nothing of them is read.

    Raises:
        InputError: a file is missing, or does not hold what log.json says.
    """
    folder = Path(os.path.expanduser(source))
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        _check(facts)
        file = RowFile(folder, facts)
        fits = file.records.dtype == file.type and file.records.shape == (file.size,)
        episodes = len(file.episode_returns), len(file.episode_lengths)
        if not fits or set(episodes) != {facts["episodes"]}:
            raise ValueError("its files are not those that log.json describes")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{source}: cannot be read ({shown(error)}); expected a folder that `moore convert` "
            "has written; copy it again, or convert the log anew"
        ) from None
    return file


def _check(facts: object) -> None:
    """KeyError, TypeError or ValueError unless these are facts of this version."""
    if not isinstance(facts, dict) or facts["format"] != FORMAT:
        raise ValueError("another version has written it")
    numbers = [facts[name] for name in _NUMBERS]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("sizes that are no numbers")
    for key in ("obs", "action", "reward", "next_obs"):
        columns_of(facts["statistics"][key])
    if not isinstance(facts["sha256"], str) or not isinstance(facts["metadata"], dict):
        raise TypeError("no hash or no metadata")


def columns_of(stored: dict) -> Columns:
    """Statistics from their stored form."""
    lists = {key: np.asarray(v, np.float64) for key, v in stored.items() if isinstance(v, list)}
    return Columns(**{field.name: stored[field.name] for field in fields(Columns)} | lists)


def stored(columns: Columns) -> dict:
    """Statistics as JSON."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(columns).items()}
