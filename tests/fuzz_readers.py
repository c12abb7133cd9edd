"""What a damaged file still holds, read with h5py, zipfile and json alone, for `fuzz_oracle`."""

import difflib
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path

import gymnasium
import h5py
import numpy as np

from fuzz_oracle import (
    LIMIT,
    Expected,
    Rows,
    Wrong,
    drawn,
    expect,
    flags,
    matrix,
    name_of,
    numeric,
    parse,
    part_of_stated,
    reference,
    vector,
)

_ANY = "biufcSUOVmM"
MOST_BYTES = 2**24  # of an array: these files are small, so a larger one is damage

# --- HDF5 ---

D4RL = {
    "obs": "observations", "action": "actions", "reward": "rewards", "terminated": "terminals",
    "truncated": "timeouts", "next_obs": "next_observations", "known": "moore/successor_known",
}  # fmt: skip


def _holds(file, path) -> bool:
    """Whether something goes by the path, though it may lead nowhere."""
    folder, _, name = path.rpartition("/")
    holder = file[folder] if folder and folder in file else None if folder else file
    return isinstance(holder, h5py.Group) and name in list(holder)


def _may_mask(made, mask) -> bool:
    """A compressor may be left out of a chunk that it does not make smaller; nothing else may."""
    for i in range(made.get_nfilters()):
        if mask >> i & 1 and made.get_filter(i)[0] in (h5py.h5z.FILTER_FLETCHER32, 2):
            return False
    return mask < 2 ** made.get_nfilters()


def _array(file, path, kinds="biuf"):
    item = file[path]
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise Wrong(f"{path} is no array")
    dtype, shape, chunks = item.dtype, item.shape, item.chunks  # h5py asks the file each time
    if dtype.kind not in kinds or math.prod(shape) * dtype.itemsize > MOST_BYTES:
        raise Wrong(f"{path} is {math.prod(shape)} values of type {dtype}")
    if dtype.kind in "iuf" and dtype.itemsize <= 8:
        _check_bits(item.id.get_type(), dtype.itemsize, path)
    if item.is_virtual or item.external:
        raise Wrong(f"{path} is in other files")
    if chunks:
        found, sizes, masks = [], [], []
        item.id.chunk_iter(lambda chunk: masks.append(chunk.filter_mask))
        if any(not _may_mask(item.id.get_create_plist(), mask) for mask in masks):
            raise Wrong(f"{path} has chunks without the filters that they need")
        item.id.chunk_iter(lambda chunk: sizes.append(chunk.size))
        item.id.chunk_iter(lambda chunk: found.append(chunk.chunk_offset))
        if 0 in sizes:
            raise Wrong(f"{path} has chunks of no bytes")
        for place in found:
            item.id.read_direct_chunk(place)  # fails where a plain read gives zeros
        grid = [range(0, n, step) for n, step in zip(shape, chunks, strict=True)]
        if found and len(set(found)) != math.prod(map(len, grid)):
            raise Wrong(f"{path} lacks chunks")
        if not all(at in axis for place in found for at, axis in zip(place, grid, strict=True)):
            raise Wrong(f"{path} has chunks that lie elsewhere")
    return item[()]


def _check_written(item):
    if item.size and item.id.get_storage_size() == 0:
        raise Wrong(f"{item.name} was never written")


_NEAR = {
    "timeouts": ("truncated", "truncateds", "truncations", "timeouts", "done", "dones", "last"),
    "next": (
        "nextobs",
        "nextobservations",
        "nextstates",
        "newobs",
        "newobservations",
        "obs2",
        "observations2",
    ),
    "known": ("successorknown",),
}


