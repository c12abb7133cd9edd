"""robomimic's HDF5 files: a group for each demonstration, `data/demo_0/obs/KEY`, `actions`, ...

Only low-dimensional observations are read; a note names the images that are left out. `dones` marks
success or the last row, depending on the file's maker, so it only counts as terminal if the map
says so. By default the end of a demonstration is a cut.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from operator import add
from pathlib import Path

import h5py
import numpy as np

from moore.data.checks import blocks, check_exact, shown
from moore.data.log import Log, hash_file
from moore.errors import InputError
from moore.formats.column_map import ColumnMap
from moore.formats.filter_keys import chosen, filter_keys, told_of_keys
from moore.formats.hdf5_checks import check_heaps, check_meaning, check_stored
from moore.formats.rows import Block, Places, join_blocks
from moore.formats.transitions import Names, make_log

# What h5py and NumPy raise where a file is no HDF5, is cut short, or is damaged.
UNREADABLE = (
    OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError, IndexError,
    OverflowError, AttributeError,
)  # fmt: skip

_FIXED = ("time", "episode", "next_obs", "window")  # of the map: what the layout says itself
_MANY = 1000  # numbers of one key that are no low-dimensional state


def is_robomimic(path: Path) -> bool:
    """Whether the file has `data/demo_N` groups; False if it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            group = file.get("data")
            return isinstance(group, h5py.Group) and bool(_demos(group))
    except UNREADABLE:
        return False


def read_robomimic(
    source: str, columns: ColumnMap, *, exact: bool = False, own_reward: bool = False
) -> Log:
    """Reads demonstrations in the order of their numbers.

    Args:
        source: the file.
        columns: the map. Its `obs` are keys below `obs/` in the order in which they are joined (by
            default all low-dimensional ones, sorted), `action` and `reward` are arrays (by default
            `actions` and `rewards`), `terminal` is an array of flags, such as `dones`, and
            `filter_key` names a list of demonstrations below `mask/`, the only ones to be read.
        exact: read observations and actions as float64 instead of float32.
        own_reward: the reward comes from elsewhere.

    Raises:
        InputError: the file is damaged, keys are missing, an image is named, or shapes differ.
    """
    for key in _FIXED:
        if getattr(columns, key):
            raise InputError(
                f"{source}: {key} is given, but robomimic's layout says it; leave it out"
            )
    path = Path(os.path.expanduser(source))
    try:
        with h5py.File(path, "r") as file:
            check_heaps(file)
            reading = _Reading(source, file, columns, own_reward)
            places = Places()
            rows = join_blocks(reading.blocks(places), places, exact=exact, name=source)
            log = make_log(
                rows, reading.columns, reading.names, name=source, notes=reading.notes, ends=True
            )
            about = _about(file["data"])
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{source}: cannot be read as robomimic's HDF5 ({shown(error)}); expected "
            "data/demo_0/obs, actions and rewards; copy the file again"
        ) from error
    digest = hashlib.sha256((hash_file(path) + columns.text).encode()).hexdigest()
    return replace(log, sha256=digest, metadata=log.metadata | about)


