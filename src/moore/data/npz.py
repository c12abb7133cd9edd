"""Data sets as one NumPy archive: the arrays under their field names, the rest as a JSON string."""

import json
import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from moore.data.dataset import EPISODES, MATRICES, VECTORS, Dataset, from_flat_arrays, hash_file
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores

_UNREADABLE = (OSError, EOFError, ValueError, TypeError, NotImplementedError, SyntaxError)
_UNREADABLE += (zipfile.BadZipFile, zlib.error, tokenize.TokenError)

REQUIRED = ("obs", "action", "reward", "terminated", "truncated")


def read_npz(path: str | Path) -> Dataset:
    """Read an archive that `write_npz` or the user's own `np.savez` wrote.

    The arrays are those of `Dataset`. `next_obs` may be absent (then it is derived, see
    `from_flat_arrays`), so may `successor_known` (then all are), `episode_returns` with
    `episode_lengths` (then they follow from the flags) and `metadata`, a JSON object with
    `env_id`, `reference` {random, expert, source} and anything else.

    Raises:
        InputError: no such file, not an archive, keys missing, arrays that do not fit.
    """
    arrays = _read(Path(path), str(path))
    metadata = _metadata(arrays, str(path))
    flat = from_flat_arrays(
        arrays["obs"],
        arrays["action"],
        reward=arrays["reward"],
        terminals=arrays["terminated"],
        timeouts=arrays["truncated"],
        next_obs=arrays.get("next_obs"),
        name=str(path),
    )
    if "next_obs" in arrays and "successor_known" in arrays:
        flat |= _mark_unknown(flat, arrays["successor_known"], str(path))
    if all(key in arrays for key in EPISODES):
        flat["episode_returns"] = np.asarray(arrays["episode_returns"], np.float64)
        flat["episode_lengths"] = np.asarray(arrays["episode_lengths"], np.int64)
    env_id = metadata.get("env_id")
    return Dataset(
        **flat,
        name=str(path),
        env_id=env_id,
        sha256=hash_file(Path(path)),
        reference=_reference(metadata.pop("reference", None), env_id, str(path)),
        metadata=metadata,
    )


def write_npz(path: str | Path, dataset: Dataset) -> None:
    """Write the data set, whole or not at all; the same data set gives the same bytes.

    Args:
        path: the file, replaced if it is there; its name is taken as it is.
        dataset: its name and sha256 belong to the source and are not written.
    """
    path = Path(path)
    arrays = {key: getattr(dataset, key) for key in MATRICES + VECTORS + EPISODES}
    metadata = {**dataset.metadata, "env_id": dataset.env_id, "reference": None}
    if dataset.reference is not None:
        metadata["reference"] = vars(dataset.reference)
    arrays["metadata"] = np.array(json.dumps(metadata, sort_keys=True))
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:  # a handle, so that NumPy appends no suffix
        np.savez_compressed(file, **arrays)
    os.replace(partial, path)


def _read(path: Path, name: str) -> dict[str, np.ndarray]:
    if not path.is_file():
        given = "is a folder" if path.is_dir() else "no such file"
        raise InputError(f"{name}: {given}; expected an .npz archive; check the name and folder")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    # np.load returns a bare array, which is no context manager, for a .npy file (TypeError).
    except _UNREADABLE as error:
        raise InputError(
            f"{name}: cannot be read as an .npz archive of plain arrays ({error}); "
            "write it with np.savez, without object arrays"
        ) from error
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise InputError(
            f"{name}: arrays {', '.join(missing)} missing; the file has "
            f"{', '.join(sorted(arrays)) or 'none'}; expected {', '.join(REQUIRED)}"
        )
    return arrays


def _metadata(arrays: dict[str, np.ndarray], name: str) -> dict[str, object]:
    text = str(arrays.get("metadata", "{}"))
    try:
        metadata = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: metadata is not JSON ({error}); use json.dumps") from error
    env_id = metadata.get("env_id") if isinstance(metadata, dict) else 0
    if not isinstance(env_id, str | None):
        raise InputError(
            f"{name}: metadata is {text[:80]}; expected a JSON object, its env_id a string or null"
        )
    return metadata


def _mark_unknown(
    flat: dict[str, np.ndarray], successor_known: np.ndarray, name: str
) -> dict[str, np.ndarray]:
    known = np.asarray(successor_known).reshape(-1) != 0
    if len(known) != len(flat["obs"]):
        raise InputError(
            f"{name}: successor_known has {len(known)} rows, obs {len(flat['obs'])}; "
            "expected as many; leave it out if every next_obs is true"
        )
    next_obs = np.where(known[:, None], flat["next_obs"], flat["obs"])
    return {"successor_known": known, "next_obs": next_obs}


def _reference(given: object, env_id: str | None, name: str) -> ReferenceScores | None:
    if given is None:
        return reference_scores(env_id)
    try:
        low, high = float(given["random"]), float(given["expert"])
        return ReferenceScores(low, high, source=str(given.get("source", name)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{name}: reference is {given!r}; expected two returns, {{random, expert, source}}"
        ) from error