def _check_names(names, wanted) -> None:
    """What may be an array that is not found is no other one: `wanted` are (kind, name)."""
    for name in names:
        if isinstance(name, bytes):  # not UTF-8: damaged
            raise Wrong("a damaged name")
        word = "".join(c for c in name.lower() if c.isalnum())
        for kind, key in wanted:
            alike = difflib.SequenceMatcher(None, word, "".join(filter(str.isalnum, key))).ratio()
            if word in _NEAR[kind] or alike >= (0.9 if kind == "next" else 0.8):
                raise Wrong(f"{name} may be {key}")


def _check_bits(stored, size, path):
    """Numbers are two's complement or IEEE 754, without a bit to spare."""
    if isinstance(stored, h5py.h5t.TypeEnumID):
        return
    usual = stored.get_precision() == 8 * size and stored.get_offset() == 0
    if isinstance(stored, h5py.h5t.TypeFloatID):
        exponent = {2: 5, 4: 8, 8: 11}[size]
        mantissa = 8 * size - 1 - exponent
        usual &= stored.get_fields() == (8 * size - 1, mantissa, exponent, 0, mantissa)
        usual &= stored.get_ebias() == 2 ** (exponent - 1) - 1
        usual &= stored.get_norm() == h5py.h5t.NORM_IMPLIED
    if not usual:
        raise Wrong(f"{path} has numbers of its own kind")


def _may_be_next(file) -> str:
    """Why a log without successors may be refused: another array may hold them."""
    groups = [file, *(file[key] for key in file if key == "infos")]
    items = [group.get(key) for group in groups if isinstance(group, h5py.Group) for key in group]
    arrays = [item for item in items if isinstance(item, h5py.Dataset)]
    alike = sum(item.shape == file["observations"].shape for item in arrays)
    return "an array like the observations" if alike > 1 else ""


def _read_hdf5(path, load) -> Expected:
    with h5py.File(path, "r") as file:
        arrays = {key: _array(file, name) for key, name in D4RL.items() if _holds(file, name)}
        for key in arrays.keys() - {"terminated", "truncated", "known"}:
            _check_written(file[D4RL[key]])
        ours = ("successor_known", "episode_returns", "episode_lengths")
        if "moore" in list(file) and not set(file["moore"]) <= set(ours):
            raise Wrong("moore/ holds what is not ours")
        if not {"obs", "action", "reward", "terminated"} <= arrays.keys():
            raise Wrong("arrays are missing")
        wanted = {"truncated": ("timeouts", "timeouts"), "next_obs": ("next", "next_observations")}
        wanted = [name for key, name in wanted.items() if key not in arrays]
        _check_names([key for key in file if key not in D4RL.values()], wanted)
        rows = parse(arrays)
        names = ("moore/episode_returns", "moore/episode_lengths")
        if all(_holds(file, name) for name in names):
            rows.stated = tuple(_array(file, name, _ANY) for name in names)
        notes, doubt = {}, "" if "next_obs" in arrays else _may_be_next(file)
        try:
            notes = {key: file.attrs[key] for key in file.attrs}
            told = notes.get("moore_metadata")
            if isinstance(told, str):
                more = json.loads(told)
                notes |= more if isinstance(more, dict) else {}
        except Exception as error:  # an attribute that cannot be read may be refused
            doubt = f"attributes: {error}"
    rows.limit = _limit(_plain(notes.get("env_id")))
    expected = expect(rows, load)
    _name_hdf5(expected, notes)
    expected.doubt = doubt
    if not load:
        expected.sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return expected


def _plain(value):
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _limit(env_id) -> int:
    """Steps of an episode of the environment, as it is registered."""
    spec = gymnasium.registry.get(env_id) if isinstance(env_id, str) else None
    return LIMIT if spec is None or spec.max_episode_steps is None else spec.max_episode_steps


def _name_hdf5(expected, notes):
    keys = ("env_id", "ref_min_score", "ref_max_score")
    env_id, low, high = (_plain(notes.get(key)) for key in keys)
    expected.env_id = name_of(env_id)
    numbers = all(isinstance(value, int | float) for value in (low, high))
    low, high = (low, high) if numbers else (None, None)
    expected.reference = reference(low, high, expected.env_id)


