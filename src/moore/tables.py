"""Conversion of nested settings between frozen dataclasses and tables of a TOML or JSON file."""

import dataclasses
import functools
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moore.errors import InputError, unknown

_hints = functools.cache(typing.get_type_hints)
# What stands for None in a file.
NONE = "none"


@dataclass(frozen=True)
class Section:
    """Settings that a part of the package brings along, as a section of a run's configuration.

    Attributes:
        name: name of the section.
        settings: makes that section at its defaults.
        about: help for people, a sentence.
    """

    name: str
    settings: Callable[[], Any]
    about: str


def merge(base, values: dict, prefix: str = ""):
    """The dataclass `base` with its fields replaced by the values of a table.

    Raises:
        InputError: a name is unknown (the known ones are listed) or a value has the wrong type.
    """
    section: type = type(base)
    hints = _hints(section)
    changes = {}
    for name, value in values.items():
        if name not in hints:
            raise _unknown_setting(name, base, prefix)
        old = getattr(base, name)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, dict):
                raise InputError(f"'{prefix}{name}' is a table of settings, not {value!r}.")
            changes[name] = merge(old, value, f"{prefix}{name}.")
        else:
            changes[name] = _convert(value, hints[name], prefix + name)
    return dataclasses.replace(base, **changes)


def _unknown_setting(name: str, base, prefix: str) -> InputError:
    """The error of a setting that `base` does not have; its sections may have one of that name."""
    kind: type = type(base)
    parts = {part: getattr(base, part) for part in _hints(kind)}
    inside = [
        f"{prefix}{part}.{name}"
        for part, section in parts.items()
        if dataclasses.is_dataclass(section) and hasattr(section, name)
    ]
    if inside:
        return InputError(f"unknown setting '{prefix}{name}'; it is one of {', '.join(inside)}.")
    return unknown("setting", prefix + name, parts)


def known_part(section: type, values: dict, prefix: str = "") -> tuple[dict, list[str]]:
    """The part of a table whose names the dataclass has, and the names that it does not have."""
    hints, known, unknown = _hints(section), {}, []
    for name, value in values.items():
        if name not in hints:
            unknown.append(f"{prefix}{name}")
        elif dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            known[name], more = known_part(hints[name], value, f"{prefix}{name}.")
            unknown += more
        else:
            known[name] = value
    return known, unknown


def _convert(value, hint, name: str):
    """Converts a TOML value to the type of its field; a float may be an integer, a tuple a list.

    TOML has no null, so the text `none` stands for None.
    """
    if value == NONE and type(None) in typing.get_args(hint):
        return None
    if typing.get_origin(hint) is typing.Literal:
        if value in typing.get_args(hint):
            return value
        known = ", ".join(typing.get_args(hint))
        raise InputError(f"'{name}' is {value!r}; the known values are {known}.")
    kinds = typing.get_args(hint) if typing.get_origin(hint) is not tuple else (hint,)
    for kind in kinds or (hint,):
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            entry = typing.get_args(kind)[0]
            return tuple(_convert(item, entry, name) for item in value)
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return _as_float(value, name)
        if isinstance(kind, type) and type(value) is kind:
            return value
    wanted = getattr(hint, "__name__", str(hint))
    raise InputError(f"'{name}' is {value!r}; expected {wanted}.")


def _as_float(value: int | float, name: str) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        raise InputError(f"'{name}' is too large a number.") from None


def plain(values: dict, default: dict) -> dict:
    """A table without None: it is left out if it is the default, else it becomes `none`."""
    return {
        name: plain(value, default[name]) if isinstance(value, dict) else _or_none(value)
        for name, value in values.items()
        if value is not None or default[name] is not None
    }


def _or_none(value):
    return NONE if value is None else value


def flat(settings: dict, prefix: str = "") -> dict:
    """Nested settings as one table: {"online.epochs": 100, ...}."""
    table: dict = {}
    for name, value in settings.items():
        nested = isinstance(value, dict)
        table |= flat(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return table
