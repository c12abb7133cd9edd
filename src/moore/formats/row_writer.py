"""Writes a log of any size as a folder of rows (`moore.data.row_file`), part by part.

The memory that this needs is that of the largest part.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from moore.data.columns import describe
from moore.data.dataset import Dataset
from moore.data.joined import Named, check_joined
from moore.data.log import notes_of
from moore.data.row_file import FACTS, FORMAT, MOST_ROWS, ROWS, row_type, stored
from moore.errors import InputError
from moore.files import writing

# A stretch has at least so many rows, in whole episodes; a longer episode is cut after the most.
_LEAST, _MOST = 2**8, 2**14
# What is kept of the metadata of the parts.
_PARTS = 1000


def write_rows(out: str | Path, parts: Iterable[Dataset], *, name: str = "") -> dict:
    """Writes the parts, one after the other, as one log; completely or not at all.

    No episode runs on from one part into the next. Every part is a checked data set, as
    `moore.load_dataset` returns it.

    Args:
        out: the new folder, which must not exist yet.
        parts: the parts; only one at a time is held.
        name: name of the log in errors.

    Returns:
        What log.json holds.

    Raises:
        InputError: there is no part, they have other columns or name other environments, there are
            more rows than 2 billion, or the folder cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} exists already; choose another name, or delete it first")
    partial = out.with_name(f".{out.name}.partial")
    with writing(out):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with open(partial / ROWS, "w+b") as file:
                writer = _Writer(file, name or str(out))
                for part in parts:
                    writer.add(part)
                facts = writer.finish(partial)
            facts |= {"statistics": _statistics(partial)}
            (partial / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
            os.replace(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return facts


def _statistics(folder: Path) -> dict:
    """Statistics of every column over all rows, read block by block."""
    rows = np.load(folder / ROWS, mmap_mode="r")
    return {key: stored(describe(rows[key])) for key in ("obs", "action", "reward", "next_obs")}


class _Writer:
    def __init__(self, file, name: str):
        self._file, self._name = file, name
        self._type: np.dtype | None = None  # of the first part
        self._first: Named | None = None
        self._hash = hashlib.sha256()
        self._rows = self._cut = 0  # rows written, and of these the ones in finished stretches
        self._stretches: list[int] = []
        self._returns: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._counts = {"terminals": 0, "timeouts": 0, "unknown_successors": 0}
        self._facts: dict = {"env_id": None, "reference": None}
        self._metadata: dict[str, dict] = {}

    def add(self, part: Dataset) -> None:
        kind = row_type(part.obs_dim, part.action_dim)
        if self._type is None:
            self._type = kind
            self._header(kind, 0)
        if kind != self._type:
            raise InputError(
                f"{part.name}: {part.obs_dim} observations and {part.action_dim} actions, but the "
                "parts before it have others; only logs of one environment can be joined"
            )
        self._first = self._first or (part.name, part.metadata)
        check_joined(self._first, (part.name, part.metadata))
        records = np.empty(part.size, kind)
        for key in kind.names or ():
            records[key] = getattr(part, key)
        records["truncated"][-1] |= not records["terminated"][-1]
        self._hash.update(records.data)
        self._file.write(records.data)
        ends = records["terminated"] | records["truncated"]
        self._add_stretches(self._rows + np.flatnonzero(ends))
        self._rows += part.size
        if self._rows > MOST_ROWS:
            raise InputError(f"{self._name}: more than {MOST_ROWS:,} rows; leave some out")
        self._returns.append(part.episode_returns)
        self._lengths.append(part.episode_lengths)
        counted = (records["terminated"], records["truncated"], ~records["successor_known"])
        for name, flags in zip(self._counts, counted, strict=True):
            self._counts[name] += int(flags.sum())
        self._remember(part)

    def _add_stretches(self, ends: np.ndarray) -> None:
        """Cuts the rows up to the last of these ends of episodes into stretches."""
        for end in (ends + 1).tolist():
            while end - self._cut > _MOST:
                self._cut += _MOST
                self._stretches.append(self._cut - 1)
            if end - self._cut >= _LEAST:
                self._cut = end
                self._stretches.append(end - 1)

    def _remember(self, part: Dataset) -> None:
        """Facts of the log as a whole, and what the reader has found in each part."""
        known = self._facts["env_id"]
        if known is not None and part.env_id not in (None, known):
            raise InputError(
                f"{part.name}: is of {part.env_id}, the parts before it of {known}; only logs of "
                "one environment can be joined"
            )
        self._facts["env_id"] = known or part.env_id
        if self._facts["reference"] is None and part.reference is not None:
            self._facts["reference"] = dict(vars(part.reference))
        told = self._metadata.setdefault(part.name, {"name": part.name, "sha256": part.sha256})
        self._metadata[part.name] = {**part.metadata, **told}
        if len(self._metadata) > _PARTS:
            self._metadata.pop(part.name)

    def _header(self, kind: np.dtype, rows: int) -> None:
        """Writes the header, which leaves room for any number of rows."""
        self._file.seek(0)
        header = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": (rows,)}
        npy.write_array_header_1_0(self._file, header)

    def finish(self, folder: Path) -> dict:
        if self._type is None:
            raise InputError(f"{self._name}: no part given; expected at least one")
        begins = self._file.seek(0, os.SEEK_END) - self._rows * self._type.itemsize
        self._header(self._type, self._rows)
        assert self._file.tell() == begins
        self._file.flush()
        os.fsync(self._file.fileno())
        if self._cut < self._rows:
            self._stretches.append(self._rows - 1)
        np.save(folder / "stretches.npy", np.asarray(self._stretches, np.int64))
        np.save(folder / "returns.npy", np.concatenate(self._returns))
        np.save(folder / "lengths.npy", np.concatenate(self._lengths))
        parts = list(self._metadata.values())
        metadata = {k: v for k, v in parts[0].items() if k not in ("name", "sha256")}
        if len(parts) > 1:
            metadata = {"parts": parts, "notes": notes_of({"parts": parts})}
        return {
            "format": FORMAT,
            "rows": self._rows,
            "obs_dim": self._type["obs"].shape[0],
            "action_dim": self._type["action"].shape[0],
            "episodes": sum(map(len, self._returns)),
            **self._counts,
            **self._facts,
            "sha256": self._hash.hexdigest(),
            "metadata": metadata,
        }