# --- npz ---


def _member(archive, names, key):
    with archive.open(names[key]) as member:
        return np.lib.format.read_array(io.BytesIO(member.read()), allow_pickle=False)


def _read_npz(path, load) -> Expected:
    keys = {key: key for key in ("obs", "action", "reward", "terminated", "truncated")}
    optional = {"next_obs": "next_obs", "known": "successor_known"}
    with zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        if len(names) < len(archive.namelist()):
            raise Wrong("two arrays go by one name")
        if not keys.keys() <= names.keys():
            raise Wrong("arrays are missing")
        wanted = [kind for kind, key in (("next", "next_obs"), ("known", "successor_known"))
                  if key not in names]  # fmt: skip
        others = names.keys() - keys.keys() - set(optional.values())
        _check_names(others, [(kind, {"next": "next_obs"}.get(kind, "successor_known"))
                              for kind in wanted])  # fmt: skip
        keys |= {key: name for key, name in optional.items() if name in names}
        rows = parse({key: _member(archive, names, name) for key, name in keys.items()})
        statistics = ("episode_returns", "episode_lengths")
        if all(key in names for key in statistics):
            rows.stated = tuple(_member(archive, names, key) for key in statistics)
        notes, doubt = {}, ""
        if "next_obs" not in names and len(names.keys() - keys.keys() - {*statistics}) > 1:
            doubt = "another array may hold the successors"
        if "metadata" in names:
            notes = json.loads(str(_member(archive, names, "metadata")))
    if not isinstance(notes, dict) or not isinstance(notes.get("env_id"), str | None):
        raise Wrong("metadata is no object")
    expected = expect(rows, load)
    expected.env_id, expected.doubt = name_of(notes.get("env_id")), doubt
    low = high = None
    if notes.get("reference") is not None:
        low, high = (float(notes["reference"][key]) for key in ("random", "expert"))
    expected.reference = reference(low, high, expected.env_id)
    return expected


# --- Minari ---

MINARI = {
    "obs": "observations", "action": "actions", "reward": "rewards",
    "terminated": "terminations", "truncated": "truncations",
}  # fmt: skip


def _read_minari(folder, load) -> Expected:
    notes = json.loads((folder / "metadata.json").read_text())
    marks = notes.get("moore", {"unfinished": False})
    if "moore" in notes and not {"env_id", "metadata", "reference_source"} <= marks.keys():
        raise Wrong("marks are missing")
    if not all(isinstance(marks.get(key, True), bool) for key in ("timeouts", "unfinished")):
        raise Wrong("a mark is neither true nor false")
    count, total, unfinished = notes["total_episodes"], notes["total_steps"], marks["unfinished"]
    with h5py.File(folder / "main_data.hdf5", "r") as file:
        groups = [file[f"episode_{i}"] for i in range(min(count, 10**4))]
        chosen = list(range(len(groups)))
        if load:
            lengths = [int(group.attrs["total_steps"]) for group in groups]
            complete = lengths[:-1] if unfinished else lengths
            drawn_ones = drawn(complete, sum(lengths), load)
            chosen = chosen if drawn_ones is None else drawn_ones
            total = sum(lengths[i] for i in chosen)
        episodes = [_episode(groups[i]) for i in chosen]
        doubt = " ".join(_doubt(groups[i]) for i in chosen).strip()
    _end(episodes, opened=bool(unfinished) and chosen[-1] == len(groups) - 1)
    rows = _joined(episodes)
    if total is not None and len(rows.obs) != total:  # Minari counts them itself then
        raise Wrong("steps differ from those of the metadata")
    if not any(episode["known"][-1] for episode in episodes):
        rows.next_obs = rows.known = None
    if not marks.get("timeouts", True):
        rows.truncated, rows.limit = None, _limit(marks.get("env_id"))
    partial = len(chosen) < len(groups)
    _side(folder, rows, chosen if partial else None, len(groups) - bool(unfinished))
    expected = expect(rows, {})
    expected.env_id, expected.doubt = name_of(marks.get("env_id")), doubt
    low, high = (notes.get(key) for key in ("ref_min_score", "ref_max_score"))
    low, high = (float(x) for x in (low, high)) if None not in (low, high) else (None, None)
    expected.reference = reference(low, high, expected.env_id)
    return expected


