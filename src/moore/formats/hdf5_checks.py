"""Checks for damage that libhdf5 2.0 does not notice, or that makes it crash or never return.

Damage raises OSError, as libhdf5 does for the damage that it notices itself.
"""

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from moore.errors import InputError

_HEAP = b"GCOL\x01"  # a collection of strings of any length, version 1
_HEAP_SMALLEST = 4096
_OBJECT = struct.Struct("<HHIQ")  # index (0: the rest is free), references, reserved, bytes
_CHECKSUM_BYTES = 4
_BLOCK_BYTES = 2**22
# A byte of gzip makes 1032 at most; an array that says more would only fill the memory.
_LARGEST_RATIO, _SMALL_BYTES = 2000, 2**24


def in_use(error: BaseException | None) -> str:
    """What to do about an error if the file is in use and not damaged; else empty.

    libhdf5 locks a file while it is written, and marks it until its writer has closed it.
    """
    while error is not None:
        text = str(error).lower()
        if any(part in text for part in ("unable to lock", "already open", "consistency flag")):
            return (
                "another process has it open for writing, or did not close it; close the recorder, "
                "or copy the file when it is whole and read the copy"
            )
        if isinstance(error, PermissionError):
            return "this user may not read it, or another program keeps it; see to its rights"
        error = error.__cause__
    return ""


def check_heaps(file: h5py.File) -> None:
    """Checks the heaps of strings; libhdf5 loops for ever at free space of size 0."""
    if file.id.get_create_plist().get_sizes() != (8, 8):  # bytes of addresses and of lengths
        return
    with open(file.filename, "rb") as source:
        for start in list(_find(source, _HEAP)):
            _check_heap(source, start)


def check_stored(item: h5py.Dataset, *, written: bool = False) -> None:
    """Checks that the whole array is in this file; libhdf5 would read missing parts as zeros.

    An array that was never written may be all zeros, unless it must have been `written`.
    """
    stored, shape, dtype = item.id, item.shape, item.dtype  # h5py asks the file each time
    if shape is None:
        return
    made = stored.get_create_plist()
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise OSError(f"{item.name} is kept in other files")
    size = math.prod(shape) * dtype.itemsize
    there = h5py.h5i.get_file_id(stored).get_filesize()
    if size > max(_SMALL_BYTES, _LARGEST_RATIO * there):
        raise OSError(f"{item.name} says {size} bytes, the whole file has {there}")
    if dtype.kind in "iuf" and dtype.itemsize <= 8:
        _check_type(item, stored.get_type(), dtype)
    if written and size and stored.get_storage_size() == 0:
        raise OSError(f"{item.name} was never written")
    if made.get_layout() == h5py.h5d.CHUNKED:
        _check_chunks(item, made, size_of_value=dtype.itemsize, there=there)


def check_meaning(item: h5py.Dataset, path: str | Path, name: str, key: str) -> None:
    """Checks that the numbers are those of this file, and mean what they say.

    netCDF stores packed numbers, to be multiplied by `scale_factor` and shifted by `add_offset`,
    and a number that stands for a missing one.

    Args:
        item: the array.
        path: the file that was opened, as it was opened.
        name: name of the log in errors.
        key: name of the array in errors.

    Raises:
        OSError: the array is in another file, to which a link leads.
        InputError: its numbers are packed, or some stand for missing ones.
    """
    kept = h5py.h5f.get_name(item.id)
    # A link may lead out of a file and back into it.
    if kept != os.fsencode(path) and not os.path.samefile(kept, os.fsencode(path)):
        raise OSError(f"{key} is kept in other files")
    told = {what: _number(item, what) for what in ("scale_factor", "add_offset")}
    if told["scale_factor"] not in (None, 1.0) or told["add_offset"] not in (None, 0.0):
        packed = ", ".join(f"{what} {value:g}" for what, value in told.items() if value is not None)
        raise InputError(
            f"{name}: {key} holds packed numbers ({packed}), which are read as they are stored; "
            "write the unpacked ones, without these attributes"
        )
    for what in ("_FillValue", "missing_value"):
        value = _number(item, what)
        if value is not None and math.isfinite(value) and (missing := (item[()] == value).sum()):
            raise InputError(
                f"{name}: {key} holds {missing:,} times {value:g}, its {what}, which stands for a "
                "missing value; drop the episodes that hold it, or repair these rows"
            )


def _number(item: h5py.Dataset, what: str) -> float | None:
    """An attribute that is one number; None if there is none, or if it cannot be read."""
    try:
        return float(np.asarray(item.attrs[what]).reshape(())) if what in item.attrs else None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError):
        return None


def _check_type(item: h5py.Dataset, stored: h5py.h5t.TypeID, dtype: np.dtype) -> None:
    """Checks the exponent's bits and bias, which NumPy's type does not show."""
    if isinstance(stored, h5py.h5t.TypeEnumID):
        return
    usual = h5py.h5t.py_create(dtype)
    told = ["get_precision", "get_offset", "get_sign"]
    if dtype.kind == "f":
        told[2:] = ["get_fields", "get_ebias", "get_norm"]
    if any(getattr(stored, what)() != getattr(usual, what)() for what in told):
        raise OSError(f"{item.name} has numbers of no usual type")


def _find(source: BinaryIO, mark: bytes) -> Iterator[int]:
    start, kept = 0, b""
    while block := source.read(_BLOCK_BYTES):
        block = kept + block
        at = block.find(mark)
        while at >= 0:
            yield start + at
            at = block.find(mark, at + 1)
        kept = block[1 - len(mark) :]
        start += len(block) - len(kept)


def _check_heap(source: BinaryIO, start: int) -> None:
    source.seek(start + 8)
    size = int.from_bytes(source.read(8), "little")
    at, end = start + 16, start + size
    if size < _HEAP_SMALLEST or end > os.fstat(source.fileno()).st_size:
        return  # libhdf5 refuses it, or it is no heap
    while end - at >= _OBJECT.size:
        source.seek(at)
        index, _, _, length = _OBJECT.unpack(source.read(_OBJECT.size))
        step = _OBJECT.size + -(-length // 8) * 8 if index else length
        if step < _OBJECT.size:
            raise OSError(f"damaged strings at byte {at}")
        at += step


def _fits_filters(size: int, mask: int, filters: list[tuple[int, int]], raw: int) -> bool:
    """Whether a chunk's size is possible for the filters that `mask` does not skip."""
    may_pass_over = sum(
        1 << i for i, (_, flags) in enumerate(filters) if flags & h5py.h5z.FLAG_OPTIONAL
    )
    active = {code for i, (code, _) in enumerate(filters) if not mask >> i & 1}
    checksum = _CHECKSUM_BYTES * (h5py.h5z.FILTER_FLETCHER32 in active)
    if active <= {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}:
        fits = size == raw + checksum
    else:
        fits = size > checksum  # a shorter one makes libhdf5 read beyond its memory
    return fits and mask & ~may_pass_over == 0


def _check_chunks(
    item: h5py.Dataset, made: h5py.h5p.PropDCID, *, size_of_value: int, there: int
) -> None:
    chunks: list[h5py.h5d.StoreInfo] = []
    item.id.chunk_iter(chunks.append)
    if not chunks:  # never written, and zeros (or the fill value) by right
        return
    shape, steps = item.shape, made.get_chunk()
    expected = math.prod(-(-n // step) for n, step in zip(shape, steps, strict=True))
    places = {chunk.chunk_offset for chunk in chunks}
    if not len(places) == len({chunk.byte_offset for chunk in chunks}) == len(chunks) == expected:
        raise OSError(f"{item.name} has {len(places)} of {expected} chunks")
    filters = [made.get_filter(i)[:2] for i in range(made.get_nfilters())]  # (code, flags)
    raw = math.prod(steps) * size_of_value
    for chunk in chunks:
        axes = zip(chunk.chunk_offset, shape, steps, strict=True)
        fits = all(at < n and at % step == 0 for at, n, step in axes)
        fits &= _fits_filters(chunk.size, chunk.filter_mask, filters, raw)
        if not fits or not 0 < chunk.byte_offset <= there - chunk.size:
            raise OSError(f"{item.name} has a damaged chunk at {chunk.chunk_offset}")
        # To be listed is not to be found: this fails where a plain read would give zeros.
        item.id.read_direct_chunk(chunk.chunk_offset)
