"""One name for every data set: a file, a Minari id, a built-in, or several joined by commas."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np

from moore.data.checks import action_rounding
from moore.data.dataset import Dataset, concatenate, from_log, validate
from moore.data.log import Log
from moore.data.row_file import is_row_folder
from moore.errors import InputError, unknown
from moore.formats import npz
from moore.formats.column_map import ColumnMap, Columns, make_map
from moore.formats.given import as_given
from moore.formats.mapped import check_keys, mapped_reader
from moore.formats.names import split_names
from moore.formats.reward_function import Reward, with_reward
from moore.formats.row_log import count_rows, read_row_log
from moore.formats.subset import Budget, take_part

POSSIBLE = (
    "path.hdf5 (or .h5), path.npz, path.csv, path.parquet, path.mat, a folder of CSV or Parquet "
    "files or of rows, minari:ID, builtin:NAME, or several joined by commas"
)
HDF5 = (".hdf5", ".h5")


def load_dataset(
    source: str | Path | Dataset,
    *,
    download: bool = False,
    max_rows: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    reward: str | Reward | None = None,
    max_episode_steps: int | None = None,
) -> Dataset:
    """Loads and checks a data set.

    If the log is too large, whole episodes are drawn at random; `metadata["subset"]` then has
    their number. Joined logs share `max_rows` in proportion to their rows.

    Args:
        source: `path.hdf5`, `path.h5` (D4RL's flat layout, or robomimic's), `path.npz`,
            `minari:ID`, `builtin:NAME`, `path.csv`, `path.parquet`, a folder or pattern of these,
            a LeRobot folder, the `log` of a `moore.Session`, `path.mat`, a folder that `moore
            convert` has written for a log larger than memory (see `Dataset.whole`), several of all
            these joined by commas, or a `Dataset` (checked, in the types that it names).
        download: fetch Minari data sets that are not on this machine.
        max_rows: keep at most this many rows of the log; at least 1.
        fraction: keep at most this share of its rows, in (0, 1].
        seed: seed of the random draw.
        columns: roles of the columns of a table, as a TOML file or its keys (docs/logs.md); None
            for the file beside the log.
        reward: `module:function` or a function of (b, obs_dim) obs, (b, action_dim) action and
            (b, obs_dim) next_obs that returns (b,) rewards, in place of the log's.
        max_episode_steps: the environment's step limit, which ends the episodes of a log without
            time-out flags. With None it is the registered limit of the environment that the log
            names, else found in the rows, else 1000 (`metadata["ends"]` says which).

    Raises:
        InputError: the data set cannot be used; one line says what was given, what was expected
            and what to do.

    Examples:
        >>> load_dataset("hopper-medium.hdf5,hopper-expert.hdf5").size  # doctest: +SKIP
        150000
    """
    if max_episode_steps is not None and max_episode_steps < 1:
        raise InputError(f"max_episode_steps is {max_episode_steps}; expected at least 1")
    budget = Budget(max_rows, fraction, seed, max_episode_steps)
    asked = _Asked(download, columns, reward)
    if isinstance(source, Dataset):
        _refuse_options(source, budget, asked)
        dataset = as_given(source)
    else:
        if not isinstance(source, str | Path):
            raise InputError(
                f"the data set is a {type(source).__name__}; expected a moore.Dataset, or the name "
                f"of one: {POSSIBLE}"
            )
        names = split_names(source) if isinstance(source, str) else [str(source)]
        parts = []
        for name, share in zip(names, _shares(names, budget, asked), strict=True):
            parts.append(_load_one(name, share, asked))
            validate(parts[-1])  # so that an error names the part and its own row
        dataset = concatenate(parts)
    validate(dataset)
    return dataset


def _refuse_options(dataset: Dataset, budget: Budget, asked: "_Asked") -> None:
    """Raises InputError if a data set that is loaded already is to be read in another way."""
    if budget.limited:
        raise InputError(
            f"{dataset.name}: {budget}, but the data set is loaded already; give its source"
        )
    if asked.columns is not None or asked.reward is not None:
        raise InputError(
            f"{dataset.name}: columns or reward are given, but the data set is loaded already; "
            "give its source"
        )


def read_log(
    source: str | Path,
    *,
    infos: bool = False,
    exact: bool = False,
    max_rows: int | None = None,
    fraction: float | None = None,
    seed: int = 0,
    download: bool = False,
    columns: Columns | None = None,
    reward: str | Reward | None = None,
) -> Log:
    """Reads a log as it is: every row, before any check or derivation.

    Args:
        source: a source as for `load_dataset`.
        infos: also read the other arrays with a row for each transition, as stored.
        exact: keep the types of the source and all its other content, to write it elsewhere; if
            false, flags become bool, observations and actions float32.
        max_rows: read at most this many rows, as whole episodes drawn at random.
        fraction: read at most this share of the rows, in (0, 1].
        seed: seed of the random draw.
        download: fetch a Minari data set that is not on this machine.
        columns: as for `load_dataset`.
        reward: as for `load_dataset`.

    Raises:
        InputError: one line that says what was given, what was expected and what to do.

    Examples:
        >>> read_log("hopper-medium-v2.hdf5", infos=True).infos["qpos"].shape  # doctest: +SKIP
        (999906, 6)
    """
    budget = Budget(max_rows, fraction, seed)
    if isinstance(source, str) and len(split_names(source)) > 1:
        raise InputError(f"{source}: several logs; expected one; read them one by one")
    asked = _Asked(download, columns, reward)
    return _read(str(source), budget, asked, infos=infos, exact=exact)


def builtin_names() -> list[str]:
    """Names of the data sets that ship inside the package, for `builtin:NAME`."""
    folder = resources.files("moore.data") / "builtin"
    if not folder.is_dir():
        return []
    return sorted(file.name[:-4] for file in folder.iterdir() if file.name.endswith(".npz"))


def check_against_spaces(
    dataset: Dataset,
    *,
    obs_dim: int,
    action_low: np.ndarray,
    action_high: np.ndarray,
    env_id: str = "the environment",
) -> None:
    """Raises InputError unless the log fits an environment's spaces.

    Args:
        dataset: the log.
        obs_dim: length of the environment's observations.
        action_low: (action_dim,) lower bounds, in the environment's units.
        action_high: (action_dim,) upper bounds.
        env_id: the environment's name, for the message.
    """
    low, high = np.asarray(action_low), np.asarray(action_high)
    for kind, given, expected in (
        ("observations", dataset.obs_dim, obs_dim),
        ("actions", dataset.action_dim, len(low)),
    ):
        if given != expected:
            raise InputError(
                f"{dataset.name}: {kind} have {given} dimensions, those of {env_id} {expected}; "
                "give the environment that the log was recorded in"
            )
    rounding = action_rounding(low, high)
    if dataset.whole is not None:
        seen = dataset.whole.file.columns("action")
        if ((low - seen.low > rounding) | (seen.high - high > rounding)).any():
            raise InputError(
                f"{dataset.name}: actions reach from {seen.low.tolist()} to {seen.high.tolist()}, "
                f"but the bounds of {env_id} are {low.tolist()} and {high.tolist()}; rescale them "
                "to the bounds, or clip them if the plant did, and convert the log anew"
            )
    excess = np.maximum(low - dataset.action, dataset.action - high) / rounding
    outside = excess.max(axis=1) > 1
    if outside.any():
        row, worst = np.unravel_index(int(excess.argmax()), excess.shape)
        raise InputError(
            f"{dataset.name}: {outside.sum()} of {dataset.size} actions lie outside the bounds of "
            f"{env_id}; the worst is {dataset.action[row, worst]:g} in row {row}, dimension {worst}"
            f", expected [{low[worst]:g}, {high[worst]:g}]; rescale the logged actions to the "
            "bounds, or clip them if the plant did"
        )


@dataclass(frozen=True)
class _Source:
    """How to read one log, `read(infos, exact, budget)`, and its number of rows."""

    read: Callable[..., Log]
    count_rows: Callable[[], int]


@dataclass(frozen=True)
class _Asked:
    """The user's options for a source."""

    download: bool = False
    columns: Columns | None = None
    reward: str | Reward | None = None


