"""D4RL's flat HDF5 files, versions 0, 1 and 2 (Fu et al. 2020), and logs in the same layout."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from moore.data.checks import LYING, as_flags, check_numbers, check_shapes, column, lying, shown
from moore.data.cuts import registered_limit
from moore.data.log import Log, hash_file, with_notes
from moore.data.precision import Windows
from moore.errors import InputError, near_file
from moore.formats.d4rl_attributes import attributes_of, read_metadata, read_reference
from moore.formats.hdf5_checks import check_heaps, check_meaning, check_stored, in_use
from moore.formats.hdf5_rows import Lying, read_rows, slices_of_episodes, write_rows
from moore.formats.hdf5_tree import is_plain, read_tree, write_tree
from moore.formats.look_alikes import refuse_look_alikes, suggestions
from moore.formats.names import at_home
from moore.formats.passed_over import check_passed_over
from moore.formats.subset import Budget, Subset, choose_rows

REQUIRED = {
    "obs": "observations",
    "action": "actions",
    "reward": "rewards",
    "terminated": "terminals",
}
ROWS = REQUIRED | {
    "truncated": "timeouts",
    "next_obs": "next_observations",
    "successor_known": "moore/successor_known",  # our own: D4RL's layout cannot say it
}
STATISTICS = {key: f"moore/{key}" for key in ("episode_returns", "episode_lengths")}

_FLAGS = ("terminated", "truncated", "successor_known")
# What h5py and NumPy raise where a file is no HDF5, is cut short, or is damaged.
_UNREADABLE = (
    OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError, IndexError,
    OverflowError, AttributeError,
)  # fmt: skip


def read_d4rl(
    path: str | Path, *, infos: bool = False, exact: bool = False, budget: Budget | None = None
) -> Log:
    """Reads a flat HDF5 log, block by block, into arrays that are allocated once.

    Scalar attributes become metadata; `env_id` names the environment, and numeric `ref_min_score`
    and `ref_max_score` replace the known reference scores.

    Args:
        path: the file; a relative path that does not exist is also looked for in D4RL's folders,
            `$D4RL_DATASET_DIR` and `~/.d4rl/datasets`.
        infos: read the arrays below `infos/` that have a row for each transition, as stored.
        exact: keep types, shapes and every other key; if false, matrices become float32.
        budget: how much of the log to read.

    Raises:
        InputError: the file is missing or is no whole HDF5 file, keys are missing, or do not fit.
    """
    file, name = _find(Path(path)), str(path)
    with _opened(file, name) as source:
        columns = _columns(source, name)
        metadata = read_metadata(source.attrs)
        env_id = metadata.get("env_id")
        env_id, sha256 = env_id if isinstance(env_id, str) else None, hash_file(file)
        subset = None
        if budget is not None:
            limit = budget.max_episode_steps or registered_limit(env_id, sha256)
            subset = _choose(columns, replace(budget, max_episode_steps=limit), name)
        kept = len(columns["obs"]) if subset is None else subset.metadata["rows"]
        windows = None if exact else Windows(kept)
        read = partial(_read, subset=subset, name=name, exact=exact, windows=windows)
        fields = {key: read(item, key) for key, item in columns.items()}
        fields |= _statistics(source, subset)
        more = _infos(source, len(columns["obs"]), subset) if infos else {}
        extras = _extras(source, len(columns["obs"]), subset) if exact else {}
        notes = _passed_over(source, columns, name)
        notes = [] if infos and exact else notes  # then it is all read, to be written elsewhere
    if across := [ROWS[key] for key, item in columns.items() if isinstance(item, Lying)]:
        notes.append(LYING.format(keys=", ".join(across)))
    metadata = with_notes(metadata, notes) | _lost(fields, windows)
    if subset is not None:
        sha256, metadata = subset.digest(sha256), metadata | {"subset": subset.metadata}
    return Log.of(
        fields,
        name=name,
        env_id=env_id,
        sha256=sha256,
        reference=read_reference(metadata, env_id),
        infos=more,
        metadata=metadata,
        extras=extras,
    )


def read_slices(path: str | Path, *, rows: int) -> Iterator[Log]:
    """Reads a flat HDF5 log in slices of about so many rows, each of whole episodes.

    An episode is never divided, so a slice may be longer. Statistics of the episodes that the file
    may hold are not read.

    Raises:
        InputError: as for `read_d4rl`, or the file has no time-out flags.
    """
    file, name = _find(Path(path)), str(path)
    with _opened(file, name) as source:
        columns, metadata = _columns(source, name), read_metadata(source.attrs)
        if "truncated" not in columns:
            raise InputError(
                f"{name}: no timeouts, which only all rows together would show; expected them in a "
                "log that is read in slices; add the flags"
            )
        notes, env_id = _passed_over(source, columns, name), metadata.get("env_id")
        for item in columns.values():
            check_stored(item.item if isinstance(item, Lying) else item)
        env_id = env_id if isinstance(env_id, str) else None
        log_of = partial(
            Log.of,
            name=name,
            env_id=env_id,
            sha256=hash_file(file),
            reference=read_reference(metadata, env_id),
            metadata=with_notes(metadata, notes),
        )
        for part in slices_of_episodes(columns, rows, name):
            values = {key: item[part] for key, item in columns.items()}
            values = {k: v.reshape(column(k, v.shape)) for k, v in values.items()}
            yield log_of(values)


def count_rows(path: str | Path) -> int:
    """Number of transitions, from the file's header only; InputErrors as for `read_d4rl`."""
    with _opened(_find(Path(path)), str(path)) as source:
        return len(_columns(source, str(path))["obs"])


def write_d4rl(file: Path, log: Log) -> None:
    """Writes the log in D4RL's layout, compressed and with checksums; same log, same bytes.

    Scalars of the metadata become attributes. Reference scores are written unless they follow
    from `env_id`. Everything that was read with `infos` and `exact` is written back unchanged.
    """
    arrays = {key: getattr(log, field) for field, key in (ROWS | STATISTICS).items()}
    arrays |= {f"infos/{key}": value for key, value in log.infos.items()}
    with h5py.File(file, "w") as target:
        for key in sorted(key for key, value in arrays.items() if value is not None):
            write_rows(target, key, np.asarray(arrays[key]))
        for key, value in sorted(attributes_of(log).items()):
            if f"@{key}" not in log.extras:
                target.attrs[key] = value
        write_tree(target, log.extras)


def _find(path: Path) -> Path:
    places = [at_home(path)]
    if not places[0].is_absolute():
        folders = [os.environ.get("D4RL_DATASET_DIR"), "~/.d4rl/datasets"]
        places += [at_home(folder) / path for folder in folders if folder]
    for place in places:
        if place.is_dir():
            raise InputError(f"{path}: is a folder; expected an HDF5 file; name a file in it")
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places)
    hint = near_file(places[0]) or "; check the name and the folder"
    raise InputError(f"{path}: no such file (looked for {looked}){hint}")


@contextmanager
def _opened(file: Path, name: str) -> Iterator[h5py.File]:
    try:
        with h5py.File(file, "r") as source:
            check_heaps(source)
            yield source
    except InputError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"{name}: cannot be read as HDF5 ({shown(error)}); "
            + (in_use(error) or "expected a whole D4RL file; download or copy it again")
        ) from error


def _columns(source: h5py.File, name: str) -> dict[str, h5py.Dataset | Lying]:
    """The arrays with a row for each transition, by field of `Log`; checked but not read."""
    columns = {field: source[key] for field, key in ROWS.items() if _holds(source, key)}
    ours = list(source["moore"]) if "moore" in list(source) else []
    if strange := sorted({f"moore/{key}" for key in ours} - {*ROWS.values(), *STATISTICS.values()}):
        raise InputError(
            f"{name}: nothing is known of {shown(', '.join(strange))}; expected what this version "
            "writes; get a newer one, or the file again if it is damaged"
        )
    missing = [key for field, key in REQUIRED.items() if field not in columns]
    if missing:
        near = suggestions(source, ROWS, [key for key in REQUIRED if key not in columns])
        raise InputError(
            f"{name}: arrays {', '.join(missing)} missing; the file has "
            f"{shown(', '.join(sorted(source)) or 'none')}"
            "; expected D4RL's flat layout: rename the arrays, or write an .npz file"
            + (f" ({near})" if near else "")
        )
    optional = {key: ROWS[key] for key in ("truncated", "next_obs")}
    refuse_look_alikes(source, REQUIRED | optional, columns, name)
    for field, item in columns.items():
        if not isinstance(item, h5py.Dataset):
            raise InputError(f"{name}: {ROWS[field]} is no array; expected numbers; replace it")
        check_numbers(name, field, item.dtype)
        check_meaning(item, source.filename, name, ROWS[field])
    across = lying({key: item.shape or () for key, item in columns.items()})
    columns |= {key: Lying(columns[key]) for key in across}
    check_shapes(name, {key: column(key, item.shape or ()) for key, item in columns.items()})
    return columns


