"""Data sets as one NumPy archive, with arrays under their field names and the rest as JSON."""

import json
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from moore.data.checks import (
    LYING,
    MATRICES,
    as_flags,
    as_float32,
    check_numbers,
    check_shapes,
    column,
    lying,
    shown,
)
from moore.data.cuts import find_cuts
from moore.data.dataset import EPISODES, VECTORS, Dataset
from moore.data.log import Log, hash_file, with_notes
from moore.data.precision import Windows
from moore.errors import InputError, near_file
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.formats.look_alikes import refuse_look_alikes, suggestions
from moore.formats.names import at_home
from moore.formats.npz_arrays import NpzArrays
from moore.formats.passed_over import check_passed_over
from moore.formats.subset import Budget, Subset, choose_rows

# What NumPy raises where a file is no archive, is cut short, or is damaged.
UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, NotImplementedError, SyntaxError, KeyError,
    RuntimeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError, MemoryError,
    OverflowError, IndexError, struct.error, lzma.LZMAError,
)  # fmt: skip

REQUIRED = ("obs", "action", "reward", "terminated", "truncated")
_ROWS = (*REQUIRED, "next_obs", "successor_known")
_NAMES = dict(zip(_ROWS, _ROWS, strict=True))
_INFOS, _EXTRAS = "infos/", "extras/"


def read_npz(
    path: str | Path, *, infos: bool = False, exact: bool = False, budget: Budget | None = None
) -> Log:
    """Reads an archive that `write_npz` or the user's own `np.savez` wrote, array by array.

    The arrays are those of `Dataset`. These may be absent: `next_obs` (then it is derived, see
    `from_flat_arrays`), `successor_known` (then all are known), `episode_returns` with
    `episode_lengths` (then they follow from the flags), `infos/NAME` (further arrays with a row for
    each transition) and `metadata`, a JSON object with `env_id`, `reference` {random, expert,
    source} and anything else.

    Args:
        path: the file.
        infos: read the `infos/NAME`, as stored.
        exact: keep types, shapes and `extras/KEY`; if false, matrices become float32.
        budget: how much of the log to read; each array is still decompressed completely.

    Raises:
        InputError: the file does not exist or is no archive, keys are missing, or arrays do not
            fit.
    """
    path, name = at_home(path), str(path)
    with _open(path, name) as archive:
        metadata = _metadata(archive, name)
        across = _lying(archive, name)
        subset = None if budget is None else _choose(archive, across, budget, name)
        rows = _Rows(archive, across, subset, name)
        fields, lost = rows.read(_ROWS, exact=exact)
        notes = _passed_over(archive, rows)
        notes = [] if infos and exact else notes  # then it is all read, to be written elsewhere
        fields |= _statistics(archive, subset, name)
        more = _infos(archive, subset, name) if infos else {}
        extras = _extras(archive, name) if exact else {}
    sha256, reference = hash_file(path), metadata.pop("reference", None)
    if across:
        notes.append(LYING.format(keys=", ".join(sorted(across))))
    metadata = with_notes(metadata, notes) | ({"float32": lost} if lost else {})
    if subset is not None:
        sha256, metadata = subset.digest(sha256), metadata | {"subset": subset.metadata}
    env_id = metadata.get("env_id")
    assert env_id is None or isinstance(env_id, str)  # `_metadata` has refused all else
    return Log.of(
        fields,
        name=name,
        env_id=env_id,
        sha256=sha256,
        reference=_reference(reference, env_id, name),
        infos=more,
        metadata=metadata,
        extras=extras,
    )


def count_rows(path: str | Path) -> int:
    """Number of transitions, from one array of the archive; InputErrors as for `read_npz`."""
    with _open(at_home(path), str(path)) as archive:
        return max(np.atleast_1d(_get(archive, "terminated", str(path))).shape)


def write_npz(path: str | Path, dataset: Dataset) -> None:
    """Writes the data set completely or not at all; the same data set gives the same bytes.

    Args:
        path: the file, which is replaced if it exists; no suffix is added to its name.
        dataset: the data set; its name and sha256 belong to the source and are not written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    arrays = {key: getattr(dataset, key) for key in MATRICES + VECTORS + EPISODES}
    _save(partial, arrays, dataset)
    os.replace(partial, path)


def write_npz_log(file: Path, log: Log) -> None:
    """Writes the log as it is; the same log gives the same bytes.

    If time-outs were not recorded (D4RL v0), the cuts of `find_cuts` are written. Of the extras,
    only arrays of numbers are kept.
    """
    arrays = {key: getattr(log, key) for key in (*_ROWS, *EPISODES)}
    if log.truncated is None:
        cuts = find_cuts(log)
        arrays["truncated"] = cuts.truncated
        log = replace(log, metadata=log.metadata | cuts.metadata)
    arrays |= {_INFOS + key: value for key, value in log.infos.items()}
    extras = {k: v for k, v in log.extras.items() if isinstance(v, np.ndarray) and "@" not in k}
    arrays |= {_EXTRAS + k: value for k, value in extras.items() if value.dtype.kind in "biufc"}
    _save(file, {key: value for key, value in arrays.items() if value is not None}, log)


def _save(file: Path, arrays: dict[str, np.ndarray], source: Dataset | Log) -> None:
    metadata = {**source.metadata, "env_id": source.env_id, "reference": None}
    if source.reference is not None:
        metadata["reference"] = vars(source.reference)
    text = np.array(json.dumps(metadata, sort_keys=True))
    with open(file, "wb") as target:  # a handle, so that NumPy appends no suffix
        # mypy fears that an array were called allow_pickle.
        np.savez_compressed(target, **arrays, metadata=text)  # type: ignore[arg-type]


@contextmanager
def _open(path: Path, name: str) -> Iterator[NpzArrays]:
    if not path.is_file():
        given = "is a folder" if path.is_dir() else "no such file"
        hint = near_file(path) or "; check the name and folder"
        raise InputError(f"{name}: {given}; expected an .npz archive{hint}")
    with open(path, "rb") as file:  # our own, since NumPy leaves a damaged one open
        try:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise TypeError("it is one array")
        except UNREADABLE as error:
            raise _unreadable(name, error) from error
        with archive, closing(NpzArrays(archive)) as arrays:
            _check_keys(arrays, name)
            yield arrays


def _check_keys(archive: NpzArrays, name: str) -> None:
    twice = sorted({key for key in archive if archive.names.count(key) > 1})
    if twice:
        raise InputError(
            f"{name}: several arrays go by the name {shown(', '.join(twice))}; expected one; write "
            "the archive again"
        )
    missing = [key for key in REQUIRED if key not in archive]
    if missing:
        for key in archive:  # what cannot be read at all is told first
            _get(archive, key, name)
        near = suggestions(archive, _NAMES, missing)
        raise InputError(
            f"{name}: arrays {', '.join(missing)} missing; the file has "
            f"{shown(', '.join(sorted(archive)) or 'none')}; expected {', '.join(REQUIRED)}"
            + (f" ({near})" if near else "")
        )
    refuse_look_alikes(archive, _NAMES, [key for key in _ROWS if key in archive], name)


def _get(archive: NpzArrays, key: str, name: str) -> np.ndarray:
    try:
        return archive.read(key)
    except UNREADABLE as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name}: cannot be read as an .npz archive of plain arrays ({shown(error)}); "
        "write it with np.savez, without object arrays"
    )


def _lying(archive: NpzArrays, name: str) -> set[str]:
    shapes = {key: _shape(archive, key, name) for key in _ROWS if key in archive}
    return lying(shapes)


def _shape(archive: NpzArrays, key: str, name: str) -> tuple[int, ...]:
    try:
        return archive.shape(key)
    except UNREADABLE as error:
        raise _unreadable(name, error) from error


def _choose(archive: NpzArrays, across: set[str], budget: Budget, name: str) -> Subset | None:
    flags, _ = _Rows(archive, across, None, name).read(("terminated", "truncated"))
    return choose_rows(flags["terminated"], flags["truncated"], budget, name=name)


@dataclass(frozen=True)
class _Rows:
    """The arrays with a row for each transition."""

    archive: NpzArrays
    across: set[str]  # whose rows run along the second axis
    subset: Subset | None
    name: str

    def read(
        self, keys: tuple[str, ...], *, exact: bool = False
    ) -> tuple[dict[str, np.ndarray], dict]:
        """The arrays by key, and the columns that lose their steps in float32."""
        fields, shapes, windows = {}, {}, None
        for key in (key for key in keys if key in self.archive):
            value = self.whole(key)
            shapes[key] = column(key, value.shape)
            if self.subset is not None and value.shape[:1] == self.subset.keep.shape:
                value = value[self.subset.keep]
            if not exact and value.ndim:
                windows = windows or Windows(len(value))
                windows.take(key, 0, value)
            fields[key] = _converted(self.name, key, value, exact=exact)
        check_shapes(self.name, shapes)
        if windows is None:
            return fields, {}
        return fields, windows.lost(fields["terminated"] | fields["truncated"])

    def whole(self, key: str) -> np.ndarray:
        """A whole array, with rows along the first axis."""
        value = _get(self.archive, key, self.name)
        check_numbers(self.name, key, value.dtype)
        return value.T if key in self.across else value


def _passed_over(archive: NpzArrays, rows: _Rows) -> list[str]:
    """Notes on arrays that are not read; InputError if one holds what seems to be missing."""
    if "next_obs" in archive:
        return []
    known = {*_ROWS, *EPISODES, "metadata"}
    others = [key for key in archive if key not in known and not key.startswith(_EXTRAS)]
    n = max(_shape(archive, "terminated", rows.name))
    alike = (_shape(archive, "obs", rows.name), (n,), (n, 1))
    found = {}
    for key in others:
        with suppress(InputError):  # a damaged array that nobody asked for
            if _shape(archive, key, rows.name) in alike:
                found[key] = _get(archive, key, rows.name)
    if not found:
        return []
    flags = {k: rows.whole(k).reshape(-1) != 0 for k in ("terminated", "truncated")}
    cut = bool(flags["truncated"].any())
    return check_passed_over(
        found, rows.whole("obs"), flags["terminated"], cut=cut, names=_NAMES, name=rows.name
    )


def _converted(name: str, key: str, value: np.ndarray, *, exact: bool) -> np.ndarray:
    flags = key not in MATRICES and key != "reward"
    if exact:
        return as_flags(name, key, value) if flags and value.dtype == bool else value
    if key in MATRICES:
        return as_float32(value)
    value = value.reshape(column(key, value.shape))
    return as_flags(name, key, value) if flags else value


def _statistics(archive: NpzArrays, subset: Subset | None, name: str) -> dict[str, np.ndarray]:
    if not all(key in archive for key in EPISODES):
        return {}
    found = {key: _get(archive, key, name) for key in EPISODES}
    return found if subset is None else subset.of_episodes(found)


def _extras(archive: NpzArrays, name: str) -> dict[str, object]:
    keys = [key for key in archive if key.startswith(_EXTRAS)]
    return {key.removeprefix(_EXTRAS): _get(archive, key, name) for key in keys}


def _infos(archive: NpzArrays, subset: Subset | None, name: str) -> dict[str, np.ndarray]:
    rows, found = max(_get(archive, "terminated", name).shape), {}
    for key in archive:
        if not key.startswith(_INFOS):
            continue
        value = _get(archive, key, name)
        if value.shape[:1] != (rows,):
            raise InputError(
                f"{name}: {shown(key)} has shape {value.shape}; expected {rows} rows, one for each "
                "transition; cut it or leave it out"
            )
        found[key.removeprefix(_INFOS)] = value if subset is None else value[subset.keep]
    return found


def _metadata(archive: NpzArrays, name: str) -> dict[str, object]:
    text = str(_get(archive, "metadata", name)) if "metadata" in archive else "{}"
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{name}: metadata is not JSON ({shown(error)}); use json.dumps"
        ) from error
    env_id = metadata.get("env_id") if isinstance(metadata, dict) else 0
    if not isinstance(env_id, str | None):
        raise InputError(
            f"{name}: metadata is {shown(text[:80])}; expected a JSON object, its env_id a "
            "string or null"
        )
    return metadata


def _reference(given: object, env_id: str | None, name: str) -> ReferenceScores | None:
    if given is None:
        return reference_scores(env_id)
    try:
        if not isinstance(given, dict):
            raise TypeError("no table")
        low, high = float(given["random"]), float(given["expert"])
        return ReferenceScores(low, high, source=str(given.get("source", name)))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{name}: reference is {shown(repr(given))}; expected two returns, "
            "{random, expert, source}"
        ) from error
