"""Logs in D4RL's three layouts, whose every observation is a number of its own; to compare them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from moore.data.dataset import EPISODES, MATRICES, VECTORS
from moore.errors import InputError
from moore.formats.load import read_log

VERSIONS = ("v0", "v1", "v2")
TARGETS = ("out.hdf5", "out.h5", "out.npz", "minari:made/out-v0")
EPISODES_OF = [(3, "terminal"), (5, "timeout"), (1, "terminal"), (4, "both"), (2, "open")]


def d4rl_arrays(version, episodes, *, dtype=np.float32):
    """Episodes of (length, ending), ending in "terminal", "timeout", "both" or "open".

    An observation is (k, -k); the one after an episode's last row is a k that no row has.
    """
    starts = np.concatenate([[0], np.cumsum([length + 1 for length, _ in episodes])])
    k = [np.arange(start, start + n) for start, (n, _) in zip(starts, episodes, strict=False)]
    k = np.concatenate(k).astype(dtype)
    last = np.cumsum([length for length, _ in episodes]) - 1
    flags = {}
    for key, endings in (("terminals", ("terminal", "both")), ("timeouts", ("timeout", "both"))):
        flags[key] = np.zeros(len(k), bool)
        flags[key][last] = [ending in endings for _, ending in episodes]
    arrays = {
        "observations": np.stack([k, -k], axis=1),
        "actions": np.sin(k)[:, None],
        "rewards": np.cos(k),
        "terminals": flags["terminals"],
        "timeouts": flags["timeouts"],
        "next_observations": np.stack([k + 1, -k - 1], axis=1),
    }
    dropped = {"v0": ("timeouts", "next_observations"), "v1": ("next_observations",), "v2": ()}
    return {key: value for key, value in arrays.items() if key not in dropped[version]}


def write_d4rl_file(path, arrays, attributes=None, **layout):
    """`layout` is h5py's: chunks, compression."""
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            rows = np.ndim(value) > 0
            file.create_dataset(key, data=value, **(layout if rows else {}))
        file.attrs.update(attributes or {})
    return path


def content(path):
    """Everything in an HDF5 file: types, shapes, bytes of the arrays and of the attributes."""
    found = {}

    def add(key, item):
        if isinstance(item, h5py.Dataset):
            found[key] = (item.dtype, item.shape, np.asarray(item[()]).tobytes())
            if h5py.check_string_dtype(item.dtype):
                found[key] = (item.dtype, item.shape, np.asarray(item[()]).tolist())
        for name, value in item.attrs.items():
            kind = item.attrs.get_id(name).dtype
            found[f"{key}@{name}"] = (kind, np.shape(value), np.asarray(value).tolist())

    with h5py.File(path, "r") as file:
        add("", file)
        file.visititems(add)
    return found


def made(path, version="v2", episodes=EPISODES_OF, attributes=None, **extra):
    return write_d4rl_file(path, d4rl_arrays(version, episodes) | extra, attributes)


def whole(source):
    return read_log(source, infos=True, exact=True)


def same_data(a, b):
    for key in MATRICES + VECTORS + EPISODES:
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key), err_msg=key)
    assert (a.env_id, a.reference) == (b.env_id, b.reference)


def refuses(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as raised:
        function(*args, **kwargs)
    assert "\n" not in str(raised.value)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