def _passed_over(source: h5py.File, columns: dict, name: str) -> list[str]:
    """Notes on arrays that are not read; InputError if one holds what seems to be missing."""
    if "next_obs" in columns:
        return []
    places = {"": source}
    if "infos" in list(source) and isinstance(source["infos"], h5py.Group):
        places["infos/"] = source["infos"]
    known = {*ROWS.values(), *STATISTICS.values()}
    others = {
        f"{where}{key}": item
        for where, group in places.items()
        for key in group
        if f"{where}{key}" not in known and (item := _plain_array(group, key)) is not None
    }
    if not others:
        return []
    flags = {
        key: _read(columns[key], key, subset=None, name=name)
        for key in ("terminated", "truncated")
        if key in columns
    }
    cut = "truncated" in flags and bool(flags["truncated"].any())
    return check_passed_over(
        others, columns["obs"], flags["terminated"], cut=cut, names=ROWS, name=name
    )


def _plain_array(group: h5py.Group, key: str) -> h5py.Dataset | None:
    """An array that is stored in the file itself, with an undamaged header."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        return None
    try:
        item = group[key]
        if isinstance(item, h5py.Dataset) and item.shape:
            check_stored(item)
            return item
    except (*_UNREADABLE, InputError):
        pass
    return None


def _lost(fields: dict[str, np.ndarray], windows: Windows | None) -> dict[str, object]:
    """The columns that lose their steps in float32, for the metadata."""
    if windows is None:
        return {}
    ends = [fields[key] for key in ("terminated", "truncated") if key in fields]
    lost = windows.lost(np.logical_or.reduce(ends))
    return {"float32": lost} if lost else {}


def _choose(columns: dict[str, h5py.Dataset | Lying], budget: Budget, name: str) -> Subset | None:
    read = partial(_read, subset=None, name=name)
    terminated = read(columns["terminated"], "terminated")
    truncated = read(columns["truncated"], "truncated") if "truncated" in columns else None
    return choose_rows(terminated, truncated, budget, name=name)


def _holds(source: h5py.File, key: str) -> bool:
    """Whether the name exists, even as a broken link; only a missing name counts as not logged."""
    group, _, name = key.rpartition("/")
    if not group:
        return name in list(source)
    holder = source[group] if group in list(source) else None  # get() passes over damage
    return isinstance(holder, h5py.Group) and name in list(holder)


def _read(
    source: h5py.Dataset | Lying,
    key: str,
    *,
    subset: Subset | None,
    name: str,
    windows: Windows | None = None,
    exact: bool = False,
) -> np.ndarray:
    seen = None if windows is None else partial(windows.take, key)
    if key in _FLAGS and (source.dtype == bool or not exact):
        value = read_rows(source, subset, np.dtype(bool), partial(as_flags, name, ROWS[key]))
    elif exact or key == "reward":  # rewards are summed up first
        value = read_rows(source, subset, source.dtype, written=key not in _FLAGS, seen=seen)
    else:
        value = read_rows(source, subset, np.dtype(np.float32), written=True, seen=seen)
    return value if exact else value.reshape(column(key, value.shape))


def _statistics(source: h5py.File, subset: Subset | None) -> dict[str, np.ndarray]:
    if not all(_holds(source, key) for key in STATISTICS.values()):
        return {}
    found = {field: _whole(source[key]) for field, key in STATISTICS.items()}
    return found if subset is None else subset.of_episodes(found)


def _whole(item: h5py.Dataset) -> np.ndarray:
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise OSError(f"{item.name} is no array")
    check_stored(item)
    return np.asarray(item[()])


def _info_names(source: h5py.File, rows: int) -> list[str]:
    names = []

    def visit(path: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and item.shape and item.shape[0] == rows:
            names.append(path)

    if "infos" in list(source) and isinstance(source["infos"], h5py.Group):
        source["infos"].visititems(visit)
    return names


def _infos(source: h5py.File, rows: int, subset: Subset | None) -> dict[str, np.ndarray]:
    items = {name: source["infos"][name] for name in _info_names(source, rows)}
    return {name: read_rows(item, subset, item.dtype) for name, item in items.items()}


def _extras(source: h5py.File, rows: int, subset: Subset | None) -> dict[str, object]:
    """Everything else except plain attributes; arrays with a row for each transition as subset."""
    known = {*ROWS.values(), *STATISTICS.values()}
    known |= {f"infos/{name}" for name in _info_names(source, rows)}
    tree = read_tree(source, without=known)
    tree = {k: value for k, value in tree.items() if not (k.startswith("@") and is_plain(value))}
    if subset is None:
        return tree
    for key, value in tree.items():
        if "@" not in key and isinstance(value, np.ndarray) and value.shape[:1] == (rows,):
            tree[key] = value[subset.keep]
    return tree
