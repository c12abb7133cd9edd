"""The arrays of a NumPy archive: the header first, then, from the same place, the values.

NumPy's own reader opens a member anew for each question and copies it in small pieces, which takes
longer than the rest of the reading of a small log.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile

_PIECE = 2**16  # bytes that are in memory a second time


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    across: bool  # whether the first axis runs fastest (Fortran's order)
    dtype: np.dtype


class NpzArrays:
    """The arrays of an open archive by name; errors are those of NumPy and zipfile."""

    def __init__(self, archive: NpzFile):
        """The caller opens and closes the archive."""
        self.names: list[str] = archive.files
        self._archive = archive
        self._open: dict[str, tuple[IO[bytes], _Header]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array whose values need not be read."""
        return self._begun(key)[1].shape

    def read(self, key: str) -> np.ndarray:
        """A new array with all values."""
        member, header = self._begun(key)
        del self._open[key]
        with member:
            if header.dtype.hasobject:
                raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
            return _values(member, header)

    def close(self) -> None:
        """Closes what was begun and not read."""
        for member, _ in self._open.values():
            member.close()
        self._open.clear()

    def _begun(self, key: str) -> tuple[IO[bytes], _Header]:
        if key not in self._open:
            stored = f"{key}.npy"
            zipped = self._archive.zip
            assert zipped is not None  # only a closed archive has none
            member = zipped.open(stored if stored in zipped.NameToInfo else key)
            try:
                self._open[key] = member, _header(member, key)
            except BaseException:
                member.close()
                raise
        return self._open[key]


def _header(member: IO[bytes], key: str) -> _Header:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of headers of Python 2
        try:
            version = npy.read_magic(member)
        except ValueError as error:
            raise TypeError(f"{key} is no array; {error}") from error
        first = version == (1, 0)
        read = npy.read_array_header_1_0 if first else npy.read_array_header_2_0
        return _Header(*read(member))


def _values(member: IO[bytes], header: _Header) -> np.ndarray:
    values = np.empty(header.shape[::-1] if header.across else header.shape, header.dtype)
    room = values.reshape(-1).view(np.uint8).data if values.nbytes else memoryview(b"")
    done = 0
    while done < len(room):
        piece = member.read(min(_PIECE, len(room) - done))
        if not piece:
            raise EOFError(f"it ends after {done} of {len(room)} bytes of values")
        room[done : done + len(piece)] = piece
        done += len(piece)
    member.read(1)  # the end of a member brings the check of its sum
    return values.T if header.across else values
