"""A raw log: every row and key of its source, before any check or derivation."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from moore.data.row_file import Whole
from moore.evaluation.scores import ReferenceScores

if TYPE_CHECKING:
    from moore.data.dataset import Dataset


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Log:
    """The n rows of a log, episode after episode; every format is read into it and written from it.

    `moore.formats.load.load_dataset` turns it into the checked `Dataset` for training. With
    `exact=True` arrays keep the types of their source, including flags and (n, 1) columns.
    """

    obs: np.ndarray  # (n, obs_dim)
    action: np.ndarray  # (n, action_dim), in the units of the environment
    reward: np.ndarray  # (n,)
    terminated: np.ndarray  # (n,) bool: the environment ended the episode
    truncated: np.ndarray | None  # (n,) bool: a time limit did; None: not recorded (D4RL v0)
    next_obs: np.ndarray | None  # (n, obs_dim) true successors; None: not recorded (D4RL v0, v1)
    name: str  # as the user named it
    env_id: str | None = None  # Gymnasium id, where the source says
    sha256: str = ""  # of the source file's bytes; of the arrays where there is no single file
    reference: ReferenceScores | None = None
    # What else is stored a row, each (n, ...), by name: qpos and qvel of the observed state.
    infos: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)  # the rest, JSON-able
    successor_known: np.ndarray | None = None  # (n,) bool: whether next_obs is true; None: all are
    # Of m complete episodes, where the source says more than its rows do: (m,) sums and steps.
    episode_returns: np.ndarray | None = None
    episode_lengths: np.ndarray | None = None
    # What an HDF5 file holds besides rows, `exact` only: arrays by KEY, attributes by KEY@NAME.
    extras: dict[str, object] = field(default_factory=dict)
    # The log on disk, if it is larger than memory and these rows are a random part of it.
    whole: Whole | None = None

    @property
    def size(self) -> int:
        return len(self.obs)

    @classmethod
    def of(
        cls,
        columns: Mapping[str, np.ndarray],
        *,
        name: str,
        env_id: str | None = None,
        sha256: str = "",
        reference: ReferenceScores | None = None,
        infos: dict[str, np.ndarray] | None = None,
        metadata: dict[str, object] | None = None,
        extras: dict[str, object] | None = None,
    ) -> "Log":
        """The log with these arrays by the names of its fields; one left out is not recorded."""
        return cls(
            obs=columns["obs"],
            action=columns["action"],
            reward=columns["reward"],
            terminated=columns["terminated"],
            truncated=columns.get("truncated"),
            next_obs=columns.get("next_obs"),
            name=name,
            env_id=env_id,
            sha256=sha256,
            reference=reference,
            infos=infos or {},
            metadata=metadata or {},
            successor_known=columns.get("successor_known"),
            episode_returns=columns.get("episode_returns"),
            episode_lengths=columns.get("episode_lengths"),
            extras=extras or {},
        )


def stored_successors(log: "Log | Dataset") -> np.ndarray:
    """(n, obs_dim): `next_obs` of a log that has it; a data set always does, a raw log may not."""
    assert log.next_obs is not None
    return log.next_obs


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def notes_of(metadata: Mapping[str, object]) -> list[str]:
    """The notes of the readers on a log, or on all joined logs, in sentences."""
    found = []
    for source in (metadata, *parts_of(metadata)):
        notes = source.get("notes")
        found += [n for n in notes if isinstance(n, str)] if isinstance(notes, list) else []
    return list(dict.fromkeys(found))


def with_notes(metadata: Mapping[str, object], notes: list[str]) -> dict[str, object]:
    """The metadata of a log with further notes, in sentences."""
    told = list(dict.fromkeys((*notes_of({**metadata, "parts": None}), *notes)))
    return {**metadata, **({"notes": told} if notes else {})}


def parts_of(metadata: Mapping[str, object]) -> list[dict]:
    """Metadata of the joined logs; empty for a single log."""
    parts = metadata.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def told(metadata: Mapping[str, object], key: str) -> dict:
    """A reader's result under this key, for the log or the first joined one that has it.

    A file may hold metadata with the same name; a value of another form is not a reader's.
    """
    for source in (metadata, *parts_of(metadata)):
        found = source.get(key)
        if isinstance(found, dict) and found and _FORMS[key](found):
            return found
    return {}


def _is_lost(value: dict) -> bool:
    columns = [column for part in value.values() if isinstance(part, list) for column in part]
    return (
        value.keys() <= {"obs", "action", "reward"}
        and all(isinstance(part, list) and part for part in value.values())
        and all(isinstance(column, dict) and column.keys() == _LOST.keys() for column in columns)
        and all(_is(column[key], kind) for column in columns for key, kind in _LOST.items())
    )


def _is_ends(value: dict) -> bool:
    steps = value.get("steps")
    known = _is(steps, int) and steps >= 1
    return value.get("source") in ENDS and (known or (steps, value["source"]) == _BY_ROWS)


def _is_signs(value: dict) -> bool:
    return (
        len(value) == 1
        and value.keys() <= {"every", "jumps", "early", "late", "said", "shuffled"}
        and all(_is(number, int) for number in value.values())
    )


def _is(value: object, kind: type[float]) -> TypeGuard[float]:
    return isinstance(value, (int, kind)) and not isinstance(value, bool) and math.isfinite(value)


# How the ends of a log without time-out flags are found: `moore.data.cuts`.
ENDS = ("given", "environment", "successors", "lengths", "measured", "assumed")
_BY_ROWS = (None, "successors")
_LOST = {"dim": int, "rounding": float, "wrong": float}
_FORMS = {"float32": _is_lost, "ends": _is_ends, "unflagged_ends": _is_signs}
