"""Minari data sets, local or downloaded; each episode has one observation more than actions."""

import contextlib
import json
import sys
from pathlib import Path
from types import UnionType

import gymnasium
import h5py
import numpy as np

from moore.data.checks import MATRICES, as_float32, shown
from moore.data.dataset import EPISODES
from moore.data.log import Log, with_notes
from moore.data.precision import Windows
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.formats.hdf5_checks import check_heaps, check_stored, in_use
from moore.formats.hdf5_tree import read_tree
from moore.formats.subset import Budget, Subset, choose_episodes

# What `moore.formats.minari_writer` stores besides, so that a log comes back as it was.
MARKS = (
    "moore"  # entry of metadata.json: {env_id, reference_source, timeouts, unfinished, metadata}
)
OBSERVED = "moore_observed"  # step info: False where an observation only repeats the one before
_APART = ("terminated", "truncated", "reward", "next_obs")
SIDE_FILE = "moore.hdf5"  # beside Minari's file: rows/FIELD, statistics/FIELD, extras/KEY

_INFOS = "infos/"
_MAIN_FILE = "main_data.hdf5"  # Minari's own
_KEYS = ("observations", "actions", "rewards", "terminations", "truncations")
# Wrappers under which everything that is logged stays what it is.
_TRANSPARENT = (
    *("PassiveEnvChecker", "OrderEnforcing", "TimeLimit", "RecordEpisodeStatistics"),
    *("RecordVideo", "HumanRendering", "RenderCollection"),
)
# What Minari raises for a set that is damaged, or not what its metadata say.
_DAMAGED = (
    OSError, RuntimeError, KeyError, ValueError, TypeError, AssertionError, IndexError,
    AttributeError, MemoryError, OverflowError, gymnasium.error.Error,
)  # fmt: skip


def read_minari(
    dataset_id: str,
    *,
    download: bool = False,
    infos: bool = False,
    exact: bool = False,
    budget: Budget | None = None,
) -> Log:
    """Reads `dataset_id` from Minari's local folder, episode by episode.

    An episode whose last row carries no flag becomes truncated there, since Minari ended it.

    Args:
        dataset_id: id such as `mujoco/hopper/medium-v0`.
        download: fetch the set first if it is not local.
        infos: read the step infos that belong to the observation in which the action was taken.
        exact: keep types, and everything else that `write_minari` stored; if false, matrices become
            float32.
        budget: how much of the set to read.

    Raises:
        InputError: the set is not local and may not be downloaded, is not found or damaged, or its
            spaces are not vectors.
    """
    source = _open(dataset_id, download)
    _check_spaces(dataset_id, source)
    try:
        metadata = source.storage.metadata
        marks = _marks(metadata)
        _check_file(source)
        subset = None if budget is None else _choose(dataset_id, source, marks, budget)
        fields, logged, lost = _read(dataset_id, source, subset, infos=infos, exact=exact)
        if not marks.get("timeouts", True):
            del fields["truncated"]
        apart, extras = _side_file(source, subset, exact=exact)
        fields |= apart
        env_id = marks.get("env_id") or (source.env_spec and source.env_spec.id)
        reference = _reference(metadata, env_id)
        arguments = _arguments(source.env_spec)
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(
            f"minari:{dataset_id}: cannot be read ({_reason(error)}); "
            + (
                in_use(error)
                or "expected a whole Minari set; delete it and download or write it again"
            )
        ) from error
    scalars = {k: v for k, v in metadata.items() if isinstance(v, str | bool | int | float)}
    kept = marks.get("metadata", scalars) | ({"env_args": arguments} if arguments else {})
    kept = with_notes(kept | ({"float32": lost} if lost else {}), _left_out(source.env_spec))
    return Log.of(
        fields,
        name=dataset_id,
        env_id=env_id,
        reference=reference,
        infos=logged,
        extras=extras,
        metadata=kept if subset is None else kept | {"subset": subset.metadata},
    )


def count_rows(dataset_id: str, *, download: bool = False) -> int:
    """Number of steps, from the set's metadata; InputErrors as for `read_minari`."""
    return int(_open(dataset_id, download).total_steps)


def _open(dataset_id: str, download: bool):
    """The `minari.MinariDataset`; Minari is imported only here."""
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
    except (*_DAMAGED, ImportError) as error:
        raise InputError(
            f"minari:{dataset_id}: cannot be loaded ({_reason(error)}); "
            + (
                in_use(error)
                or "expected an id such as mujoco/hopper/medium-v0; `minari list remote` shows "
                "those there are"
            )
        ) from error