def _episode(group) -> dict:
    arrays = {key: numeric(_array(group, name), name) for key, name in MINARI.items()}
    for key in ("obs", "action", "reward"):
        _check_written(group[MINARI[key]])
    if arrays["reward"].shape == (0,):
        return {}
    observed = matrix(arrays["obs"], "obs")
    episode = {"obs": observed[:-1], "next_obs": observed[1:]}
    episode["action"] = matrix(arrays["action"], "action")
    for key in ("reward", "terminated", "truncated"):
        episode[key] = vector(arrays[key], key)
    marked = "infos" in group and "moore_observed" in group["infos"]
    if marked:
        arrays["known"] = numeric(_array(group["infos"], "moore_observed"), "moore_observed")
        episode["known"] = vector(arrays["known"], "moore_observed")[1:]
    else:
        episode["known"] = [True] * len(episode["reward"])
    for key in ("terminated", "truncated", "known"):
        episode[key] = flags(episode[key])
    if len({len(column) for column in episode.values()}) > 1:
        raise Wrong("an episode has arrays of different lengths")
    episode["kinds"] = [(key, x.dtype, x.shape[1:]) for key, x in arrays.items()]
    return episode


def _end(episodes, *, opened) -> None:
    """Minari ended each episode after its last row, but for one that the log left open."""
    for episode in filter(None, episodes):
        if not episode["terminated"][-1]:
            episode["truncated"][-1] = True
    if opened and episodes[-1] and not episodes[-1]["terminated"][-1]:
        episodes[-1]["truncated"][-1] = False


def _joined(episodes) -> Rows:
    episodes[:] = filter(None, episodes)
    if not episodes:
        raise Wrong("no episodes")
    if any(episode["kinds"] != episodes[0]["kinds"] for episode in episodes):
        raise Wrong("the episodes differ in their types or dimensions")
    keys = episodes[0].keys() - {"kinds"}
    return Rows(**{key: [x for episode in episodes for x in episode[key]] for key in keys})


def _doubt(group) -> str:
    """Infos that Minari itself reads, and may refuse."""
    try:
        found = []
        if "infos" in group:
            group["infos"].visititems(lambda key, item: found.append((key, item)))
            found += list(group["infos"].items())
        bad = [key for key, item in found if not isinstance(item, h5py.Dataset)]
        for key, item in found:
            if key not in bad:
                _array(item.parent, key.rpartition("/")[2])
    except Exception as error:
        return f"infos: {error}"
    return "infos" if bad else ""


def _side(folder, rows, chosen, complete) -> None:
    path = folder / "moore.hdf5"
    if not path.exists():
        return
    with h5py.File(path, "r") as file:
        names = [f"statistics/episode_{what}" for what in ("returns", "lengths")]
        stated = tuple(_array(file, name) for name in names if _holds(file, name))
        _ = "extras" in file  # fails where the names are damaged
    if len(stated) < 2:
        return
    rows.stated = stated if chosen is None else part_of_stated(stated, chosen, complete)


def expectation(source: str, load: dict) -> Expected:
    """What `load_dataset` must give; Wrong where it must refuse."""
    try:
        if source.startswith("minari:"):
            return _read_minari(Path(source.removeprefix("minari:")) / "data", load)
        return (_read_npz if source.endswith(".npz") else _read_hdf5)(source, load)
    except Wrong:
        raise
    except Exception as error:  # h5py, zipfile or json cannot read what is needed
        raise Wrong(f"unreadable: {type(error).__name__}: {error}") from error
