"""Minari data sets, local or downloaded: every episode holds one observation more than actions."""

import contextlib
import hashlib
import sys

import numpy as np

from moore.data.dataset import Dataset, from_flat_arrays
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores


def read_minari(dataset_id: str, download: bool = False) -> Dataset:
    """Read `dataset_id` from Minari's local folder.

    An episode whose last row carries no flag becomes truncated there, since Minari ended it.

    Args:
        dataset_id: such as `mujoco/hopper/medium-v0`.
        download: fetch it first if it is not local.

    Raises:
        InputError: not local and not to be downloaded, not found, or spaces that are not vectors.
    """
    source = _open(dataset_id, download)
    _check_spaces(dataset_id, source)
    arrays = _flat(dataset_id, source)
    flat = from_flat_arrays(
        arrays["obs"],
        arrays["action"],
        reward=arrays["reward"],
        terminals=arrays["terminated"],
        timeouts=arrays["truncated"],
        next_obs=arrays["next_obs"],
        name=dataset_id,
    )
    scalars = (str, bool, int, float)
    metadata = {k: v for k, v in source.storage.metadata.items() if isinstance(v, scalars)}
    env_id = None if source.spec.env_spec is None else source.spec.env_spec.id
    return Dataset(
        **flat,
        name=dataset_id,
        env_id=env_id,
        sha256=_hash(flat),
        reference=_reference(source.storage.metadata, env_id),
        metadata=metadata,
    )


def _open(dataset_id: str, download: bool):  # a minari.MinariDataset; minari loads on use only
    import minari

    try:
        with contextlib.redirect_stdout(sys.stderr):  # Minari prints its progress
            return minari.load_dataset(dataset_id, download=download)
    except FileNotFoundError as error:
        raise InputError(
            f"minari:{dataset_id}: not in the local Minari folder; pass --download (download=True),"
            f" or run: minari download {dataset_id}"
        ) from error
    # A malformed id is a TypeError inside Minari; the network fails as OSError or RuntimeError.
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(
            f"minari:{dataset_id}: cannot be loaded ({error}); expected an id such as "
            "mujoco/hopper/medium-v0; `minari list remote` shows those there are"
        ) from error


def _check_spaces(dataset_id: str, source) -> None:
    spaces = {"observation": source.observation_space, "action": source.action_space}
    for kind, space in spaces.items():
        if type(space).__name__ != "Box" or len(space.shape) != 1:
            raise InputError(
                f"minari:{dataset_id}: the {kind} space is {str(space)[:100]}; expected a Box of "
                "vectors; flatten the observations or choose a data set with continuous actions"
            )


def _flat(dataset_id: str, source) -> dict[str, np.ndarray]:
    columns = {k: [] for k in ("obs", "next_obs", "action", "reward", "terminated", "truncated")}
    for episode in source.iterate_episodes():
        if len(episode) == 0:
            continue
        cut = np.array(episode.truncations, bool)
        cut[-1] |= not episode.terminations[-1]
        columns["obs"].append(episode.observations[:-1])
        columns["next_obs"].append(episode.observations[1:])
        columns["action"].append(episode.actions)
        columns["reward"].append(episode.rewards)
        columns["terminated"].append(episode.terminations)
        columns["truncated"].append(cut)
    if not columns["obs"]:
        raise InputError(f"minari:{dataset_id}: no episodes; choose a data set that has some")
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        value = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {value.dtype} {value.shape}".encode())
        digest.update(value)
    return digest.hexdigest()


def _reference(metadata: dict, env_id: str | None) -> ReferenceScores | None:
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if low is None or high is None:
        return reference_scores(env_id)
    return ReferenceScores(float(low), float(high), source="Minari metadata")