def _reason(error: Exception) -> str:
    return shown(error) or type(error).__name__


def _marks(metadata: dict) -> dict:
    """Our own entry of the metadata; ValueError unless it has the form of `minari_writer`'s."""
    if MARKS not in metadata:
        return {}
    marks = metadata[MARKS]
    kinds: dict[str, type | UnionType] = {"env_id": str | None, "reference_source": str | None}
    kinds |= {"metadata": dict, "timeouts": bool, "unfinished": bool}
    if not isinstance(marks, dict):
        raise ValueError(f"{MARKS} is {marks!r}")
    for key, kind in kinds.items():
        if key not in marks or not isinstance(marks[key], kind):
            raise ValueError(f"{MARKS}.{key} is {marks.get(key, 'missing')!r}")
    return marks


def _check_file(source, episodes: np.ndarray | tuple = ()) -> None:
    """Checks of the file and of some episodes that Minari and libhdf5 do not make."""
    if source.storage.FORMAT != "hdf5":
        return

    def check(path: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset):
            check_stored(item, written=path in _KEYS[:3])

    with h5py.File(Path(source.storage.data_path) / _MAIN_FILE, "r") as file:
        check_heaps(file)
        for group in (file[f"episode_{index}"] for index in episodes):
            for key in _KEYS:
                check(key, group[key])
            if "infos" in group:
                group["infos"].visititems(check)


def _check_spaces(dataset_id: str, source) -> None:
    spaces = {"observation": source.observation_space, "action": source.action_space}
    for kind, space in spaces.items():
        if type(space).__name__ != "Box" or len(space.shape) != 1:
            raise InputError(
                f"minari:{dataset_id}: the {kind} space is {str(space)[:100]}; expected a Box of "
                "vectors; flatten the observations or choose a data set with continuous actions"
            )


def _choose(dataset_id: str, source, marks: dict, budget: Budget) -> Subset | None:
    described = source.storage.get_episode_metadata(source.episode_indices)
    lengths = np.array([int(episode["total_steps"]) for episode in described], np.int64)
    complete = lengths[:-1] if marks.get("unfinished") else lengths
    rows = int(lengths.sum())
    return choose_episodes(complete, budget, rows=rows, name=f"minari:{dataset_id}")


def _read(
    dataset_id: str, source, subset: Subset | None, *, infos: bool, exact: bool
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict]:
    """The columns by field of `Log`, the infos, and the columns that lose steps in float32."""
    rows = int(source.total_steps) if subset is None else subset.metadata["rows"]
    chosen = source.episode_indices if subset is None else source.episode_indices[subset.episodes]
    unfinished = _marks(source.storage.metadata).get("unfinished")
    open_id = source.episode_indices[-1] if unfinished else None
    _check_file(source, chosen)
    columns: dict[str, np.ndarray] = {}
    kinds: dict[str, tuple] = {}
    at, ends, windows = 0, [], Windows(rows)
    for episode in source.iterate_episodes(chosen):
        if len(episode) == 0:
            continue
        values = _episode(episode, ended=bool(episode.id != open_id), infos=infos)
        columns = columns or {k: _allocate(k, v, rows, exact=exact) for k, v in values.items()}
        kinds = kinds or _kinds(values)
        if kinds != _kinds(values):
            raise ValueError(f"episode {episode.id} has {_kinds(values)}, not {kinds}")
        for key in columns:
            value = values[key]
            if not exact:
                windows.take(key, at, value)
            columns[key][at : at + len(episode)] = (
                as_float32(value) if key in MATRICES and not exact else value
            )
        at += len(episode)
        ends.append(at - 1)
    if at == 0:
        raise InputError(f"minari:{dataset_id}: no episodes; choose a data set that has some")
    if at != rows:
        raise ValueError(f"{at} steps instead of {rows}")
    fields = {key: value for key, value in columns.items() if not key.startswith(_INFOS)}
    if "successor_known" in fields and not fields["successor_known"][ends].any():
        del fields["next_obs"], fields["successor_known"]
    names = sorted(key for key in columns if key.startswith(_INFOS))
    lost = windows.lost((fields["terminated"] != 0) | (fields["truncated"] != 0))
    return fields, {key.removeprefix(_INFOS): columns[key] for key in names}, lost


