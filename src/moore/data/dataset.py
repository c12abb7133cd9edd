"""The log: checked arrays of transitions whose successors are true, or marked as unknown.

D4RL's flat files give the successor in three ways: v2 stores it; in v1 it is the next row; in v0
too, but without time-out flags. If the next row is always taken, a terminal or time-out row gets
the first state of the next episode (Farama-Foundation/D4RL#145), and a dynamics model learns that.
`from_flat_arrays` never does this.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moore.data.checks import (
    MATRICES,
    as_flags,
    as_float32,
    check_finite,
    check_numbers,
    check_shapes,
    column,
    shown,
)
from moore.data.cuts import find_cuts, unflagged_ends
from moore.data.episodes import TIME_LIMIT, cut_at_limit, derive_successors, episode_statistics
from moore.data.joined import check_joined
from moore.data.log import Log, told
from moore.data.precision import lost_in_float32
from moore.data.row_file import Whole
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores

VECTORS = ("reward", "terminated", "truncated", "successor_known")
EPISODES = ("episode_returns", "episode_lengths")


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class Dataset:
    """A log of n transitions and of m complete episodes."""

    obs: np.ndarray  # (n, obs_dim) float32
    action: np.ndarray  # (n, action_dim) float32
    reward: np.ndarray  # (n,) float32
    next_obs: np.ndarray  # (n, obs_dim) float32: true where successor_known, else a copy of obs
    terminated: np.ndarray  # (n,) bool: the environment ended the episode, no value follows
    truncated: np.ndarray  # (n,) bool: the episode was cut after this row without a terminal
    successor_known: np.ndarray  # (n,) bool: False on terminated rows without a logged successor
    episode_returns: np.ndarray  # (m,) float64: undiscounted, the raw log's complete episodes only
    episode_lengths: np.ndarray  # (m,) int64: steps of the same episodes
    name: str  # as the user named it
    env_id: str | None  # Gymnasium id, where the log says
    sha256: str  # of the source file's bytes; of the arrays where there is no single file
    reference: ReferenceScores | None  # returns that define the normalised score
    metadata: dict[str, object]  # whatever else the source says, JSON-able
    # The log on disk, if it is larger than memory: the rows here are a random part of it, but the
    # episodes' returns and lengths are those of all of it.
    whole: Whole | None = None

    @property
    def size(self) -> int:
        return len(self.obs)

    @property
    def total(self) -> int:
        """Number of rows of the log, here or on disk."""
        return self.size if self.whole is None else self.whole.file.size

    @property
    def obs_dim(self) -> int:
        return self.obs.shape[1]

    @property
    def action_dim(self) -> int:
        return self.action.shape[1]

    @property
    def has_terminals(self) -> bool:
        """Whether the environment ended any episode of the log."""
        return bool(self.terminated.any())


def validate(dataset: Dataset) -> None:
    """Raises a one-line InputError unless the arrays are as `Dataset` describes them."""
    name = dataset.name
    check_shapes(name, {key: getattr(dataset, key).shape for key in MATRICES + VECTORS})
    for key in ("obs", "action", "reward", "next_obs"):
        check_finite(name, key, getattr(dataset, key))
    fine = dataset.successor_known | dataset.terminated
    if not fine.all():
        raise InputError(
            f"{name}: successor unknown in {(~fine).sum()} rows that are not terminated (first: "
            f"row {fine.argmin()}); expected unknown successors on terminated rows only; drop "
            "these rows or give their next_obs"
        )
    if len(dataset.episode_returns) == 0:
        raise InputError(
            f"{name}: no complete episode in {dataset.size} rows; expected at least one row flagged"
            " terminated or truncated; check the flags, or give a longer log"
        )
    check_finite(name, "episode_returns", dataset.episode_returns)
    _check_origin(dataset)


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """Joins data sets of one environment, in order; InputError if dimensions or env ids differ.

    The last row of each part becomes truncated unless it ends an episode, so that no episode runs
    on into the next part. Env ids must agree if they are given. The reference scores are those of
    the first part that has any. `metadata["parts"]` keeps every part's name, hash and metadata.
    """
    if not datasets:
        raise InputError("no data set given; expected at least one")
    if len(datasets) == 1:
        return datasets[0]
    _check_compatible(datasets)
    keys = MATRICES + VECTORS + EPISODES
    joined: dict[str, Any] = {
        key: np.concatenate([getattr(d, key) for d in datasets]) for key in keys
    }
    last = np.cumsum([d.size for d in datasets]) - 1
    joined["truncated"][last] |= ~joined["terminated"][last]
    return Dataset(
        **joined,
        name=",".join(d.name for d in datasets),
        env_id=next((d.env_id for d in datasets if d.env_id is not None), None),
        sha256=hashlib.sha256("".join(d.sha256 for d in datasets).encode()).hexdigest(),
        reference=next((d.reference for d in datasets if d.reference is not None), None),
        metadata={"parts": [{**d.metadata, "name": d.name, "sha256": d.sha256} for d in datasets]},
    )


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is for `validate` to report
def from_log(log: Log, *, max_episode_steps: int | None = None, overwrite: bool = False) -> Dataset:
    """Makes a data set from a log; it is not validated yet.

    Args:
        log: the log; its `successor_known`, `episode_returns` and `episode_lengths` are used if
            they are given.
        max_episode_steps: time limit in steps, used if the log has no time-out flags; None for the
            result of `moore.data.cuts.find_cuts`.
        overwrite: reuse the log's arrays and destroy their content.
    """
    log, found = _with_ends(log, max_episode_steps)
    flat = from_flat_arrays(
        log.obs,
        log.action,
        reward=log.reward,
        terminals=log.terminated,
        timeouts=log.truncated,
        next_obs=log.next_obs,
        name=log.name,
        overwrite=overwrite,
    )
    if log.next_obs is not None and log.successor_known is not None:
        flat |= _mark_unknown(flat, log.successor_known, log.name)
    if log.episode_returns is not None and log.episode_lengths is not None:
        flat |= _given_statistics(log, flat)
    return Dataset(
        **flat,
        name=log.name,
        env_id=log.env_id,
        sha256=log.sha256 or _hash(flat),
        reference=log.reference,
        metadata=log.metadata | found,
        whole=log.whole,
    )


def _with_ends(log: Log, max_episode_steps: int | None) -> tuple[Log, dict[str, object]]:
    """The log with time-outs, and metadata on facts that only the raw rows show."""
    arrays = {key: getattr(log, key) for key in ("obs", "action", "reward", "next_obs")}
    given = arrays | {"terminated": log.terminated, "truncated": log.truncated}
    shapes = {}
    for key, value in given.items():
        if value is not None:
            check_numbers(log.name, key, value.dtype)
            shapes[key] = column(key, value.shape)
    check_shapes(log.name, shapes)
    found: dict[str, object] = {}
    truncated = log.truncated
    if truncated is None:
        cuts = find_cuts(log, max_episode_steps)
        truncated, found = cuts.truncated, cuts.metadata
        log = replace(log, truncated=truncated)
    ends = (log.terminated.reshape(-1) != 0) | (truncated.reshape(-1) != 0)
    if signs := unflagged_ends(log, ends):
        found["unflagged_ends"] = signs
    if lost := lost_in_float32(arrays, ends):  # of those that its reader has not made float32
        found["float32"] = told(log.metadata, "float32") | lost
    return log, found


def from_flat_arrays(
    obs: np.ndarray,
    action: np.ndarray,
    *,
    reward: np.ndarray,
    terminals: np.ndarray,
    timeouts: np.ndarray | None = None,
    next_obs: np.ndarray | None = None,
    max_episode_steps: int = TIME_LIMIT,
    name: str = "data set",
    overwrite: bool = False,
) -> dict[str, np.ndarray]:
    """The array fields of `Dataset` from the rows of a log, episode after episode.

    Without `next_obs` the successor is the next row's observation, inside an episode only. A
    terminal row then keeps an unknown successor. Any other row without one (a time-out, the last
    row) is dropped, but counts in its episode's return and length; the row before it becomes
    truncated, because the kept part of the episode is cut there. A row with both flags is terminal.

    Args:
        obs: (n, obs_dim) numbers of any type; they become float32, without a copy if they are.
        action: (n, action_dim).
        reward: (n,) or (n, 1).
        terminals: (n,) or (n, 1), non-zero where the environment ended the episode.
        timeouts: the same for time limits; with None, episodes are cut at `max_episode_steps` rows.
        next_obs: (n, obs_dim) true successors, or None.
        max_episode_steps: time limit in steps, used if `timeouts` is None.
        name: name of the data set in errors.
        overwrite: work in the given arrays and destroy their content, to save a second copy.
    """
    given = {"obs": obs, "action": action, "reward": reward, "terminated": terminals}
    maybe = {"truncated": timeouts, "next_obs": next_obs}
    given |= {key: value for key, value in maybe.items() if value is not None}
    raw = {key: np.asarray(value) for key, value in given.items()}
    for key, value in raw.items():
        check_numbers(name, key, value.dtype)
        raw[key] = value.reshape(column(key, value.shape))
    check_shapes(name, {key: value.shape for key, value in raw.items()})
    terminated = as_flags(name, "terminated", raw["terminated"])
    if timeouts is None:
        truncated = cut_at_limit(terminated, max_episode_steps)
    else:
        truncated = as_flags(name, "truncated", raw["truncated"])
        truncated = np.greater(truncated, terminated, out=truncated)
    returns, lengths = episode_statistics(raw["reward"], terminated | truncated)
    arrays = {key: as_float32(raw.pop(key)) for key in ("obs", "action", "reward")}
    arrays |= {"terminated": terminated, "truncated": truncated}
    if next_obs is None:
        arrays = derive_successors(arrays, overwrite=overwrite)
    else:
        arrays["next_obs"] = as_float32(raw["next_obs"])
        arrays["successor_known"] = np.ones(len(terminated), bool)
    return arrays | {"episode_returns": returns, "episode_lengths": lengths}


def _check_origin(dataset: Dataset) -> None:
    env_id, reference = dataset.env_id, dataset.reference
    if env_id is not None and not env_id.isprintable():
        raise InputError(
            f"{dataset.name}: env_id is {shown(ascii(env_id))}; expected a Gymnasium id; correct it"
        )
    if reference is None:
        return
    scores = reference.random, reference.expert
    if not np.isfinite(scores).all() or scores[0] == scores[1]:
        raise InputError(
            f"{dataset.name}: reference scores are {scores[0]:g} (random) and {scores[1]:g} "
            "(expert); expected two finite returns that differ; correct them or leave both out"
        )


def _mark_unknown(
    flat: dict[str, np.ndarray], successor_known: np.ndarray, name: str
) -> dict[str, np.ndarray]:
    known = as_flags(name, "successor_known", np.asarray(successor_known).reshape(-1))
    if len(known) != len(flat["obs"]):
        raise InputError(
            f"{name}: successor_known has {len(known)} rows, obs {len(flat['obs'])}; "
            "expected as many; leave it out if every next_obs is true"
        )
    next_obs = np.where(known[:, None], flat["next_obs"], flat["obs"])
    return {"successor_known": known, "next_obs": next_obs}


def _given_statistics(log: Log, own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The statistics that the source states; `own` are of the rows, which may be a part of it."""
    given = {key: getattr(log, key) for key in EPISODES}
    for key, value in given.items():
        check_numbers(log.name, key, value.dtype)
    shapes = {value.shape for value in given.values()}
    if len(shapes) > 1 or len(*shapes) != 1:
        raise InputError(
            f"{log.name}: episode_returns and episode_lengths have shapes "
            f"{given['episode_returns'].shape} and {given['episode_lengths'].shape}; expected "
            "(episodes,) in both; leave them out if they follow from the flags"
        )
    lengths = given["episode_lengths"]
    if not (np.isfinite(lengths) & (lengths >= 1) & (lengths == np.floor(lengths))).all():
        raise InputError(
            f"{log.name}: episode_lengths are {shown(lengths)}; expected whole numbers of at least "
            "1; leave them out if they follow from the flags"
        )
    kinds = {"episode_returns": np.float64, "episode_lengths": np.int64}
    given = {key: np.asarray(value, kinds[key]) for key, value in given.items()}
    if np.array_equal(given["episode_lengths"], own["episode_lengths"]):  # all rows are there
        off = np.abs(given["episode_returns"] - own["episode_returns"])
        wrong = off > 1e-3 * max(np.abs(own["episode_returns"]).max(initial=0.0), 1e-6)
        if wrong.any():
            first = int(wrong.argmax())
            raise InputError(
                f"{log.name}: episode_returns has {given['episode_returns'][first]:g} for episode "
                f"{first} (counted from 0), but its rewards add up to "
                f"{own['episode_returns'][first]:g}; expected the same; leave episode_returns and "
                "episode_lengths out, or write them again"
            )
    return given


def _hash(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        value = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {value.dtype} {value.shape}".encode())
        digest.update(value.data)
    return digest.hexdigest()


def _check_compatible(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    if large := next((d for d in datasets if d.whole is not None), None):
        raise InputError(
            f"{large.name}: {large.total:,} rows stay on disk and cannot be joined with "
            "others here; join them with moore convert A,B --out JOINED.rows, or give --max-rows"
        )
    for other in datasets[1:]:
        dims, expected = (other.obs_dim, other.action_dim), (first.obs_dim, first.action_dim)
        if dims != expected:
            raise InputError(
                f"{other.name}: (obs_dim, action_dim) = {dims}, but {first.name} has {expected}; "
                "only data sets of one environment can be joined"
            )
        check_joined((first.name, first.metadata), (other.name, other.metadata))
    ids = {d.env_id: d.name for d in datasets if d.env_id is not None}
    if len(ids) > 1:
        given = ", ".join(f"{name} is of {env_id}" for env_id, name in ids.items())
        raise InputError(f"{given}; only data sets of one environment can be joined")
