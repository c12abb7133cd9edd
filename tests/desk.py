"""Shared by the tests of the command line: a log and a configuration, and files to compare."""

from pathlib import Path

import h5py
import numpy as np

# Pendulum-v1: three observations, one action within [-2, 2].
ROWS = 60
LOG = {
    "observations": np.random.default_rng(0).normal(size=(ROWS, 3)),
    "actions": np.random.default_rng(1).uniform(-2.0, 2.0, (ROWS, 1)),
    "rewards": np.random.default_rng(2).normal(size=ROWS),
    "terminals": np.zeros(ROWS, bool),
    "timeouts": np.arange(ROWS) % 20 == 19,
}
LOG["next_observations"] = LOG["observations"] + 0.1

TINY = """\
dataset = "log.hdf5"
env_id = "Pendulum-v1"
rollout_length = 2

[model]
members = 2
elites = 1
hidden = [8]
weight_decay = [0.0, 0.0, 0.0]
batch_size = 32
max_fit_steps = 4
max_refit_steps = 2

[sac]
hidden = [8]
batch_size = 16

[offline]
epochs = 0

[online]
epochs = 0

[evaluation]
episodes = 1
"""


def write_hdf5(path: Path, **changes) -> None:
    """The log with other arrays; None leaves one out."""
    arrays = {key: value for key, value in (LOG | changes).items() if value is not None}
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


def changed(key: str, value: float) -> dict[str, np.ndarray]:
    array = LOG[key].copy()
    array[7] = value
    return {key: array}


def files(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }
