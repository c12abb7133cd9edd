"""Checkpoints: the arrays of the state in a safetensors file, and a JSON manifest.

Arrays are named by their place in the state, and nothing is pickled. A checkpoint is a folder that
is written under another name and then renamed, so that it is never seen half-written. When it is
read it is verified by the hash of its arrays and that of the manifest.
"""

import hashlib
import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from moore.errors import InputError
from moore.files import replace_folder, to_disk, trouble, write_whole

# Increased with every change of the state's layout; runs of another format are refused.
FORMAT = 12
_STATE, _MANIFEST = "state.safetensors", "manifest.json"


class DamagedCheckpoint(Exception):
    """The files do not match their manifest, or one is missing."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read: the state, further arrays, and the manifest's information."""

    path: Path
    state: PyTree
    arrays: dict[str, np.ndarray]
    info: dict


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _named_leaves(state: PyTree) -> list[tuple[str, Any]]:
    paths, _ = jax.tree_util.tree_flatten_with_path(state)
    return [("state" + jax.tree_util.keystr(path), leaf) for path, leaf in paths]


def save_checkpoint(
    folder: Path, name: str, state: PyTree, *, arrays: dict[str, np.ndarray], info: dict
) -> Path:
    """Writes `folder/name` in one piece.

    Args:
        folder: the run's `checkpoints` folder.
        name: name of the checkpoint.
        state: a pytree of arrays and PRNG keys.
        arrays: further arrays.
        info: facts for JSON: stage, epoch, score and whatever else the run needs to go on.

    Raises:
        InputError: the disk is full or not writable; earlier checkpoints are not touched.
    """
    leaves = {
        key: np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        for key, leaf in _named_leaves(state)
    }
    partial = folder / f".{name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        extra = {f"arrays/{key}": value for key, value in arrays.items()}
        # safetensors writes memory as it is, so arrays must be in row order.
        contents = {key: np.asarray(value, order="C") for key, value in (leaves | extra).items()}
        save_file(contents, partial / _STATE)
        to_disk(partial / _STATE)
        manifest = {"format": FORMAT, "state_sha256": file_sha256(partial / _STATE), "info": info}
        write_whole(partial / _MANIFEST, sealed(manifest))
        to_disk(partial)
        replace_folder(partial, folder / name)
    except (OSError, SafetensorError, InputError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(_why_not_saved(error, folder)) from None
    return folder / name


def _why_not_saved(error: Exception, folder: Path) -> str:
    reason = trouble(error) if isinstance(error, OSError) else str(error).rstrip(".")
    if "No space left" in reason:  # this is the message of safetensors
        reason = "the disk is full; make room"
    return (
        f"the checkpoint could not be saved to {folder}: {reason}. The one before it is intact: "
        "when this is mended, go on with `moore run --resume`."
    )


def load_checkpoint(path: Path, template: PyTree) -> Checkpoint:
    """Reads a checkpoint into the structure of `template` (arrays or their shapes).

    Raises:
        DamagedCheckpoint: a file is missing, cut short or altered.
        InputError: the checkpoint has another format or belongs to another configuration.
    """
    manifest = read_manifest(path)
    try:
        if file_sha256(path / _STATE) != manifest["state_sha256"]:
            raise DamagedCheckpoint(f"{path / _STATE} does not match its hash")
        stored = load_file(path / _STATE)
    except (OSError, SafetensorError) as error:
        raise DamagedCheckpoint(f"{path}: {error}") from None

    leaves = []
    for key, leaf in _named_leaves(template):
        value = stored.pop(key, None)
        expected = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        if value is None or value.shape != expected.shape or value.dtype != expected.dtype:
            got = "nothing" if value is None else f"{value.dtype}{list(value.shape)}"
            raise InputError(
                f"{path} holds {got} for '{key}'; this configuration needs "
                f"{expected.dtype}{list(expected.shape)}. It belongs to another configuration."
            )
        array = jnp.asarray(value)
        leaves.append(jax.random.wrap_key_data(array) if _is_key(leaf) else array)
    state = jax.tree.unflatten(jax.tree.structure(template), leaves)
    arrays = {key.removeprefix("arrays/"): value for key, value in stored.items()}
    return Checkpoint(path, state, arrays, manifest["info"])


def read_manifest(path: Path) -> dict:
    """The manifest alone.

    Raises:
        DamagedCheckpoint: the manifest is missing or unreadable.
        InputError: the manifest has another format.
    """
    place = path / _MANIFEST
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
        written, has_seal = manifest["format"], SEAL in manifest
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpoint(f"{place}: {error}") from None
    if has_seal and not is_sealed(manifest):
        raise DamagedCheckpoint(f"{place} does not match its hash")
    if written != FORMAT:
        raise InputError(
            f"{path} has checkpoint format {written}; this version of moore reads {FORMAT}. "
            "Go on with the version that wrote it, or begin the run anew."
        )
    if not has_seal:
        raise DamagedCheckpoint(f"{place} has no hash")
    return manifest


# Name of the entry of a JSON object that holds the hash of all others.
SEAL = "hash"


def sealed(contents: dict) -> str:
    """A JSON object with a hash of its contents."""
    return json.dumps(contents | {SEAL: _hash(contents)}, indent=1)


def is_sealed(contents: dict) -> bool:
    """Whether the object is what `sealed` wrote."""
    rest = {key: value for key, value in contents.items() if key != SEAL}
    return contents.get(SEAL) == _hash(rest)


def _hash(contents: dict) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and matches its hashes."""
    try:
        return file_sha256(path / _STATE) == read_manifest(path)["state_sha256"]
    except (OSError, DamagedCheckpoint, InputError):
        return False


def newest_first(folder: Path) -> list[Path]:
    """Complete checkpoints of a run's epochs, the newest first."""
    return sorted(folder.glob("[!.]*-epoch-*"), reverse=True)


def prune(folder: Path, *, keep: Collection[str]) -> None:
    """Deletes all checkpoints of epochs except those with these names."""
    for path in newest_first(folder):
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
