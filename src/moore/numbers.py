"""Numbers from files and from users, which may be missing, null, not finite or not real."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeGuard

import numpy as np

from moore.errors import InputError


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that can be drawn or averaged."""
    return isinstance(value, Real) and math.isfinite(value)


def check_numbers(of: str, **given: object) -> None:
    """Raises InputError unless all of these are real numbers; True and False are none.

    Args:
        of: what has these settings, for the error.
        given: the settings by their names; infinite ones and NaN are numbers.
    """
    for name, value in given.items():
        if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
            raise InputError(f"{name} of {of} is {value!r}; expected a number.")


def check_whole(of: str, **given: object) -> None:
    """Raises InputError unless all of these are whole numbers; see `check_numbers`."""
    for name, value in given.items():
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            raise InputError(f"{name} of {of} is {value!r}; expected a whole number.")


def counted(number: int, thing: str) -> str:
    """A number and what it counts, as "1 episode" and "1,200 episodes"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


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


def in_full(value: float | int) -> str:
    """As few digits as give the number back: 0.5 and 1, but also 0.12345678."""
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value))


def as_measured(values: Any, what: str, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """A copy of real numbers; what is masked or None is NaN, what overflows is infinite.

    Args:
        values: numbers of any kind and shape; Decimal and Fraction are taken, too.
        what: what they are, for errors.
        dtype: type of the copy.

    Raises:
        InputError: they are complex, texts or dates, none of which is a measured number.
        TypeError, ValueError: they are no array at all.
    """
    if type(values) is np.ndarray and values.dtype == dtype:  # as nearly all are
        return values.copy()
    masked = np.ma.isMaskedArray(values)
    array = np.asarray(np.ma.getdata(values) if masked else values)
    kind = array.dtype.kind
    if kind in "cSUMm":
        kinds = {"c": "complex numbers", "S": "text", "U": "text", "M": "dates", "m": "durations"}
        raise InputError(f"{what} holds {kinds[kind]}; expected real numbers.")
    if kind == "O":
        array = np.array([_float(x) for x in array.reshape(-1)]).reshape(array.shape)
    with np.errstate(over="ignore"):
        found = np.array(array, dtype)
    if masked:  # the numbers below a mask were not measured
        found[np.ma.getmaskarray(values)] = np.nan
    return found


def _float(value: Any) -> float:
    if value is None or value is np.ma.masked:
        return math.nan
    if isinstance(value, str | bytes):
        raise TypeError("a text is no number")
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if value > 0 else -math.inf
