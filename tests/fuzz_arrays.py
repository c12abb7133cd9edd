"""What can be wrong with one array: its shape, its type, its values, its flags.

Every change takes the array and a whole number, which says where or how much.
"""

import h5py
import numpy as np

SHAPES = {
    "cut the end": lambda x, n: x[: -1 - n % 3],
    "cut the start": lambda x, n: x[1 + n % 3 :],
    "drop a row": lambda x, n: np.delete(x, n % len(x), 0),
    "repeat a row": lambda x, n: np.insert(x, n % len(x), x[n % len(x)], 0),
    "double": lambda x, n: np.concatenate([x, x]),
    "one row": lambda x, n: x[n % len(x) :][:1],
    "no rows": lambda x, n: x[:0],
    "no columns": lambda x, n: x[..., :0],
    "transpose": lambda x, n: x.T,
    "flatten": lambda x, n: x.reshape(-1),
    "axis at the end": lambda x, n: x[..., None],
    "axis in front": lambda x, n: x[None],
    "scalar": lambda x, n: x.reshape(-1)[n % x.size],
    "wider": lambda x, n: np.concatenate([x, x], -1),
    "one column": lambda x, n: x[..., :1],
    "fold": lambda x, n: x.reshape(2, -1),
}

TYPES = {
    "half": "f2", "single": "f4", "double": "f8", "long double": "g",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
    "uint8": "u1", "uint64": "u8", "bool": "?",
    "big single": ">f4", "big double": ">f8", "big int32": ">i4", "big int64": ">i8",
    "complex": "c8", "bytes": "S6", "text": "U6", "object": "O", "void": "V4",
    "date": "M8[s]", "duration": "m8[s]",
    "pair": [("a", "f4"), ("b", "f4")], "sub-array": ("f4", (2,)),
}  # fmt: skip
# Those that only HDF5 has.
HDF5_TYPES = {
    "enum": h5py.enum_dtype({"NO": 0, "YES": 1}, "i1"),
    "vlen": h5py.vlen_dtype(np.float32),
    "vlen text": h5py.string_dtype(),
    "reference": h5py.ref_dtype,
    "region": h5py.regionref_dtype,
}

VALUES = {
    "nan": np.nan, "inf": np.inf, "-inf": -np.inf, "huge": 1e300, "beyond float32": -3.5e38,
    "largest": 3.4028234e38, "subnormal": 1e-45, "tiny": 5e-324, "minus zero": -0.0, "zero": 0.0,
    "one": 1.0, "large int": 2**62, "bytes": 255, "fraction": 0.3, "signaling": "signaling",
}  # fmt: skip


def _flip(x, n, share):
    change = np.random.default_rng(n).random(x.shape) < share
    return np.where(change, x == 0, x).astype(x.dtype)


FLAGS = {
    "flip one": lambda x, n: _at(x, n, x.reshape(-1)[n % x.size] == 0),
    "flip some": lambda x, n: _flip(x, n, 0.1),
    "flip half": lambda x, n: _flip(x, n, 0.5),
    "none": lambda x, n: np.zeros_like(x),
    "all": lambda x, n: np.ones_like(x),
    "sooner": lambda x, n: np.roll(x, -1, 0),
    "later": lambda x, n: np.roll(x, 1, 0),
    "last": lambda x, n: _at(x, -1, 1),
    "not the last": lambda x, n: _at(x, -1, 0),
    "last but one": lambda x, n: _at(x, -2, 1),
    "floats": lambda x, n: x.astype("f4") * (n % 5 - 2),
    "fractions": lambda x, n: x.astype("f8") * 0.25,
    "nan": lambda x, n: _at(x.astype("f4"), n, np.nan),
    "infinite": lambda x, n: _at(x.astype("f4"), n, -np.inf),
    "negative": lambda x, n: -x.astype("i2"),
    "two": lambda x, n: _at(x.astype("i4"), n, 2),
    "tiny": lambda x, n: _at(x.astype("f8"), n, 5e-324),
    "bits": lambda x, n: (x.astype("u1") * (n % 256)).view("?"),  # a bool that is neither 0 nor 1
    "bits of one": lambda x, n: _at(x.astype("u1"), n, 2 + n % 254).view("?"),
}


def change_type(x: np.ndarray, kind: str) -> np.ndarray:
    """Values as another type, whatever they become; ValueError or TypeError where they cannot."""
    if kind == "pair":
        return np.array([(1.0, 2.0)] * len(x), TYPES[kind])
    if kind == "void":
        return np.ascontiguousarray(x.astype("f4")).view("V4")
    if kind == "sub-array":
        return np.repeat(x.astype("f4")[..., None], 2, -1)
    with np.errstate(all="ignore"):
        return x.astype(TYPES[kind])


def change_value(x: np.ndarray, kind: str, n: int) -> np.ndarray:
    """One value, or every one for odd `n`, becomes that of `VALUES`."""
    value = VALUES[kind]
    if value == "signaling":  # of which a conversion warns
        value = {"f4": 0x7FA00000, "f8": 0x7FF4 << 48}[x.dtype.str[1:]]
        bits = x.copy().view(f"u{x.dtype.itemsize}")
        return _at(bits, n // 2, value).view(x.dtype)
    with np.errstate(all="ignore"):
        return np.full_like(x, value) if n % 2 else _at(x, n // 2, value)


def _at(x, n, value):
    x = x.copy()
    x.reshape(-1)[n % x.size if n >= 0 else n] = value
    return x
