"""Reads MATLAB's files of versions 5 to 7.2 without SciPy, which a damaged file can crash.

Layout after "MAT-File Format" (MathWorks): a header of 128 bytes, then elements of type, size and
data, padded to 8 bytes; those of version 7 are compressed. Real matrices and structures of them are
read; anything else is known by name only.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_HEADER = 128
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8"}
_CLASSES[15] = "u8"
_MATRIX, _COMPRESSED = 14, 15
_STRUCT = 2
_LOGICAL, _COMPLEX = 0x0200, 0x0800
_NAME_BYTES = 2**12  # of a compressed element, enough for its name
_LARGEST_RATIO = 2000  # a byte of zlib makes 1032 at most

# A real matrix, a structure of these by field, or None: anything else.
Item = np.ndarray | dict | None


def read_mat5(path: Path, wanted: set[str]) -> dict[str, Item]:
    """The wanted variables, and None for each other one.

    Raises:
        ValueError, zlib.error: the file is no MATLAB file, or it is damaged.
    """
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise ValueError("no MATLAB file of version 5 or later")
    found: dict[str, Item] = {}
    for kind, data in _elements(memoryview(content)[_HEADER:], order):
        if kind == _COMPRESSED:
            start = zlib.decompressobj().decompress(data, _NAME_BYTES)
            if _name(memoryview(start), order) in wanted:
                kind, data = next(_elements(memoryview(_inflated(data)), order))
            else:
                found[_name(memoryview(start), order)] = None
                continue
        if kind == _MATRIX:
            name, item = _matrix(data, order)
            found[name] = item if name in wanted else None
    return found


def _inflated(data: memoryview) -> bytes:
    stream = zlib.decompressobj()
    whole = stream.decompress(data, _LARGEST_RATIO * len(data))
    if not stream.eof:
        raise ValueError("a compressed variable is cut short")
    return whole


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yields the elements as (type, data)."""
    at = 0
    while at + 8 <= len(data):
        kind, size = (int(v) for v in np.frombuffer(data[at : at + 8], order + "u4"))
        small = kind >> 16
        if small:  # type and size share four bytes, the data are the next four
            kind, size, start, end = kind & 0xFFFF, small, at + 4, at + 8
        else:
            start, end = at + 8, at + 8 + size
            end += 0 if kind == _COMPRESSED else -size % 8
        if start + size > len(data) or (small and size > 4):
            raise ValueError(f"an element of {size} bytes is cut short")
        yield kind, data[start : start + size]
        at = end


def _name(start: memoryview, order: str) -> str:
    """The name of the matrix that begins here, which may be cut short."""
    parts = _elements(start[8:], order)
    next(parts), next(parts)
    return bytes(next(parts)[1]).decode("latin-1")


def _matrix(data: memoryview, order: str) -> tuple[str, Item]:
    if len(data) == 0:
        return "", None
    parts = _elements(data, order)
    flags = int(np.frombuffer(next(parts)[1], order + "u4")[0])
    shape = tuple(int(n) for n in np.frombuffer(next(parts)[1], order + "i4"))
    name = bytes(next(parts)[1]).decode("latin-1")
    if flags & 0xFF == _STRUCT and shape == (1, 1):
        return name, _struct(parts, order)
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return name, None
    kind, raw = next(parts)
    if kind not in _TYPES or min(shape, default=0) < 0:
        raise ValueError(f"{name} has a damaged header")
    values = np.frombuffer(raw, order + _TYPES[kind])
    to = "bool" if flags & _LOGICAL else _CLASSES[flags & 0xFF]
    return name, values.astype(to).reshape(shape, order="F")


def _struct(parts: Iterator[tuple[int, memoryview]], order: str) -> dict[str, Item]:
    length = int(np.frombuffer(next(parts)[1], order + "i4")[0])
    names = bytes(next(parts)[1]).decode("latin-1")
    if length < 1:
        raise ValueError("a structure has damaged names")
    fields = [names[i : i + length].split("\0")[0] for i in range(0, len(names), length)]
    return {field: _matrix(next(parts)[1], order)[1] for field in fields}
