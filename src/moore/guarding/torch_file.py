"""Arrays in a file of PyTorch, read without PyTorch and without unpickling.

`torch.save` writes a zip: data.pkl says which tensor lies where, and data/0, data/1, ... hold the
numbers (the layout is read off torch/serialization.py and torch/_utils.py). Only the tensors that
are asked for are read.
"""

import io
import math
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from moore.guarding.files import LARGEST
from moore.guarding.pickled import plain_data

_TYPES: dict[str, np.dtype] = {
    "FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"), "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"), "BoolStorage": np.dtype("?"),
}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """Where numbers lie: the name of the entry, their type, and how many they are."""

    entry: str
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class Tensor:
    """A tensor that was not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class TorchFile:
    """An opened file.

    Attributes:
        content: what it holds: tables, lists and `Tensor`s.
        entries: the zip.
        folder: common beginning of its entries' names.
        big_endian: whether the numbers' bytes are the other way round.
    """

    content: Any
    entries: zipfile.ZipFile
    folder: str
    big_endian: bool

    def array(self, tensor: Tensor) -> np.ndarray:
        """The numbers of a tensor.

        Raises:
            ValueError: they are not all there.
        """
        storage = tensor.storage
        sizes = (*tensor.shape, *tensor.strides, tensor.offset)
        if len(tensor.shape) != len(tensor.strides) or not all(
            type(x) is int and x >= 0 for x in sizes
        ):
            raise ValueError(f"a tensor has shape {tensor.shape} and strides {tensor.strides}")
        steps = zip(tensor.shape, tensor.strides, strict=True)
        end = tensor.offset + sum((size - 1) * stride for size, stride in steps) + 1
        count = math.prod(tensor.shape)
        if count > storage.size or (count and end > storage.size):
            raise ValueError(f"a tensor of shape {tensor.shape} is larger than its numbers")
        dtype = storage.dtype.newbyteorder(">" if self.big_endian else "<")
        content = _entry(self.entries, f"{self.folder}data/{storage.entry}")
        if len(content) < storage.size * dtype.itemsize:
            raise ValueError(f"the numbers of a tensor of shape {tensor.shape} are cut off")
        numbers = np.frombuffer(content, dtype, storage.size)[tensor.offset :]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        found = np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)
        return found.astype(storage.dtype)

    def arrays(self, table: Any) -> dict[str, np.ndarray]:
        """The tensors of a state dictionary as arrays by name, float32 where they are fractions.

        Raises:
            ValueError: it is no table of tensors.
        """
        if not isinstance(table, dict):
            raise ValueError("its weights are not a table")
        found = {str(k): self.array(x) for k, x in table.items() if isinstance(x, Tensor)}
        return {k: x.astype(np.float32) if x.dtype.kind == "f" else x for k, x in found.items()}


def open_torch(content: bytes) -> TorchFile:
    """Opens what `torch.save` has written.

    Raises:
        ValueError: it is no such file, or names code that weights do not need.
    """
    try:
        entries = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError) as error:
        raise ValueError(f"its weights are not a file of PyTorch 1.6 or later ({error})") from None
    index = next((x for x in entries.namelist() if x.endswith("/data.pkl")), None)
    if index is None:
        raise ValueError("its weights are not a file of PyTorch: it has no data.pkl")
    folder = index.removesuffix("data.pkl")
    big_endian = False
    if f"{folder}byteorder" in entries.namelist():
        big_endian = _entry(entries, f"{folder}byteorder") == b"big"
    known: dict[str, Any] = {f"torch {name}": _storage_kind(name) for name in _TYPES}
    known |= {
        "collections OrderedDict": _table,
        "torch._utils _rebuild_tensor_v2": _tensor,
        "torch._utils _rebuild_parameter": _parameter,
        "torch Size": tuple,
    }
    data = plain_data(_entry(entries, index), known=known, stored=_stored)
    return TorchFile(data, entries, folder, big_endian)


def _entry(entries: zipfile.ZipFile, name: str) -> bytes:
    try:
        if entries.getinfo(name).file_size > LARGEST:
            raise ValueError(f"{name} in it is too large")
        return entries.read(name)
    except (
        KeyError,
        zipfile.BadZipFile,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as e:
        raise ValueError(f"{name} in it cannot be read ({e})") from None


def _storage_kind(name: str):
    def kind() -> np.dtype:
        return _TYPES[name]

    return kind


def _stored(reference: Any) -> Storage:
    if not (isinstance(reference, tuple) and len(reference) >= 5 and callable(reference[1])):
        raise ValueError("one of its entries stands for something other than a tensor's numbers")
    dtype = reference[1]()
    if not isinstance(dtype, np.dtype) or type(reference[4]) is not int:
        raise ValueError("one of its entries stands for something other than a tensor's numbers")
    return Storage(str(reference[2]), dtype, reference[4])


def _table(*pairs: Any) -> dict:
    return dict(*pairs)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise ValueError("it has a tensor without numbers")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor
