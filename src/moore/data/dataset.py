"""The log: checked arrays of transitions whose successors are true, or marked as unknown.

D4RL's flat files hold the successor in three ways: v2 stores it; v1 leaves it to the next row; v0
does so too and has no time-out flags. Taking the next row blindly gives a terminal or time-out row
the first state of the next episode (Farama-Foundation/D4RL#145), which a dynamics model would then
learn. `from_flat_arrays` never does.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores

MATRICES = ("obs", "action", "next_obs")
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

    @property
    def size(self) -> int:
        return len(self.obs)

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
    """Raise InputError, in one line, unless the data set keeps the promises of `Dataset`."""
    name = dataset.name
    _check_shapes(name, {key: getattr(dataset, key) for key in MATRICES + VECTORS})
    for key in ("obs", "action", "reward", "next_obs"):
        _check_finite(name, key, getattr(dataset, key))
    lost = ~dataset.successor_known & ~dataset.terminated
    if lost.any():
        raise InputError(
            f"{name}: successor unknown in {lost.sum()} rows that are not terminated (first: row "
            f"{lost.argmax()}); expected unknown successors on terminated rows only; drop these "
            "rows or give their next_obs"
        )
    if len(dataset.episode_returns) == 0:
        raise InputError(
            f"{name}: no complete episode in {dataset.size} rows; expected at least one row flagged"
            " terminated or truncated; check the flags, or give a longer log"
        )
    _check_finite(name, "episode_returns", dataset.episode_returns)


def concatenate(datasets: Sequence[Dataset]) -> Dataset:
    """Join data sets of one environment, in order; InputError if dimensions or env ids differ.

    The last row of each part becomes truncated unless it ends an episode, so that no episode runs
    on into the next part. Env ids must agree where they are given; the reference scores are those
    of the first part that has any; `metadata["parts"]` keeps every part's name, hash and metadata.
    """
    if not datasets:
        raise InputError("no data set given; expected at least one")
    if len(datasets) == 1:
        return datasets[0]
    _check_compatible(datasets)
    keys = MATRICES + VECTORS + EPISODES
    joined = {key: np.concatenate([getattr(d, key) for d in datasets]) for key in keys}
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


def from_flat_arrays(
    obs: np.ndarray,
    action: np.ndarray,
    *,
    reward: np.ndarray,
    terminals: np.ndarray,
    timeouts: np.ndarray | None = None,
    next_obs: np.ndarray | None = None,
    max_episode_steps: int = 1000,
    name: str = "data set",
) -> dict[str, np.ndarray]:
    """The array fields of `Dataset` from the rows of a log, episode after episode.

    Without `next_obs` the successor is the next row's observation, inside an episode only. A
    terminal row then keeps an unknown successor. Any other row without one (a time-out, the last
    row) is dropped, but counts in its episode's return and length; the row before it becomes
    truncated, because the kept part of the episode is cut there. A row with both flags is terminal.

    Args:
        obs: (n, obs_dim) numbers of any type; becomes float32 here and nowhere else.
        action: (n, action_dim).
        reward: (n,) or (n, 1).
        terminals: (n,) or (n, 1), non-zero where the environment ended the episode.
        timeouts: the same for time limits; None: an episode is cut at `max_episode_steps` rows.
        next_obs: (n, obs_dim) true successors, or None.
        max_episode_steps: time limit in steps, used where `timeouts` is None.
        name: the data set, in the InputErrors: bad shapes, no rows, arrays that are not numbers.
    """
    raw = {"obs": obs, "action": action, "reward": reward, "terminated": terminals}
    raw |= {"truncated": timeouts, "next_obs": next_obs}
    raw = {key: _numeric(name, key, value) for key, value in raw.items() if value is not None}
    _check_shapes(name, raw)
    terminated = raw["terminated"] != 0
    if timeouts is None:
        truncated = _cut_at_limit(terminated, max_episode_steps)
    else:
        truncated = (raw["truncated"] != 0) & ~terminated
    returns, lengths = episode_statistics(raw["reward"], terminated | truncated)
    arrays = {key: _float32(raw[key]) for key in ("obs", "action", "reward")}
    arrays |= {"terminated": terminated, "truncated": truncated}
    if next_obs is None:
        arrays = _derive_successors(arrays)
    else:
        arrays["next_obs"] = _float32(raw["next_obs"])
        arrays["successor_known"] = np.ones(len(terminated), bool)
    return arrays | {"episode_returns": returns, "episode_lengths": lengths}


def episode_statistics(reward: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (m,) float64 and lengths (m,) int64 of the episodes that `ends` (n,) bool closes."""
    last = np.flatnonzero(ends)
    if len(last) == 0:
        return np.zeros(0), np.zeros(0, np.int64)
    first = np.concatenate([[0], last[:-1] + 1])
    returns = np.add.reduceat(reward[: last[-1] + 1].astype(np.float64), first)
    return returns, (last - first + 1).astype(np.int64)


