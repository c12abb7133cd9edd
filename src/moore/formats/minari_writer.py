"""Writes a log as a Minari data set, by Farama's own writer, and stores the rest beside it."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.storage.datasets_root_dir import get_dataset_path

from moore.data.checks import blocks
from moore.data.cuts import find_cuts
from moore.data.log import Log
from moore.errors import InputError
from moore.formats.hdf5_tree import write_tree
from moore.formats.minari_sets import MARKS, OBSERVED, SIDE_FILE

_ROOT = "MINARI_DATASETS_PATH"
_UNKNOWN = "unknown"


def write_minari(dataset_id: str, log: Log) -> None:
    """Writes the log into Minari's local folder completely or not at all; same log, same bytes.

    In Minari each episode has one observation more than actions. If the log does not know the last
    one, the observation before it is repeated and the step info `moore_observed` is False there.
    Infos belong to observations, so the last one of an episode is repeated as well.

    Raises:
        InputError: the id is not valid, the set exists already, or `next_obs` is not the next
            row's observation inside an episode.
    """
    target = minari_folder(dataset_id)
    episodes = _cut(log)
    kept_apart = _verbatim(log, episodes)
    private = Path(tempfile.mkdtemp(prefix=".moore-", dir=get_dataset_path()))
    try:
        with _minari_root(private):
            storage = _create(dataset_id, log, episodes).storage
        _add_marks(storage, log, episodes, kept_apart)
        root = get_dataset_path()
        new = [folder for folder in (target, *target.parents) if not folder.exists()]
        os.rename(private / new[-1].relative_to(root), new[-1])  # with its new namespaces
    finally:
        shutil.rmtree(private, ignore_errors=True)


def minari_folder(dataset_id: str) -> Path:
    """The folder of the new set; InputError if the id is not valid or already taken."""
    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError) as error:  # a missing version is a TypeError inside Minari
        raise InputError(
            f"minari:{dataset_id} is not the id of a Minari set; expected NAMESPACE/NAME-vN or "
            "NAME-vN, such as mujoco/hopper/medium-v0"
        ) from error
    folder = get_dataset_path(dataset_id)
    if folder.exists():
        raise InputError(
            f"minari:{dataset_id} exists already; choose another id, or delete it with "
            f"`minari delete {dataset_id}`"
        )
    return folder


@dataclass(frozen=True, eq=False)
class _Episodes:
    first: np.ndarray  # (m,) row
    stop: np.ndarray  # (m,) row after the last
    terminated: np.ndarray  # (n,) bool
    truncated: np.ndarray  # (n,) bool: as Minari has it
    observed: np.ndarray  # (m,) bool: whether the log has the observation after the last row
    unfinished: bool  # whether the last episode carries no flag


def _cut(log: Log) -> _Episodes:
    rows = len(log.obs)
    terminated = np.reshape(log.terminated, rows) != 0
    if log.truncated is None:
        truncated = find_cuts(log).truncated
    else:
        truncated = np.reshape(log.truncated, rows) != 0
    stop = np.flatnonzero(terminated | truncated) + 1
    unfinished = len(stop) == 0 or int(stop[-1]) != rows
    if unfinished:  # Minari's own collector flags the last row, too; `MARKS` remember it
        stop, truncated = np.append(stop, rows), truncated.copy()
        truncated[-1] = True
    first = np.concatenate([[0], stop[:-1]])
    observed = np.full(len(stop), log.next_obs is not None)
    if log.next_obs is not None and log.successor_known is not None:
        observed = np.reshape(log.successor_known, rows)[stop - 1] != 0
    return _Episodes(first, stop, terminated, truncated, observed, unfinished)


def _verbatim(log: Log, episodes: _Episodes) -> dict[str, object]:
    """Rows that Minari would not give back bit for bit; InputError if next_obs does not chain."""
    apart: dict[str, object] = {}
    for key in ("terminated", "truncated"):
        flags = getattr(log, key)
        if flags is not None and (flags.dtype != bool or flags.ndim > 1):
            apart[key] = flags
    if log.reward.ndim > 1:
        apart["reward"] = log.reward
    if log.next_obs is not None and not _chains_exactly(log, log.next_obs, episodes):
        apart["next_obs"] = log.next_obs
    return apart


def _chains_exactly(log: Log, next_obs: np.ndarray, episodes: _Episodes) -> bool:
    """Whether each next_obs inside an episode is the next obs bit for bit, or only in value."""
    inside = np.ones(len(log.obs), bool)
    inside[episodes.stop - 1] = False
    known = np.ones(len(inside), bool)
    if log.successor_known is not None:
        known = np.reshape(log.successor_known, len(inside)) != 0
    exact, unlike = next_obs.dtype == log.obs.dtype, []
    for block in blocks(len(inside), log.obs[:1].nbytes):
        rows = np.flatnonzero(inside[block]) + block.start
        given = next_obs[rows].astype(log.obs.dtype, copy=False)
        following = log.obs[rows + 1]
        same = (given == following) | ((given != given) & (following != following))
        unlike.append(rows[~(same.all(axis=1) & known[rows])])
        exact = exact and given.tobytes() == following.tobytes()
    broken = np.concatenate(unlike)
    if len(broken):
        raise InputError(
            f"{log.name}: next_obs of {len(broken)} rows inside an episode is not the next row's "
            f"obs (first: row {broken[0]}), and a Minari set stores each observation once; flag "
            "these rows as time-outs if the log jumps there, or write .hdf5 or .npz"
        )
    return exact


@contextmanager
def _minari_root(folder: Path) -> Iterator[None]:
    """Lets Minari write below `folder`; a finished set is moved out of it."""
    given = os.environ.get(_ROOT)
    os.environ[_ROOT] = str(folder)
    try:
        yield
    finally:
        del os.environ[_ROOT]
        if given is not None:
            os.environ[_ROOT] = given


def _create(dataset_id: str, log: Log, episodes: _Episodes) -> minari.MinariDataset:
    env, told = _environment(log.env_id), log.metadata
    algorithm = told.get("algorithm_name") or told.get("algorithm") or _UNKNOWN
    words = {
        key: str(told.get(key) or _UNKNOWN) for key in ("author", "author_email", "code_permalink")
    }
    rows = f"{len(log.obs)} rows of {log.env_id or 'an unnamed environment'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those left tell of an environment that nobody knows
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            _buffers(log, episodes),
            env=env,
            eval_env=env,
            observation_space=_space(None if env is None else env.observation_space, log.obs),
            action_space=_space(
                None if env is None else env.action_space, log.action, bounded=True
            ),
            algorithm_name=str(algorithm),
            description=str(told.get("description") or f"{rows}, written by moore"),
            **words,
        )
    if env is not None:
        env.close()
    return dataset


def _buffers(log: Log, episodes: _Episodes) -> Iterator[EpisodeBuffer]:
    reward = np.reshape(log.reward, len(log.obs))
    marked = not episodes.observed.all()
    bounds = zip(episodes.first, episodes.stop, episodes.observed, strict=True)
    for first, stop, observed in bounds:
        rows = slice(first, stop)
        last = log.next_obs if observed and log.next_obs is not None else log.obs
        ends = np.append(np.arange(first, stop), stop - 1)
        infos = {key: value[ends] for key, value in log.infos.items()}
        if marked:
            infos[OBSERVED] = np.append(np.ones(stop - first, bool), observed)
        yield EpisodeBuffer(
            observations=np.append(log.obs[rows], last[stop - 1 : stop].astype(log.obs.dtype), 0),
            actions=log.action[rows],
            rewards=reward[rows],
            terminations=episodes.terminated[rows],
            truncations=episodes.truncated[rows],
            infos=infos or None,
        )


def _environment(env_id: str | None) -> gymnasium.Env | None:
    """The environment of the log, if Gymnasium knows it and can describe how it is made."""
    if env_id is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            spec = gymnasium.spec(env_id)
            spec.to_json()
            return gymnasium.make(spec)
        except Exception:  # an environment is anybody's code; the log can do without
            return None


def _space(
    known: gymnasium.Space | None, values: np.ndarray, *, bounded: bool = False
) -> gymnasium.spaces.Box:
    """The environment's space if it fits, else a Box, bounded by the values or unbounded."""
    if isinstance(known, gymnasium.spaces.Box) and known.shape == values.shape[1:]:
        return known
    dtype = values.dtype if values.dtype.kind in "iuf" else np.dtype(np.float32)
    low, high = np.full(values.shape[1], -np.inf), np.full(values.shape[1], np.inf)
    if bounded and np.isfinite(values).all():
        low, high = values.min(axis=0), values.max(axis=0)
    return gymnasium.spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)


def _add_marks(
    storage: MinariStorage, log: Log, episodes: _Episodes, apart: dict[str, object]
) -> None:
    marks = {
        "env_id": log.env_id,
        "reference_source": None if log.reference is None else log.reference.source,
        "timeouts": log.truncated is not None,
        "unfinished": episodes.unfinished,
        "metadata": log.metadata,
    }
    scores = {}
    if log.reference is not None:
        scores = {"ref_min_score": log.reference.random, "ref_max_score": log.reference.expert}
    statistics = {k: getattr(log, k) for k in ("episode_returns", "episode_lengths")}
    trees = {
        "rows": apart,
        "statistics": {key: value for key, value in statistics.items() if value is not None},
        "extras": log.extras,
    }
    if any(trees.values()):
        with h5py.File(Path(storage.data_path) / SIDE_FILE, "w") as file:
            for name, tree in trees.items():
                write_tree(file.create_group(name), tree)
    storage.update_metadata(scores | {MARKS: marks})
    storage.update_metadata({"dataset_size": storage.get_size()})
