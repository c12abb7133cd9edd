"""Real logs to be damaged: rows of the built-in log, in each layout that the readers know."""

import os
import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import h5py
import numpy as np

from moore.formats.load import load_dataset, read_log
from moore.formats.npz import write_npz
from moore.formats.write import write_log

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "hopper-medium-replay.hdf5"
REAL_ROWS = 300
HDF5, NPZ, SET = "log.hdf5", "log.npz", "made/log-v0"
# (length, ending): 80 rows of one pendulum, whose episodes are cut shorter by their flags
EPISODES = [(12, "timeout"), (1, "terminal"), (20, "terminal"), (17, "timeout")]
EPISODES += [(1, "timeout"), (9, "both"), (14, "terminal"), (6, "open")]
LONG = [(5, "terminal"), (1010, "open")]  # one beyond D4RL's limit of 1000 steps
_GZIP = {"compression": "gzip", "fletcher32": True, "shuffle": True}


def source_of(name: str) -> str:
    """What `load_dataset` is asked for."""
    return {"hdf5": HDF5, "npz": NPZ, "minari": f"minari:{SET}"}[name.split("-")[0]]


def bases() -> list[str]:
    """Names of the files, by format, version and layout; the real one where it lies beside us."""
    return [name for name in _MAKERS if name != "hdf5-real" or REAL.exists()]


@cache
def base(name: str) -> dict[str, bytes]:
    """The bytes of a base's files, by their path below the working folder."""
    with tempfile.TemporaryDirectory() as folder:
        here = os.getcwd()
        os.chdir(folder)
        try:
            _MAKERS[name]()
        finally:
            os.chdir(here)
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        content = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {path: data for path, data in content.items() if "namespace" not in path}


@cache
def pendulum_rows(long: bool = False) -> dict[str, np.ndarray]:
    """The rows under D4RL's keys, all of version 2, with infos."""
    episodes = LONG if long else EPISODES
    rows = sum(length for length, _ in episodes)
    log = read_log("builtin:pendulum-medium", exact=True)
    last = np.cumsum([length for length, _ in episodes]) - 1
    flags = {"terminals": ("terminal", "both"), "timeouts": ("timeout", "both")}
    arrays = {key: np.zeros(rows, bool) for key in flags}
    for key, endings in flags.items():
        arrays[key][last] = [ending in endings for _, ending in episodes]
    return {
        "observations": log.obs[:rows],
        "actions": log.action[:rows],
        "rewards": log.reward[:rows],
        "next_observations": log.next_obs[:rows],
        "infos/qpos": np.arange(2.0 * rows).reshape(rows, 2),
        **arrays,
    }


def _write_hdf5(version, dtype="f4", layout=None, infos=False, long=False, libver=None):
    left_out = {"v0": ("timeouts", "next_observations"), "v1": ("next_observations",), "v2": ()}
    with h5py.File(HDF5, "w", libver=libver) as file:
        for key, value in pendulum_rows(long).items():
            if key in left_out[version] or (key.startswith("infos") and not infos):
                continue
            value = value.astype(dtype) if value.dtype.kind == "f" else value
            chunks = {} if layout is None else {"chunks": (32, *value.shape[1:]), **layout}
            file.create_dataset(key, data=value, track_times=False, **chunks)
        file.attrs.update({"env_id": "Pendulum-v1", "seed": 3})
        file.attrs.update({"ref_min_score": -1200.0, "ref_max_score": -150.0})


def _write_real():
    with h5py.File(REAL) as source, h5py.File(HDF5, "w") as target:
        for key, item in source.items():
            rows = item[:REAL_ROWS]
            if key == "timeouts":
                rows[40::61] = True
            target.create_dataset(key, data=rows, chunks=(128, *rows.shape[1:]), **_GZIP)
        target.attrs.update(source.attrs)


def _log(version):
    _write_hdf5(version, infos=True)
    log = replace(read_log(HDF5, infos=True, exact=True), name="pendulum")
    os.remove(HDF5)
    return log


def _partial_log():
    """Rows whose unknown successors and statistics are stored, since they do not follow."""
    _write_hdf5("v1")
    dataset = load_dataset(HDF5)
    os.remove(HDF5)
    keys = ("obs", "action", "reward", "terminated", "truncated", "next_obs", "successor_known")
    keys += ("episode_returns", "episode_lengths", "env_id", "reference")
    return replace(_log("v1"), infos={}, **{key: getattr(dataset, key) for key in keys})


def _write_log(target, make, *args):
    os.environ["MINARI_DATASETS_PATH"] = os.getcwd()
    write_log(target, make(*args))


def _save_npz(save, *, derived=False):
    rows, keys = pendulum_rows(), {"obs": "observations", "action": "actions", "reward": "rewards"}
    keys |= {"terminated": "terminals", "truncated": "timeouts"}
    keys |= {} if derived else {"next_obs": "next_observations"}
    arrays = {key: rows[name] for key, name in keys.items()}
    save(NPZ, **arrays, metadata='{"env_id": "Pendulum-v1", "reference": null}')


def _save_dataset():
    _write_hdf5("v1")
    dataset = load_dataset(HDF5)
    os.remove(HDF5)
    write_npz(NPZ, dataset)


_MAKERS = {
    **{
        f"hdf5-{version}-{name}-{dtype}{'-infos' if infos else ''}": partial(
            _write_hdf5, version, dtype, layout, infos
        )
        for version in ("v0", "v1", "v2")
        for name, layout in {"plain": None, "gzip": _GZIP}.items()
        for dtype, infos in (("f4", False), ("f8", True))
    },
    "hdf5-v2-latest": partial(_write_hdf5, "v2", layout=_GZIP, libver="latest"),
    "hdf5-v0-long": partial(_write_hdf5, "v0", long=True),
    "hdf5-own-v1": partial(_write_log, HDF5, _partial_log),
    "hdf5-own-v2": partial(_write_log, HDF5, _log, "v2"),
    "hdf5-real": _write_real,
    "npz-own": _save_dataset,
    "npz-own-log": partial(_write_log, NPZ, _log, "v2"),
    "npz-savez": partial(_save_npz, np.savez),
    "npz-derived": partial(_save_npz, np.savez_compressed, derived=True),
    "minari-v1": partial(_write_log, f"minari:{SET}", _log, "v1"),
    "minari-v2": partial(_write_log, f"minari:{SET}", _log, "v2"),
    "minari-own": partial(_write_log, f"minari:{SET}", _partial_log),
}
