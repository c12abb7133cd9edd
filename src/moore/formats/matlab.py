"""MATLAB's .mat files of version 7.3, which is HDF5, and of older versions (`mat5`).

A matrix has a row for each time step, as MATLAB shows it; HDF5 holds it transposed. Fields of
structures are named with points: `log.y`.
"""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import h5py
import numpy as np

from moore.data.checks import blocks, check_exact, shown
from moore.data.log import Log, hash_file
from moore.errors import InputError, near_file
from moore.formats.column_map import SECONDS, ColumnMap
from moore.formats.hdf5_checks import check_heaps, check_meaning, check_stored
from moore.formats.mat5 import read_mat5
from moore.formats.rows import Block, Places, TableRows, join_blocks
from moore.formats.sampling import looks_like
from moore.formats.tables import check_asked
from moore.formats.transitions import Names, make_log

_ONE = ("reward", "terminal", "timeout", "time", "episode")


def read_matlab(
    source: str, columns: ColumnMap, *, exact: bool = False, own_reward: bool = False
) -> Log:
    """Reads the arrays that the map names; each is completely in memory while it is read.

    Args:
        source: the file.
        columns: the map, which names arrays in place of columns; `obs` may be several matrices.
        exact: read observations and actions as float64 instead of float32.
        own_reward: the reward comes from elsewhere.

    Raises:
        InputError: the file is damaged, or arrays are missing, not numbers, or differ in length.
    """
    if own_reward:
        columns = replace(columns, reward=None)
    check_asked(source, columns, own_reward=own_reward)
    if columns.time_format is not None:
        raise InputError(
            f"{source}: time_format is given, but times in MATLAB files are numbers; expected "
            "time_unit; leave time_format out"
        )
    path = Path(os.path.expanduser(source))
    if not os.path.isfile(path):
        hint = near_file(path) or "; check the name and the folder"
        raise InputError(f"{source}: no such file{hint}")
    arrays = _arrays(path, source, columns)
    found, names = _roles(arrays, columns, source)
    size = len(found["obs"])
    places = Places()
    places.add(0, path.name, "row", lambda row: row + 1)
    parts = (_block(found, columns, part) for part in blocks(size, found["obs"][:1].nbytes))
    rows = join_blocks(parts, places, exact=exact, name=source)
    ends = not (columns.timeout and not columns.episode)
    log = make_log(rows, columns, names, name=source, notes=_about_time(rows), ends=ends)
    digest = hashlib.sha256((hash_file(path) + columns.text).encode()).hexdigest()
    return replace(log, sha256=digest)


def _about_time(rows: TableRows) -> list[str]:
    """A note on times that are read as seconds and look like another unit."""
    if rows.time is None or rows.tick != 1.0:
        return []
    hint = looks_like(rows.time[rows.has_time])
    return [hint] if hint else []


def _arrays(path: Path, source: str, columns: ColumnMap) -> dict[str, np.ndarray]:
    """The named arrays as MATLAB shows them, rows first."""
    wanted = [*columns.obs, *columns.action, *columns.next_obs]
    wanted += [getattr(columns, role) for role in _ONE if getattr(columns, role)]
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                check_heaps(file)
                arrays = {key: _from_hdf5(file, key, source) for key in wanted}
        else:
            arrays = _from_old(path, wanted, source)
    except InputError:
        raise
    except Exception as error:  # whatever h5py, zlib or NumPy raises of a damaged file
        raise InputError(
            f"{source}: cannot be read as a MATLAB file ({shown(error)}); save it again, with "
            "save('log.mat', '-v7.3')"
        ) from error
    if columns.along == "columns":
        arrays = {key: value.T for key, value in arrays.items()}
    return arrays


def _from_hdf5(file: h5py.File, key: str, source: str) -> np.ndarray:
    item: object = file
    for part in key.split("."):
        item = item[part] if isinstance(item, h5py.Group) and part in item else None
    if not isinstance(item, h5py.Dataset):
        _missing(source, key, [k for k in file if not str(k).startswith("#")])
    if item.attrs.get("MATLAB_empty", 0):
        raise InputError(f"{source}: {key} is empty; expected a row for each time step")
    _check_kind(source, key, item.dtype, item.ndim)
    check_meaning(item, file.filename, source, key)
    check_stored(item, written=True)
    return np.asarray(item[()]).T


def _from_old(path: Path, wanted: list[str], source: str) -> dict[str, np.ndarray]:
    content = read_mat5(path, {key.split(".")[0] for key in wanted})
    arrays = {}
    for key in wanted:
        item: object = content
        parent: object = content
        for part in key.split("."):
            parent, item = item, item.get(part) if isinstance(item, dict) else None
        if item is None and not (isinstance(parent, dict) and key.split(".")[-1] in parent):
            _missing(source, key, list(content))
        if not isinstance(item, np.ndarray):
            raise InputError(
                f"{source}: {shown(key)} is no matrix; expected real numbers with a row for each "
                "time step"
            )
        _check_kind(source, key, item.dtype, item.ndim)
        arrays[key] = item
    return arrays