def _load_one(name: str, budget: Budget, asked: _Asked) -> Dataset:
    log = _read(name, budget, asked)
    rows = log.size
    dataset = from_log(log, max_episode_steps=budget.max_episode_steps, overwrite=True)
    if Path(name).suffix.lower() in HDF5:
        dataset = replace(dataset, metadata=dataset.metadata | {"file_rows": rows})
    return dataset


def _read(name: str, budget: Budget, asked: _Asked, **how: bool) -> Log:
    log = _find(name, asked).read(**how, budget=budget if budget.limited else None)
    log = replace(log, name=name)
    if asked.reward is not None and log.whole is not None:
        raise InputError(
            f"{name}: the rewards of {log.whole.file.size:,} rows lie on disk; give --reward to "
            "moore convert, which writes them"
        )
    return log if asked.reward is None else with_reward(log, asked.reward, budget.max_episode_steps)


def _find(name: str, asked: _Asked) -> _Source:
    prefix, colon, rest = name.partition(":")
    fixed = colon and prefix in ("minari", "builtin")
    mapped = None if fixed else mapped_reader(name)
    if mapped is not None:
        columns, own_reward = make_map(name, asked.columns), asked.reward is not None
        check_keys(name, columns, mapped)
        read = partial(_read_mapped, mapped, name, columns=columns, own_reward=own_reward)
        return _Source(read, lambda: read().size)
    source = _of_prefix(prefix, rest, asked.download) if fixed else _of_path(name)
    # Path.is_file raises where a name is too long.
    if source is None and os.path.isfile(os.path.join(name, "config.toml")):
        raise InputError(
            f"{name} is the folder of a run, not a log; the log that it learned from is named in "
            f"{Path(name) / 'config.toml'}."
        )
    if source is None:
        raise InputError(f"{name!r}: unknown kind of data set; expected {POSSIBLE}")
    if asked.columns is not None:
        raise InputError(
            f"{name}: a column map is given, but the arrays of this kind of log have fixed names; "
            "leave it out"
        )
    return source