def hash_file(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _derive_successors(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    obs, terminated = arrays["obs"], arrays["terminated"]
    ends = terminated | arrays["truncated"]
    known = ~ends
    known[-1] = False
    next_obs = obs.copy()
    next_obs[:-1][known[:-1]] = obs[1:][known[:-1]]
    keep = known | terminated
    truncated = arrays["truncated"].copy()
    truncated[:-1] |= ~keep[1:] & ~ends[:-1]
    new = {"truncated": truncated, "next_obs": next_obs, "successor_known": known}
    return {key: value[keep] for key, value in (arrays | new).items()}


def _cut_at_limit(terminated: np.ndarray, limit: int) -> np.ndarray:
    row = np.arange(len(terminated))
    after_terminal = np.where(terminated[:-1], row[1:], 0)
    step = row - np.maximum.accumulate(np.concatenate([[0], after_terminal])) + 1
    return (step % limit == 0) & ~terminated


def _numeric(name: str, key: str, value: np.ndarray) -> np.ndarray:
    value = np.asarray(value)
    if value.dtype.kind not in "biuf":
        raise InputError(
            f"{name}: {key} has dtype {value.dtype}; expected numbers; convert and write it again"
        )
    return value[:, 0] if key not in MATRICES and value.shape[1:] == (1,) else value


def _float32(value: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows becomes infinite, and `validate` reports it
        return np.array(value, np.float32)


def _check_shapes(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    for key, value in arrays.items():
        ndim = 2 if key in MATRICES else 1
        if value.ndim != ndim:
            expected = "(rows, dim)" if ndim == 2 else "(rows,)"
            raise InputError(
                f"{name}: {key} has shape {value.shape}; expected {expected}; reshape the array"
            )
    rows = {key: len(value) for key, value in arrays.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"{name}: lengths differ: {rows}; expected one row per transition in each")
    if rows["obs"] == 0:
        raise InputError(f"{name}: no rows; expected transitions with their successors")
    if "next_obs" in arrays and arrays["next_obs"].shape != arrays["obs"].shape:
        raise InputError(
            f"{name}: next_obs has shape {arrays['next_obs'].shape} but obs {arrays['obs'].shape}; "
            "expected the same; store the successor of each row"
        )


def _check_finite(name: str, key: str, value: np.ndarray) -> None:
    bad = ~np.isfinite(value)
    if bad.any():
        row = int(bad.reshape(len(value), -1).any(axis=1).argmax())
        raise InputError(
            f"{name}: {key} holds {bad.sum()} values that are NaN or infinite as float32 (first: "
            f"row {row}, counted from 0); expected finite numbers; repair or drop these rows"
        )


def _check_compatible(datasets: Sequence[Dataset]) -> None:
    first = datasets[0]
    for other in datasets[1:]:
        dims, expected = (other.obs_dim, other.action_dim), (first.obs_dim, first.action_dim)
        if dims != expected:
            raise InputError(
                f"{other.name}: (obs_dim, action_dim) = {dims}, but {first.name} has {expected}; "
                "only data sets of one environment can be joined"
            )
    ids = {d.env_id: d.name for d in datasets if d.env_id is not None}
    if len(ids) > 1:
        given = ", ".join(f"{name} is of {env_id}" for env_id, name in ids.items())
        raise InputError(f"{given}; only data sets of one environment can be joined")
