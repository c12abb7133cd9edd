"""What can be wrong with a whole file: its bytes, its keys and links, what it says of itself."""

import io
import json
import os
import random
import zipfile
from pathlib import Path

import h5py
import numpy as np

NOTES = {
    "text": "Hopper-v5", "empty text": "", "null": None, "number": 3, "negative": -1.5,
    "zero": 0, "large": 10**12, "beyond int64": 2**70, "nan": float("nan"), "inf": float("inf"),
    "true": True, "list": [1, 2], "empty list": [], "object": {"a": 1}, "empty object": {},
    "surrogate": "\ud800", "lines": "one\ntwo\r\x1b[31m", "long": "x" * 300_000,
    "path": "../../etc/passwd", "digits": "9" * 5000,
}  # fmt: skip
BROKEN_JSON = ["", "{", "[1]", "null", "1e999", '{"env_id": NaN}', '{"env_id": "\\ud800"}']
BROKEN_JSON += ['{"a": ' + "9" * 5000 + "}", "[" * 100_000, '{"a": 1} x', "\ufeff{}", "\x00"]
BROKEN_JSON += ['{"reference": 3}', '{"reference": {"random": 1}}', '{"env_id": ["Hopper-v5"]}']
BROKEN_JSON += ['{"reference": {"random": NaN, "expert": 1}}', '{"env_id": "one\\ntwo"}']
BROKEN_JSON += [
    '{"reference": {"random": 2, "expert": 2}}',
    '{"reference": {"random": [], "a": 1}}',
]
NAMES = ["x", "Observations", "timeouts ", "a\nb", "infos", "moore", "obs", "metadata", "moore/x"]
NAMES += ["infos/a\nb", "k" * 3000, "moore/episode_returns", "moore/episode_lengths", b"\xff\xfe"]
NAMES += [
    "successor_known",
    "moore/successor_known",
    "timeouts",
    "truncations",
    "next_observations",
]


class Hdf5Arrays:
    """The arrays of an HDF5 file, by path, to be read and replaced."""

    def __init__(self, path):
        self.file = h5py.File(path, "r+")

    def keys(self):
        found = []

        def note(path, about):
            if about.type == h5py.h5o.TYPE_DATASET:
                found.append(os.fsdecode(path))

        h5py.h5o.visit(self.file.id, note, info=True)  # `visititems` opens every item
        return sorted(found)

    def get(self, key):
        return self.file[key][()]

    def put(self, key, value, **options):
        if isinstance(value, np.ndarray) and value.dtype.kind == "O":
            raise TypeError("h5py does not survive every array of objects")
        if key in self.file:
            del self.file[key]
        if isinstance(value, np.ndarray) and value.dtype.kind == "U":
            value = value.astype("S")
        self.file.create_dataset(key, data=value, **options)

    def drop(self, key):
        del self.file[key]

    def close(self):
        self.file.close()


class NpzArrays:
    """The arrays of an archive, by name; what was put is written when it is closed."""

    def __init__(self, path):
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.members = [(name, archive.read(name)) for name in archive.namelist()]
            self.compression = archive.infolist()[0].compress_type

    def keys(self):
        return sorted(name.removesuffix(".npy") for name, _ in self.members if name != "metadata")

    def get(self, key):
        return np.lib.format.read_array(io.BytesIO(dict(self.members)[f"{key}.npy"]))

    def put(self, key, value):
        content = io.BytesIO()
        np.lib.format.write_array(content, np.asanyarray(value), allow_pickle=True)
        self.drop(key)
        self.members.append((f"{key}.npy", content.getvalue()))

    def drop(self, key):
        self.members = [member for member in self.members if member[0] != f"{key}.npy"]

    def close(self):
        with zipfile.ZipFile(self.path, "w", self.compression) as archive:
            for name, data in self.members:
                archive.writestr(name, data)


# --- bytes ---


