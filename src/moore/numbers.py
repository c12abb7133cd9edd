"""Numbers from files and from users, which may be missing, null, not finite or not real."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from moore.errors import InputError


def is_finite(value: object) -> bool:
    """Whether a value is a number that can be drawn or averaged."""
    return isinstance(value, Real) and math.isfinite(value)


def finite(values: object) -> list[int | float]:
    """The finite numbers among the values; an empty result for None and for anything but a list."""
    return [value for value in values if is_finite(value)] if isinstance(values, Iterable) else []


def without_nulls(value):
    """Removes null and numbers that are not finite from tables and lists, also from nested ones."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if _is_there(item)}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if _is_there(item)]
    return value


def with_nulls(value):
    """Replaces numbers that are not finite by null, which JSON has, also in nested tables."""
    if isinstance(value, dict):
        return {name: with_nulls(item) for name, item in value.items()}
    if isinstance(value, list):
        return [with_nulls(item) for item in value]
    return value if _is_there(value) else None


def _is_there(value: object) -> bool:
    return value is not None and (not isinstance(value, float) or math.isfinite(value))


def fixed(value: object, digits: int = 1) -> str:
    """A number with the given number of decimals; "unknown" for anything else."""
    return f"{value:.{digits}f}" if is_finite(value) else "unknown"


def refuse_complex(values: Any, what: str) -> None:
    """Raises InputError for complex numbers, whose imaginary parts float32 would drop."""
    try:
        is_complex = np.iscomplexobj(np.asarray(values))
    except (TypeError, ValueError):  # no array at all: the caller says so
        return
    if is_complex:
        raise InputError(f"{what} holds complex numbers; expected real ones.")