def _episode(episode, *, ended: bool, infos: bool) -> dict[str, np.ndarray]:
    """The columns of one `minari.EpisodeData`; infos by `infos/NAME`."""
    steps = len(episode)
    truncated = np.array(episode.truncations)
    if not episode.terminations[-1]:
        truncated[-1] = ended
    columns = {
        "obs": episode.observations[:-1],
        "next_obs": episode.observations[1:],
        "action": episode.actions,
        "reward": episode.rewards,
        "terminated": episode.terminations,
        "truncated": truncated,
    }
    given = dict(episode.infos or {})
    if OBSERVED in given:
        columns["successor_known"] = np.atleast_1d(given.pop(OBSERVED))[1:]
    for key, value in columns.items():
        if len(value) != steps or value.dtype.kind not in "biuf":
            raise ValueError(
                f"episode {episode.id} has {steps} rewards, but {key} {value.shape} {value.dtype}"
            )
    if infos:  # where there is one more, it belongs to the last observation
        logged = {k: v for k, v in _flatten(given).items() if len(v) in (steps, steps + 1)}
        columns |= {_INFOS + key: value[:steps] for key, value in logged.items()}
    return columns


def _kinds(values: dict[str, np.ndarray]) -> dict[str, tuple]:
    return {key: (value.dtype, value.shape[1:]) for key, value in values.items()}


def _flatten(infos: dict, prefix: str = "") -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for key, value in infos.items():
        name = f"{prefix}{key}"
        flat |= _flatten(value, f"{name}/") if isinstance(value, dict) else {name: value}
    return {key: value for key, value in flat.items() if np.ndim(value)}


def _allocate(key: str, value: np.ndarray, rows: int, *, exact: bool) -> np.ndarray:
    dtype = value.dtype if exact or key not in MATRICES else np.dtype(np.float32)
    return np.empty((rows, *value.shape[1:]), dtype)


def _side_file(
    source, subset: Subset | None, *, exact: bool
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Columns that the set does not hold as they were, and the extras."""
    path = Path(source.storage.data_path) / SIDE_FILE
    if not path.exists():
        return {}, {}
    with h5py.File(path, "r") as file:
        check_heaps(file)
        statistics = _known(file, "statistics", EPISODES)
        rows = _known(file, "rows", _APART) if exact else {}
        extras = read_tree(file["extras"]) if "extras" in file and exact else {}
    if subset is not None:
        statistics = subset.of_episodes(statistics)
        rows = {key: value[subset.keep] for key, value in rows.items()}
    return statistics | rows, extras


def _known(file: h5py.File, group: str, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    found = {}
    for key in keys:
        if group not in file or key not in list(file[group]):
            continue
        item = file[group][key]
        numbers = isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf"
        if not numbers or item.shape is None:
            raise ValueError(f"{group}/{key} is no array of numbers")
        check_stored(item)
        found[key] = np.asarray(item[()])
    return found


def _arguments(spec: gymnasium.envs.registration.EnvSpec | None) -> str:
    """The arguments of `gymnasium.make`, besides the id, for this environment specification.

    They are the environment's own arguments and its step limit, if JSON can hold them. Wrappers and
    entry points are ignored, because they would be code that a file names.
    """
    if spec is None:
        return ""
    arguments = dict(spec.kwargs)
    registered = gymnasium.registry.get(spec.id)
    usual = None if registered is None else registered.max_episode_steps
    if spec.max_episode_steps is not None and spec.max_episode_steps != usual:
        arguments["max_episode_steps"] = spec.max_episode_steps
    arguments.pop("render_mode", None)
    try:
        return json.dumps(arguments, sort_keys=True) if arguments else ""
    except (TypeError, ValueError):
        return ""


def _left_out(spec: gymnasium.envs.registration.EnvSpec | None) -> list[str]:
    """A note on the wrappers under which the set was recorded, if they may change what it holds."""
    wrappers = () if spec is None else spec.additional_wrappers
    names = [w.name for w in wrappers if w.name not in _TRANSPARENT]
    if not names:
        return []
    return [
        f"it was recorded under {shown(', '.join(names))}, which no id makes: where these change "
        "observations, actions, rewards or ends, give a function that makes the environment with "
        "them (env= in Python)"
    ]


def _reference(metadata: dict, env_id: str | None) -> ReferenceScores | None:
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    if low is None or high is None:
        return reference_scores(env_id)
    source = metadata.get(MARKS, {}).get("reference_source") or "Minari metadata"
    return ReferenceScores(float(low), float(high), source=source)
