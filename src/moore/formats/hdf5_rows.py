"""Reads and writes HDF5 arrays with a row for each transition, block by block."""

import math
from collections.abc import Callable, Iterator, Mapping

import h5py
import numpy as np

from moore.data.checks import as_flags, blocks
from moore.formats.hdf5_checks import check_stored
from moore.formats.subset import Subset


class Lying:
    """A view of a transposed matrix whose rows run along the first axis."""

    def __init__(self, item: h5py.Dataset):
        self.item = item
        self.shape, self.dtype = item.shape[::-1], item.dtype
        self.chunks = item.chunks[::-1] if item.chunks else None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.ascontiguousarray(self.item[:, rows].T)


_SPARSE_ROWS = 2**13  # block of a subset: of a thin one, most blocks hold nothing and are skipped
_CHUNK_ROWS, _CHUNK_BYTES = 2**13, 2**20


def read_rows(
    source: h5py.Dataset | Lying,
    subset: Subset | None,
    dtype: np.dtype,
    convert: Callable[[np.ndarray], np.ndarray] = lambda values: values,
    *,
    written: bool = False,
    seen: Callable[[int, np.ndarray], None] | None = None,
) -> np.ndarray:
    """Reads the array, or a subset of it, as `dtype`, without another array of that size.

    With `written`, an array that was never written raises OSError, see `check_stored`. `seen` is
    called with each block as it is stored, and its first row in the result.
    """
    check_stored(source.item if isinstance(source, Lying) else source, written=written)
    rows = len(source) if subset is None else subset.metadata["rows"]
    out = np.empty((rows, *source.shape[1:]), dtype)
    at = 0
    for block in blocks(
        len(source),
        source.dtype.itemsize * math.prod(source.shape[1:]),
        most=2**16 if subset is None else _SPARSE_ROWS,
        multiple_of=source.chunks[0] if source.chunks else 1,  # each is decompressed once
    ):
        keep = None if subset is None else subset.keep[block]
        if keep is not None and not keep.any():
            continue
        values = source[block] if keep is None else source[block][keep]
        if seen is not None:
            seen(at, values)
        values = convert(values)
        with np.errstate(over="ignore", invalid="ignore"):  # see `as_float32`
            out[at : at + len(values)] = values
        at += len(values)
        del values  # before the next block is read
    return out


def slices_of_episodes(
    columns: Mapping[str, h5py.Dataset | Lying], rows: int, name: str
) -> Iterator[slice]:
    """Slices of about this many rows that end with an episode, the last one with the file."""
    size, begin, end = len(columns["obs"]), 0, rows
    while begin < size:
        end = min(end, size)
        flags = [columns[key][begin:end].reshape(-1) for key in ("terminated", "truncated")]
        last = np.flatnonzero(np.logical_or(*(as_flags(name, "flags", x) for x in flags)))
        if len(last) == 0 and end < size:
            end += rows
            continue
        stop = size if end == size else begin + int(last[-1]) + 1
        yield slice(begin, stop)
        begin, end = stop, stop + rows


def write_rows(target: h5py.Group, key: str, value: np.ndarray) -> None:
    """Writes an array compressed, with checksums and without time stamps."""
    options = {}
    if value.size and value.dtype.kind in "biuf":
        row_bytes = value[:1].nbytes
        rows = max(1, min(len(value), _CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
        options = {"chunks": (rows, *value.shape[1:]), "shuffle": True, "fletcher32": True}
        options |= {"compression": "gzip", "compression_opts": 1}
    target.create_dataset(key, data=value, track_times=False, **options)
