"""The other content of an HDF5 file, besides the known rows, which is kept unchanged.

The key of a dataset is its path, that of an attribute PATH@NAME, or @NAME for one of the file.
"""

from collections.abc import Collection

import h5py
import numpy as np

from moore.errors import InputError
from moore.formats.hdf5_checks import check_stored


def read_tree(group: h5py.Group, *, without: Collection[str] = ()) -> dict[str, object]:
    """Every dataset below the group except `without`, and every attribute."""
    tree = {f"@{key}": _attribute(group.attrs, key) for key in group.attrs}

    def visit(path: str, item: h5py.HLObject) -> None:
        if isinstance(item, h5py.Dataset) and path not in without:
            check_stored(item)
            tree[path] = _value(item[()], item.dtype)
        tree.update({f"{path}@{key}": _attribute(item.attrs, key) for key in item.attrs})

    group.visititems(visit)
    return tree


def write_tree(group: h5py.Group, tree: dict[str, object]) -> None:
    """The inverse of `read_tree`; attributes of a missing object get a new group."""
    for key in sorted(tree, key=lambda key: ("@" in key, key)):
        path, at, name = key.rpartition("@")
        value = tree[key]
        try:
            if not at:
                group.create_dataset(key, data=value, track_times=False)
                continue
            item = group if not path else group[path] if path in group else group.create_group(path)
            item.attrs.create(name, value, dtype=getattr(value, "dtype", None))
        except (TypeError, ValueError, OSError, RuntimeError) as error:
            raise InputError(
                f"{key} cannot be written as HDF5 ({error}); expected arrays of numbers or text; "
                "remove it from the source"
            ) from error


def scalar(value: object) -> str | bool | int | float | None:
    """A number or a text as plain Python; None for anything else."""
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value if isinstance(value, str | bool | int | float) else None


def is_plain(value: object) -> bool:
    """Whether `scalar` loses nothing of an attribute, as if h5py had made it from plain Python."""
    if not isinstance(value, np.ndarray) or value.ndim:
        return False
    text = h5py.check_string_dtype(value.dtype)
    if text is not None:
        return text.length is None and text.encoding == "utf-8"
    return value.dtype in (np.dtype(np.int64), np.dtype(np.float64), np.dtype(bool))


def _attribute(attributes: h5py.AttributeManager, key: str) -> object:
    return _value(attributes[key], attributes.get_id(key).dtype)


def _value(value: object, dtype: np.dtype) -> object:
    return value if isinstance(value, h5py.Empty) else np.array(value, dtype=dtype)
