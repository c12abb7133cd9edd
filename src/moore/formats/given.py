"""A data set that comes as an object, whose arrays its user may have made or replaced."""

from dataclasses import replace
from typing import Any

import numpy as np

from moore.data.checks import as_flags
from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.numbers import as_measured

_NUMBERS, _FLAGS = (
    ("obs", "action", "reward", "next_obs"),
    ("terminated", "truncated", "successor_known"),
)
_OFF = 1e-3  # of the largest return


def as_given(dataset: Dataset) -> Dataset:
    """The data set with arrays of the types that `Dataset` names, the same one if they are.

    Values that are masked or missing become NaN, which a check of the data set refuses.

    Raises:
        InputError: an array holds no numbers or flags, or returns are not those of the rewards.
    """
    if dataset.whole is not None:  # read from the disk, and not changed
        return dataset
    changed: dict[str, Any] = {}
    for key in (*_NUMBERS, *_FLAGS):
        value, kind = getattr(dataset, key), bool if key in _FLAGS else np.float32
        if type(value) is not np.ndarray or value.dtype != kind:
            changed[key] = _converted(f"{dataset.name}: {key}", dataset.name, key, value)
    dataset = replace(dataset, **changed) if changed else dataset
    _check_returns(dataset)
    return dataset


def _converted(what: str, name: str, key: str, value: object) -> np.ndarray:
    try:
        if key in _FLAGS:
            return as_flags(name, key, as_measured(value, what, np.float64))
        return as_measured(value, what)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(
            f"{what} is a {type(value).__name__} that is no array of numbers; give a NumPy array"
        ) from None


def _check_returns(dataset: Dataset) -> None:
    """Raises InputError if all rows of the episodes are there, and returns are of other rewards."""
    last = np.flatnonzero(dataset.terminated | dataset.truncated)
    first = np.append(0, last[:-1] + 1)
    returns, lengths = np.asarray(dataset.episode_returns), np.asarray(dataset.episode_lengths)
    same_rows = len(last) and dataset.reward.shape == dataset.terminated.shape
    if not same_rows or not np.array_equal(last - first + 1, lengths):
        return
    sums = np.add.reduceat(dataset.reward[: last[-1] + 1].astype(np.float64), first)
    if returns.shape != sums.shape or not np.isfinite(sums).all():
        return  # refused elsewhere
    off = np.abs(returns - sums) > _OFF * max(np.abs(sums).max(), 1e-6)
    if off.any():
        episode = int(off.argmax())
        raise InputError(
            f"{dataset.name}: episode_returns has {returns[episode]:g} for episode {episode} "
            f"(counted from 0), but its rewards add up to {sums[episode]:g}; where rewards are "
            "replaced, replace episode_returns, too (moore.data.dataset.from_log makes both)"
        )