def _of_prefix(prefix: str, rest: str, download: bool) -> _Source:
    """The log of minari:ID or builtin:NAME."""
    if prefix == "minari":
        from moore.formats import minari_sets

        read = partial(minari_sets.read_minari, rest, download=download)
        return _Source(read, partial(minari_sets.count_rows, rest, download=download))
    return _Source(partial(_with_builtin, npz.read_npz, rest),
                   partial(_with_builtin, npz.count_rows, rest))  # fmt: skip


def _of_path(name: str) -> _Source | None:
    """The log of a format with fixed names of columns; None if no such format has this suffix."""
    suffix = Path(name).suffix.lower()
    if is_row_folder(name):
        return _Source(partial(read_row_log, name), partial(count_rows, name))
    if suffix in HDF5:
        from moore.formats import d4rl

        return _Source(partial(d4rl.read_d4rl, name), partial(d4rl.count_rows, name))
    if suffix == ".npz":
        return _Source(partial(npz.read_npz, name), partial(npz.count_rows, name))
    return None


def _with_builtin(read: Callable, name: str, **how):
    known = builtin_names()
    if name not in known:
        raise unknown("built-in log", name, known)
    with resources.as_file(resources.files("moore.data") / "builtin" / f"{name}.npz") as path:
        return read(path, **how)


def _read_mapped(
    reader: Callable[..., Log],
    name: str,
    *,
    columns: ColumnMap,
    own_reward: bool,
    infos: bool = False,
    exact: bool = False,
    budget: Budget | None = None,
) -> Log:
    """Reads a log whose columns a map names; all of it is read before the budget applies."""
    del infos  # such a log has none
    log = reader(name, columns, exact=exact, own_reward=own_reward)
    return log if budget is None else take_part(log, budget)


def _shares(names: list[str], budget: Budget, asked: _Asked) -> list[Budget]:
    """The budget of each part of a joined log: `max_rows` in proportion to the parts' rows."""
    if budget.max_rows is None or len(names) == 1:
        return [budget] * len(names)
    rows = [_find(name, asked).count_rows() for name in names]
    shares = [budget.max_rows * count // max(1, sum(rows)) for count in rows]
    return [replace(budget, max_rows=max(1, share)) for share in shares]