def _positions(data, region, place):
    """Where damage starts: anywhere, in the first or last kilobyte, or in an HDF5 signature."""
    if region == "head":
        return place % min(1024, len(data))
    if region == "tail":
        return len(data) - 1 - place % min(1024, len(data))
    if region == "structure":
        marks = [b"OHDR", b"SNOD", b"TREE", b"HEAP", b"OCHK", b"FRHP", b"PK\1\2", b"PK\3\4"]
        marks += [b"NUMPY", b"\x89HDF", b"PK\5\6", b"\x11\x00\x10", b"\x08\x00\x18\x00"]
        found = [at for mark in marks for at in _find_all(data, mark)]
        if found:
            return min(found[place % len(found)] + place // len(found) % 64, len(data) - 1)
    return place % len(data)


def _find_all(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


def damage(data: bytes, kind: str, region: str, place: int, size: int) -> bytes:
    """Bytes flipped, set, cut, zeroed, inserted, removed, doubled, swapped or appended."""
    if not data:
        return data
    at, noise = _positions(data, region, place), random.Random(size)
    length = 1 + size % 64
    block = data[at : at + length]
    noisy = noise.randbytes(length)
    if kind == "bit":
        return data[:at] + bytes([data[at] ^ 1 << size % 8]) + data[at + 1 :]
    if kind == "bits":
        mixed = bytearray(data)
        for _ in range(length):
            mixed[_positions(data, region, noise.getrandbits(16))] ^= 1 << noise.getrandbits(3)
        return bytes(mixed)
    other = noise.randrange(len(data))
    low, high = sorted((at, other))
    swapped = data[:low] + data[high : high + length] + data[low + length : high]
    return {
        "byte": data[:at] + bytes([size % 256]) + data[at + 1 :],
        "noise": data[:at] + noisy[: len(block)] + data[at + length :],
        "cut": data[:at],
        "zero": data[:at] + bytes(len(block)) + data[at + length :],
        "ones": data[:at] + b"\xff" * len(block) + data[at + length :],
        "insert": data[:at] + noisy + data[at:],
        "remove": data[:at] + data[at + length :],
        "double": data[:at] + block + data[at:],
        "swap": swapped + data[low : low + length] + data[high + length :],
        "append": data + noisy,
    }[kind]


DAMAGE = ["bit", "bits", "byte", "noise", "cut", "zero", "ones", "insert", "remove", "double"]
DAMAGE += ["swap", "append"]
REGIONS = ["head", "tail", "structure", "anywhere", "anywhere"]


# --- keys ---


def _uninitialised(file, key, n):
    old = file.pop(key)
    file.create_dataset(key, old.shape, old.dtype, chunks=(16, *old.shape[1:]) if n % 2 else None)


def _some_chunks(file, key, n):
    values, step = file[key][()], 16
    del file[key]
    new = file.create_dataset(key, values.shape, values.dtype, chunks=(step, *values.shape[1:]))
    for start in range(0, len(values), step):
        if start // step != n % -(-len(values) // step):
            new[start : start + step] = values[start : start + step]


def _virtual(file, key, n):
    values = file[key][()]
    del file[key]
    if n % 2:
        with h5py.File("parts.hdf5", "a") as parts:
            parts[f"{key}-{len(parts)}"] = values
            name = sorted(parts)[-1]
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    name = name if n % 2 else "x"
    layout[:] = h5py.VirtualSource("parts.hdf5" if n % 2 else "gone.hdf5", name, values.shape)
    file.create_virtual_dataset(key, layout)


def _external_bytes(file, key, n):
    values = file[key][()]
    del file[key]
    stored = values.tobytes()[: None if n % 2 else values.nbytes // 2]
    Path("raw.bin").write_bytes(stored)
    file.create_dataset(
        key, values.shape, values.dtype, external=[("raw.bin", 0, h5py.h5f.UNLIMITED)]
    )


def _linked(make):
    def change(file, key, n):
        file.move(key, "elsewhere")
        file[key] = make(n)

    return change


def _replaced(make):
    def change(file, key, n):
        del file[key]
        file[key] = make(n)

    return change


def _group(file, key, n):
    values = file.pop(key)
    group = file.create_group(key)
    if n % 2:
        group["data"] = values[()]


def _cycle(file, key, n):
    del file[key]
    file[key] = file["/"]


def _stored_otherwise(file, key, n):
    values = file.pop(key)[()]
    options = [{"compression": "lzf"}, {"maxshape": (None, *values.shape[1:])}]
    options += [{"compression": "gzip", "compression_opts": 9}, {"chunks": (7, *values.shape[1:])}]
    options += [{"fillvalue": 1, "chunks": True}, {"scaleoffset": 4}, {"shuffle": True}]
    file.create_dataset(key, data=values, **options[n % len(options)])


def _attribute_of_array(file, key, n):
    file[key].attrs["env_id"] = "Other-v0"


HDF5_KEYS = {
    "group": _group,
    "cycle": _cycle,
    "soft link": _linked(lambda n: h5py.SoftLink("/elsewhere")),
    "dangling": _replaced(lambda n: h5py.SoftLink("/gone")),
    "own link": _replaced(lambda n: h5py.SoftLink("/rewards" if n % 2 else "/observations")),
    "external": _linked(lambda n: h5py.ExternalLink("log.hdf5", "/elsewhere")),
    "external gone": _replaced(lambda n: h5py.ExternalLink("gone.hdf5", "/x")),
    "type": _replaced(lambda n: np.dtype("f4")),
    "empty": _replaced(lambda n: h5py.Empty("f4")),
    "text": _replaced(lambda n: "hello"),
    "uninitialised": _uninitialised,
    "some chunks": _some_chunks,
    "virtual": _virtual,
    "external bytes": _external_bytes,
    "stored otherwise": _stored_otherwise,
    "attribute": _attribute_of_array,
}


def _as_text(members, name, n):
    return {**members, name: b"not an array"}


def _without_suffix(members, name, n):
    return {(key.removesuffix(".npy") if key == name else key): v for key, v in members.items()}


def _header(members, name, n):
    """Another header of the same length: types and shapes that no array has."""
    words = [
        (b"'fortran_order': False", b"'fortran_order': True "),
        (b"<f4", b"|O8"),
        (b"<f4", b"<f9"),
    ]
    words += [(b"(80,", b"(-1,"), (b"(80,", b"(9L,"), (b"(80,", b"(1e,"), (b"'descr'", b"'descs'")]
    words += [(b"(80,", b"(8**9,"), (b"{", b"("), (b"80", b"99999999999999"), (b"80", b"True")]
    words += [(b"<f4", b"|S0"), (b"<f4", b"|V0"), (b"80", b"2147483648"), (b"(80", b"((80,1)")]
    words += [(b"{", b"{" + b"[" * 40)]
    old, new = words[n % len(words)]
    data = members[name]
    length = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + length].replace(old, new, 1).rstrip(b" \n")
    header = header.ljust(length - 1)[: length - 1] + b"\n"
    return {**members, name: data[:10] + header + data[10 + length :]}


NPZ_KEYS = {"no array": _as_text, "no suffix": _without_suffix, "header": _header}


# --- what the file says of itself ---


def change_attribute(file: h5py.File, name: str, kind: str) -> None:
    values = {"array": np.arange(3.0), "bytes": np.bytes_(b"\xff\xfe"), "empty": h5py.Empty("f4")}
    values |= {"reference": file.ref, "texts": ["a", "b"], "broken": "{", "numbers": "[1, 2]"}
    values |= {"one": np.ones((1, 1)), "half": np.float16(0.5), "complex": 1j}
    values |= {"pair": np.array((1, 2.0), [("a", "i4"), ("b", "f4")])}
    value = (values | NOTES)[kind]
    if kind.startswith("empty"):
        file.attrs[name] = h5py.Empty("S1" if kind == "empty text" else "f4")
    else:
        file.attrs[name] = json.dumps(value) if isinstance(value, dict) else value


ATTRIBUTES = ["env_id", "ref_min_score", "ref_max_score", "ref_source", "moore_metadata", "x"]
ATTRIBUTE_KINDS = [*NOTES, "array", "bytes", "empty", "reference", "texts", "broken", "numbers"]
ATTRIBUTE_KINDS += ["one", "half", "complex", "pair"]


def change_json(path: str, place: int, kind: str) -> None:
    """One entry of a JSON object, at any depth; it goes where the kind is "drop"."""
    document = json.loads(Path(path).read_text())
    holders = [(document, key) for key in document]
    marks = document.get("moore")
    holders += [(marks, key) for key in marks or ()]
    holder, key = holders[place % len(holders)]
    if kind == "drop":
        del holder[key]
    else:
        holder[key] = NOTES[kind]
    Path(path).write_text(json.dumps(document))
