"""Filter keys of robomimic's files: lists of demonstrations below `mask/`, such as train and valid.

A key that is not asked for leaves out nothing, so that what was held out for a judgement would be
learned from. So the keys are told, with what is read.
"""

import h5py
import numpy as np

from moore.data.checks import shown
from moore.errors import InputError

_SHOWN = 8


def filter_keys(file: h5py.File) -> dict[str, list[str]]:
    """The demonstrations that each key names; arrays that hold no names are passed over."""
    masks = file.get("mask")
    if not isinstance(masks, h5py.Group):
        return {}
    arrays = {str(key): item for key, item in masks.items() if isinstance(item, h5py.Dataset)}
    return {key: _names(item) for key, item in arrays.items() if item.dtype.kind in "SO"}


def chosen(demos: list[str], keys: dict[str, list[str]], key: str | None, source: str) -> list[str]:
    """The demonstrations to read, in the order of `demos`.

    Args:
        demos: the demonstrations of the file.
        keys: the result of `filter_keys`.
        key: the user's choice; None: all demonstrations.
        source: the file, for errors.

    Raises:
        InputError: there is no such key, or it names no demonstration of the file, or one that is
            not there.
    """
    if key is None:
        return demos
    if key not in keys:
        raise InputError(
            f"{source}: no filter key {shown(key)}; the file has "
            f"{shown(', '.join(sorted(keys))) or 'none (no lists of demonstrations below mask/)'}"
        )
    missing = sorted(set(keys[key]) - set(demos))
    if missing or not keys[key]:
        what = f"names {shown(', '.join(missing[:_SHOWN]))}, not in the file" if missing else ""
        raise InputError(
            f"{source}: filter key {shown(key)} {what or 'names no demonstration'}; expected names "
            "of groups below data/; write the key anew, or leave it out"
        )
    return [demo for demo in demos if demo in set(keys[key])]


def told_of_keys(demos: list[str], keys: dict[str, list[str]], key: str | None) -> list[str]:
    """Notes on which demonstrations are read, if the file has filter keys.

    Args:
        demos: all demonstrations of the file.
        keys: the result of `filter_keys`.
        key: the user's choice; None: all demonstrations.
    """
    if not keys:
        return []
    there = [f"{name} ({len(keys[name]):,})" for name in sorted(keys)]
    more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
    told = f"filter keys of the file: {shown(', '.join(there[:_SHOWN]))}{more}"
    if key is not None:
        return [f"{told}; only the demonstrations of {shown(key)} are read"]
    return [
        f"{told}; all {len(demos):,} demonstrations are read, those that were held out too; "
        f'filter_key = "{shown(min(keys))}" reads those of one key'
    ]


def _names(item: h5py.Dataset) -> list[str]:
    values = np.asarray(item[()]).reshape(-1).tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]
