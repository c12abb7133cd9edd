"""What the learner process tells the process that acts, in files that are replaced in one piece.

The folder `learner` of a session holds `state.json`, the newest publication with a hash of its
content, and the policies that it may name. The name of a policy's file has its number and the
beginning of the hash of its content. Nothing here is waited for: who reads a file that is missing
or damaged takes the next one.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load, save

from moore.errors import InputError
from moore.files import short_path, to_disk
from moore.runs.checkpoint import SEAL, is_sealed, sealed

LEARNER, STATE = "learner", "state.json"
# A file that a learner process touches every second, as long as it has any time at all.
PULSE = "pulse"
_DIGITS = 16


@dataclass(frozen=True)
class Publication:
    """How far a learner process is.

    Attributes:
        launch: tells the process from those that were started before.
        policy: number of the newest policy that it has published, 0 before the first one.
        heard: number of the guard's setbacks that it knew when this policy was accepted.
        verdict: whether the newest policy was accepted when the gate was asked last.
        steps: number of steps since the hand-over that were learned from.
        updates: number of updates that the session has made.
        saved: number of the last order to save that was carried out.
        trouble: why the process has ended, as a sentence; "" while it runs.
    """

    launch: str
    policy: int = 0
    heard: int = 0
    verdict: bool | None = None
    steps: int = 0
    updates: int = 0
    saved: int = 0
    trouble: str = ""


def write_publication(folder: Path, told: Publication) -> None:
    """Replaces the publication; raises OSError if that is not possible now."""
    partial = folder / f".{STATE}.partial"
    partial.write_text(sealed(asdict(told)), encoding="utf-8")
    os.replace(partial, folder / STATE)


def read_publication(folder: Path) -> Publication | None:
    """The newest publication; None if there is none, or none that can be used."""
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not is_sealed(found):
            return None
        found.pop(SEAL)
        return Publication(**found)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path).lstrip(".")


def write_policy(folder: Path, number: int, weights: PyTree, *, durable: bool) -> None:
    """Writes a policy under a new number; raises OSError if that is not possible now.

    Args:
        folder: folder of the learner.
        number: its number.
        weights: its arrays.
        durable: whether to wait until it is on the disk itself.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(jax.device_get(weights))
    content = save({_name(path): np.asarray(leaf, order="C") for path, leaf in leaves})
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    partial = folder / ".policy.partial"
    partial.write_bytes(content)
    if durable:
        to_disk(partial)
    os.replace(partial, folder / f"policy-{number:06d}-{digest}.safetensors")


def read_policy(folder: Path, number: int, like: PyTree) -> PyTree:
    """The arrays of a policy.

    Args:
        folder: folder of the learner.
        number: its number.
        like: another policy of the same learner.

    Raises:
        InputError: it is not there, or damaged.
    """
    found = [path for path in _policies(folder) if _number(path) == number]
    try:
        content = found[0].read_bytes()
        if hashlib.sha256(content).hexdigest()[:_DIGITS] != found[0].stem[-_DIGITS:]:
            raise ValueError("it does not match its hash")
        arrays = load(content)
        places, structure = jax.tree_util.tree_flatten_with_path(like)
        leaves = [arrays[_name(path)] for path, _ in places]
        if any(a.shape != np.shape(b) for a, (_, b) in zip(leaves, places, strict=True)):
            raise ValueError("it has other shapes")
        return jax.tree.unflatten(structure, leaves)
    except (IndexError, KeyError, OSError, ValueError, SafetensorError) as error:
        why = "it is not there" if isinstance(error, IndexError) else error
        raise InputError(
            f"policy {number} of {short_path(folder)} cannot be used ({why}); put back a copy of "
            "the session's folder."
        ) from None


def last_number(folder: Path) -> int:
    """The largest number of a policy that is there, or 0."""
    return max(map(_number, _policies(folder)), default=0)


def drop_policies(folder: Path, *, before: int) -> None:
    """Deletes the policies with smaller numbers."""
    for path in _policies(folder):
        if _number(path) < before:
            with contextlib.suppress(OSError):  # Windows keeps what somebody is reading
                path.unlink()


def _policies(folder: Path) -> list[Path]:
    return sorted(folder.glob("policy-*-*.safetensors"))


def _number(path: Path) -> int:
    number = path.name.split("-")[1]
    return int(number) if number.isdigit() else 0