class _Reading:
    """The keys to read, which are found in the first demonstration."""

    def __init__(self, source: str, file: h5py.File, columns: ColumnMap, own_reward: bool):
        self.source, self.data = source, file["data"]
        self.path = os.path.expanduser(source)
        data, there, keys_of_file = self.data, _demos(self.data), filter_keys(file)
        self.demos = chosen(there, keys_of_file, columns.filter_key, source)
        first = self._group(data, self.demos[0])
        keys, left_out = self._keys(first, columns.obs)
        self.columns = replace(
            columns,
            obs=tuple(keys),
            action=columns.action or ("actions",),
            reward=None if own_reward else columns.reward or "rewards",
        )
        self.stored = "next_obs" in first and all(key in first["next_obs"] for key in keys)
        dims = [d for key in keys for d in _dims(key, first["obs"][key].shape)]
        actions = [d for key in self.columns.action for d in self._action_dims(first, key)]
        self.names = Names(dims, actions, dict(columns.units))
        self.notes = [f"{len(self.demos)} demonstrations; observations are {', '.join(keys)}"]
        self.notes += told_of_keys(there, keys_of_file, columns.filter_key)
        self.empty: list[str] = []
        others = sorted(key for key in data if key not in there)
        if others:
            self.notes.append(
                f"not read below data: {shown(', '.join(others))}; demonstrations are named "
                "demo_0, demo_1, ..."
            )
        if left_out:
            self.notes.append(f"observations left out (not low-dimensional): {', '.join(left_out)}")
        if columns.terminal is None and "dones" in first:
            self.notes.append(
                "dones are not taken as terminals (they may mark success or the last row): every "
                'demonstration ends truncated; terminal = "dones" takes them'
            )

    def _action_dims(self, demo: h5py.Group, key: str) -> list[str]:
        return _dims(key, self._array(demo, key).shape)

    def _keys(self, demo: h5py.Group, wanted: tuple[str, ...]) -> tuple[list[str], list[str]]:
        group = self._group(demo, "obs")
        there = sorted(key for key in group if isinstance(group[key], h5py.Dataset))
        low = [key for key in there if group[key].ndim <= 2 and group[key].size
               <= _MANY * len(group[key])]  # fmt: skip
        for key in wanted:
            if key not in low:
                why = "is an image or another large array" if key in there else "is not there"
                raise InputError(
                    f"{self.source}: obs/{shown(key)} {why}; expected low-dimensional keys: "
                    f"{shown(', '.join(low) or 'none')}"
                )
        if not low:
            raise InputError(
                f"{self.source}: no low-dimensional observation, only {shown(', '.join(there))}; "
                "images are not read; write states beside them"
            )
        keys = list(wanted) or low
        return keys, [key for key in there if key not in keys]

    def blocks(self, places: Places) -> Iterator[Block]:
        row = 0
        for name in self.demos:
            demo = self._group(self.data, name)
            arrays = self._arrays(demo)
            length = len(self._array(demo, self.columns.action[0]))
            for rows in blocks(length, 8 * len(self.names.obs)):
                places.add(row, name, "row", partial(add, rows.start + 1))
                block = self._block(arrays, rows)
                row += len(block.obs)
                yield block
            self._check_length(demo, length)
        if self.empty:
            self.notes.append(f"demonstrations without rows: {shown(', '.join(self.empty))}")
        total = _said(self.data, "total")
        if total not in (None, row) and self.columns.filter_key is None:
            self.notes.append(
                f"{row:,} rows are there, the file says {total:,}: demonstrations may be missing"
            )

    def _check_length(self, demo: h5py.Group, length: int) -> None:
        """Refuses arrays of another length than the file says, which may be padded or cut."""
        if length == 0:
            self.empty.append(str(demo.name).rpartition("/")[2])
        said = _said(demo, "num_samples")
        if said not in (None, length):
            raise InputError(
                f"{self.source}: {demo.name} has {length:,} rows, its num_samples says {said:,}; "
                "expected as many; cut what pads the arrays, or correct the attribute"
            )

    def _arrays(self, demo: h5py.Group) -> dict[str, list[h5py.Dataset]]:
        columns = self.columns
        arrays = {"obs": [self._array(demo, f"obs/{key}") for key in columns.obs]}
        arrays["action"] = [self._array(demo, key) for key in columns.action]
        if self.stored:
            arrays["next_obs"] = [self._array(demo, f"next_obs/{key}") for key in columns.obs]
        for role in ("reward", "terminal", "timeout"):
            if key := getattr(columns, role):
                arrays[role] = [self._array(demo, key)]
        lengths = {item.name: len(item) for items in arrays.values() for item in items}
        if len(set(lengths.values())) > 1:
            raise InputError(
                f"{self.source}: lengths differ: {shown(lengths)}; expected one row a step in each"
            )
        self._check_widths(arrays)
        return arrays

    def _block(self, arrays: dict[str, list[h5py.Dataset]], rows: slice) -> Block:
        found = {
            role: np.column_stack([self._numbers(item, rows) for item in items])
            for role, items in arrays.items()
        }
        for role in ("reward", "terminal", "timeout"):
            if role in found:
                if found[role].shape[1] != 1:
                    raise InputError(
                        f"{self.source}: {arrays[role][0].name} has {found[role].shape[1]} numbers "
                        "a row; expected one"
                    )
                found[role] = found[role][:, 0]
        for role in ("terminal", "timeout"):
            if role in found and not np.isin(found[role], (0, 1)).all():
                raise InputError(
                    f"{self.source}: {arrays[role][0].name} holds other numbers than 0 and 1; "
                    "expected flags"
                )
        first = np.zeros(len(found["obs"]), bool)
        first[:1] = rows.start == 0
        return Block.of(found, first=first)

    def _numbers(self, item: h5py.Dataset, rows: slice) -> np.ndarray:
        """(b,) or (b, k) float64."""
        values = np.asarray(item[rows])
        check_exact(self.source, str(item.name), values)
        return values.astype(np.float64)

    def _check_widths(self, arrays: dict[str, list[h5py.Dataset]]) -> None:
        """Refuses a demonstration one of whose keys has more or fewer numbers than in the first."""
        first = self._group(self.data, self.demos[0])
        keys = {"obs": [f"obs/{key}" for key in self.columns.obs], "action": self.columns.action}
        keys |= {"next_obs": keys["obs"]} if "next_obs" in arrays else {}
        for role, names in keys.items():
            for item, key in zip(arrays[role], names, strict=True):
                width, expected = (math.prod(array.shape[1:]) for array in (item, first[key]))
                if width != expected:
                    raise InputError(
                        f"{self.source}: {item.name} has {width} numbers a row, {first[key].name} "
                        f"{expected}; expected as many in every demonstration"
                    )

    def _group(self, parent: h5py.Group, key: str) -> h5py.Group:
        item = parent.get(key)
        if not isinstance(item, h5py.Group):
            raise InputError(f"{self.source}: no group {parent.name}/{key}; expected one")
        return item

    def _array(self, demo: h5py.Group, key: str) -> h5py.Dataset:
        item = demo.get(key)
        if not isinstance(item, h5py.Dataset) or item.ndim not in (1, 2):
            raise InputError(
                f"{self.source}: no array {demo.name}/{shown(key)} with a row for each step; it "
                f"has {shown(', '.join(sorted(demo)))}; name another in the column map"
                + (", or a reward function (--reward module:function)" if "reward" in key else "")
            )
        if item.dtype.kind not in "biuf":
            raise InputError(f"{self.source}: {item.name} has dtype {item.dtype}; expected numbers")
        check_meaning(item, self.path, self.source, str(item.name))
        check_stored(item, written=True)
        return item


def _demos(data: h5py.Group) -> list[str]:
    found = [key for key in data if re.fullmatch(r"demo_[0-9]+", str(key))]
    return sorted(found, key=lambda key: int(key.removeprefix("demo_")))


def _dims(key: str, shape: tuple[int, ...]) -> list[str]:
    return [key] if len(shape) == 1 else [f"{key}[{i}]" for i in range(shape[1])]


def _said(group: h5py.Group, key: str) -> int | None:
    """A whole number among the attributes of a group; None if there is none."""
    value = group.attrs.get(key)
    return int(value) if isinstance(value, int | np.integer) else None


def _about(data: h5py.Group) -> dict[str, object]:
    """The task's name, if it is a text."""
    try:
        return {"env_name": str(json.loads(data.attrs["env_args"])["env_name"])}
    except (*UNREADABLE, RecursionError):
        return {}
