"""D4RL's flat HDF5 files, versions 0, 1 and 2 (Fu et al. 2020), and logs in the same layout."""

import os
from pathlib import Path

import h5py
import numpy as np

from moore.data.dataset import Dataset, from_flat_arrays, hash_file
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("timeouts", "next_observations")


def read_d4rl(path: str | Path, *, max_episode_steps: int = 1000) -> Dataset:
    """Read a flat HDF5 log; `infos/*` and other keys are ignored.

    Scalar attributes become metadata; `env_id` names the environment, and numeric `ref_min_score`
    and `ref_max_score` replace the known reference scores.

    Args:
        path: the file; a relative one that is not there is also looked for in D4RL's folders,
            `$D4RL_DATASET_DIR` and `~/.d4rl/datasets`.
        max_episode_steps: time limit in steps for files without `timeouts` (v0).

    Raises:
        InputError: no such file, not HDF5 or cut short, keys missing, arrays that do not fit.
    """
    file = _find(Path(path))
    arrays, metadata = _read(file, str(path))
    flat = from_flat_arrays(
        arrays["observations"],
        arrays["actions"],
        reward=arrays["rewards"],
        terminals=arrays["terminals"],
        timeouts=arrays.get("timeouts"),
        next_obs=arrays.get("next_observations"),
        max_episode_steps=max_episode_steps,
        name=str(path),
    )
    env_id = metadata.get("env_id")
    env_id = env_id if isinstance(env_id, str) else None
    return Dataset(
        **flat,
        name=str(path),
        env_id=env_id,
        sha256=hash_file(file),
        reference=_reference(metadata, env_id),
        metadata=metadata | {"file_rows": len(arrays["observations"])},
    )


def _find(path: Path) -> Path:
    places = [path]
    if not path.is_absolute():
        folders = [os.environ.get("D4RL_DATASET_DIR"), Path.home() / ".d4rl" / "datasets"]
        places += [Path(folder) / path for folder in folders if folder]
    for place in places:
        if place.is_dir():
            raise InputError(f"{path}: is a folder; expected an HDF5 file; name a file in it")
        if place.exists():
            return place
    looked = ", ".join(str(place) for place in places)
    raise InputError(f"{path}: no such file (looked for {looked}); check the name and the folder")


def _read(file: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    try:
        with h5py.File(file, "r") as source:
            present = sorted(key for key, item in source.items() if isinstance(item, h5py.Dataset))
            _check_keys(name, present, sorted(source))
            arrays = {key: source[key][()] for key in REQUIRED + OPTIONAL if key in present}
            return arrays, _scalars(source.attrs)
    except (OSError, RuntimeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: cannot be read as HDF5 ({error}); expected a whole D4RL file; "
            "download or copy it again"
        ) from error


def _check_keys(name: str, arrays: list[str], keys: list[str]) -> None:
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise InputError(
            f"{name}: arrays {', '.join(missing)} missing; the file has {', '.join(keys) or 'none'}"
            "; expected D4RL's flat layout: rename the arrays, or write an .npz file"
        )


def _scalars(attributes: h5py.AttributeManager) -> dict[str, object]:
    scalars = {}
    for key, value in attributes.items():
        value = (
            value.item()
            if isinstance(value, np.ndarray | np.generic) and value.size == 1
            else value
        )
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str | bool | int | float):
            scalars[key] = value
    return scalars


def _reference(metadata: dict[str, object], env_id: str | None) -> ReferenceScores | None:
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if isinstance(low, int | float) and isinstance(high, int | float):
        return ReferenceScores(float(low), float(high), source="ref_min_score and ref_max_score")
    return reference_scores(env_id)