def _missing(source: str, key: str, there: list) -> NoReturn:
    raise InputError(
        f"{source}: no array {shown(key)}; the file has {shown(', '.join(map(str, there)))}; "
        "correct the map (fields of a structure: log.y)"
    )


def _check_kind(source: str, key: str, dtype: np.dtype, ndim: int) -> None:
    if dtype.kind not in "biuf" or ndim > 2:
        given = f"{ndim} dimensions" if dtype.kind in "biuf" else f"the type {dtype}"
        raise InputError(
            f"{source}: {shown(key)} has {given}; expected a matrix of real numbers with a row for "
            "each time step"
        )


def _roles(arrays: dict, columns: ColumnMap, source: str) -> tuple[dict, Names]:
    """(n, dims) and (n,) arrays by role, and the names of the dimensions."""
    flat = {key: value.size for key, value in arrays.items() if 1 in value.shape or value.ndim < 2}
    tall = {key: value.shape[0] for key, value in arrays.items() if key not in flat}
    rows = set(tall.values()) or set(flat.values())
    matrices = {key: _matrix(value, rows) for key, value in arrays.items()}
    lengths = {key: len(value) for key, value in matrices.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        shapes = ", ".join(f"{key} {value.shape}" for key, value in arrays.items())
        raise InputError(
            f"{source}: lengths differ: {shown(shapes)}; expected a row for each time step in "
            'each; transpose an array, or say along = "columns" if time runs along the columns'
        )
    found, dims = {}, {}
    for role in ("obs", "action", "next_obs"):
        keys = getattr(columns, role)
        if keys:
            for key in keys:
                check_exact(source, key, matrices[key])
            found[role] = np.column_stack([matrices[key] for key in keys])
            dims[role] = [d for key in keys for d in _dims(key, matrices[key].shape[1])]
    for role in _ONE:
        if key := getattr(columns, role):
            if matrices[key].shape[1] != 1:
                raise InputError(
                    f"{source}: {key} has {matrices[key].shape[1]} columns; expected one"
                )
            found[role] = matrices[key][:, 0]
    if columns.episode is not None:
        _check_together(found["episode"], columns.episode, source)
    for role in ("terminal", "timeout"):
        if role in found and not np.isin(found[role], (0, 1)).all():
            raise InputError(f"{source}: {getattr(columns, role)} holds other numbers than 0 and 1")
    return found, Names(dims["obs"], dims["action"], dict(columns.units))


def _check_together(labels: np.ndarray, key: str, source: str) -> None:
    known = np.flatnonzero(np.isfinite(labels.astype(np.float64)))  # a missing label is none
    changes = known[np.append(True, np.diff(labels[known]) != 0)] if len(known) else known
    _, first = np.unique(labels[changes], return_index=True)
    if len(first) < len(changes):
        again = np.setdiff1d(np.arange(len(changes)), first)[0]
        raise InputError(
            f"{source}: {key} is {labels[changes[again]]:g} again in row {changes[again] + 1}, "
            "after another episode; expected the rows of an episode together; sort the rows"
        )


def _matrix(value: np.ndarray, rows: set[int]) -> np.ndarray:
    """(n, dims); a row vector becomes a column if the other arrays have as many rows."""
    value = np.atleast_1d(value)
    if value.ndim == 1:
        return value[:, None]
    if value.shape[0] == 1 and rows == {value.shape[1]}:
        return value.T
    return value


def _dims(key: str, width: int) -> list[str]:
    return [key] if width == 1 else [f"{key}(:,{i + 1})" for i in range(width)]


def _block(found: dict, columns: ColumnMap, part: slice) -> Block:
    given: dict[str, np.ndarray] = {
        role: np.asarray(value[part], np.float64)
        for role, value in found.items()
        if role not in ("time", "episode")
    }
    first = np.zeros(len(given["obs"]), bool)
    first[:1] = part.start == 0
    if "episode" in found:
        label = found["episode"]
        rows = np.arange(part.start, part.start + len(first))
        before = label[np.maximum(rows - 1, 0)]
        first |= label[rows] != before
        given["labelled"] = np.isfinite(label[rows].astype(np.float64))
    if "time" in found:
        time = found["time"][part]
        time = time.astype(np.int64) if time.dtype.kind in "iu" else time.astype(np.float64)
        given |= {"time": time, "time_known": np.isfinite(time)}
    tick = SECONDS[columns.time_unit] if "time" in found else 1.0
    return Block.of(given, first=first, tick=tick)
