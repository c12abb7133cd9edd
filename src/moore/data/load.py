"""One name for every data set: a file, a Minari id, a built-in, or several joined by commas."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np

from moore.data.dataset import Dataset, concatenate, validate
from moore.data.npz import read_npz
from moore.errors import InputError

POSSIBLE = "path.hdf5 (or .h5), path.npz, minari:ID, builtin:NAME, or several joined by commas"


def load_dataset(source: str | Path | Dataset, *, download: bool = False) -> Dataset:
    """Load and check a data set.

    Args:
        source: `path.hdf5`, `path.h5` (D4RL's flat layout), `path.npz`, `minari:ID`,
            `builtin:NAME`, several of these joined by commas, or a `Dataset` (only checked).
        download: fetch Minari data sets that are not on this machine.

    Raises:
        InputError: one line that says what was given, what was expected and what to do.

    Example:
        >>> load_dataset("hopper-medium.hdf5,hopper-expert.hdf5").size  # doctest: +SKIP
        150000
    """
    if isinstance(source, Dataset):
        dataset = source
    elif isinstance(source, Path):
        dataset = _load_one(str(source), download)
    else:
        parts = [_load_one(part.strip(), download) for part in source.split(",")]
        for part in parts:
            validate(part)  # so that an error names the part and its own row
        dataset = concatenate(parts)
    validate(dataset)
    return dataset


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
    """Raise InputError unless the log fits an environment's spaces.

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
    excess = np.maximum(low - dataset.action, dataset.action - high).max(axis=1)
    outside = excess > 1e-4  # the environment's own rounding to float32 stays well below this
    if outside.any():
        row = int(excess.argmax())
        worst = int(np.maximum(low - dataset.action[row], dataset.action[row] - high).argmax())
        raise InputError(
            f"{dataset.name}: {outside.sum()} of {dataset.size} actions lie outside the bounds of "
            f"{env_id}; the worst is {dataset.action[row, worst]:g} in row {row}, dimension {worst}"
            f", expected [{low[worst]:g}, {high[worst]:g}]; rescale the logged actions to the "
            "bounds, or clip them if the plant did"
        )


def _load_one(source: str, download: bool) -> Dataset:
    for prefix, read in _SCHEMES.items():
        if source.startswith(prefix):
            return replace(read(source.removeprefix(prefix), download), name=source)
    suffix = Path(source).suffix.lower()
    if suffix in (".hdf5", ".h5"):
        from moore.data.d4rl import read_d4rl  # h5py loads only where a file needs it

        return read_d4rl(source)
    if suffix == ".npz":
        return read_npz(source)
    raise InputError(f"{source!r}: unknown kind of data set; expected {POSSIBLE}")


def _load_minari(dataset_id: str, download: bool) -> Dataset:
    from moore.data.minari_sets import read_minari

    return read_minari(dataset_id, download)


def _load_builtin(name: str, download: bool) -> Dataset:
    known = builtin_names()
    if name not in known:
        raise InputError(f"builtin:{name}: unknown; expected one of: {', '.join(known) or 'none'}")
    with resources.as_file(resources.files("moore.data") / "builtin" / f"{name}.npz") as path:
        return read_npz(path)


_SCHEMES: dict[str, Callable[[str, bool], Dataset]] = {
    "minari:": _load_minari,
    "builtin:": _load_builtin,
}
