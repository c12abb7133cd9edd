"""The roles of a table's columns, from a small TOML file beside the log, flags, or a mapping.

Reading a map runs no code, so a map may come with the data.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

from moore.data.checks import shown
from moore.errors import InputError

MAP_FILE = "columns.toml"  # beside a folder's files
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_LARGEST = 10**9
_NAMES = ("obs", "action", "next_obs", "missing")  # one or several
_TEXTS = ("reward", "episode", "time", "terminal", "timeout", "env_id", "time_format", "filter_key")
_CHOICES = {
    "reward_of": ("row", "next"),
    "terminal_of": ("row", "next"),
    "files": ("episodes", "parts"),
    "decimal": (".", ","),
    "time_unit": tuple(SECONDS),
    "along": ("rows", "columns"),
}


@dataclass(frozen=True)
class ColumnMap:
    """The roles of columns, where row t holds an observation and its action; see docs/logs.md.

    Attributes:
        obs: columns of the observation, in this order.
        action: columns of the action.
        next_obs: columns of the true successor; if empty, it is the next row of the same episode.
        reward: column of the reward.
        episode: column whose value is the same in all rows of an episode, and in no others.
        continues: whether the process goes on from one episode to the next, so that the last row of
            an episode has its successor in the first row of the next one, if the time says so.
        time: column of the time, which must increase inside an episode.
        terminal: column of flags that are set where the system itself ended the episode.
        timeout: column of flags that are set where the episode was cut.
        reward_of: whether a row holds the reward of its own action, or the next row does.
        terminal_of: the same choice for both flags; None for that of `reward_of`.
        env_id: Gymnasium id of the system.
        units: units of columns, by name.
        episode_rows: cut a continuous log into episodes of this many rows.
        window: cut a continuous log into episodes of this many seconds ("1 day" in a file).
        gap_tolerance: an interval that differs from the usual one by more than this share of it
            ends the episode.
        files: whether each file is an episode, or a part of one log.
        delimiter: delimiter of a CSV file; None to find it in the header.
        decimal: decimal sign of a CSV file; None to find it in the first rows.
        missing: texts that stand for a missing value, in addition to the usual ones.
        time_format: format of times that are not ISO 8601, such as "%d.%m.%Y %H:%M:%S".
        time_unit: unit of times that are numbers.
        skip_lines: number of lines of a CSV file before its header.
        along: whether time runs along the rows or the columns of MATLAB's matrices.
        filter_key: a list of demonstrations in robomimic's file, the only ones to be read; None for
            all of them.
    """

    obs: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    next_obs: tuple[str, ...] = ()
    reward: str | None = None
    episode: str | None = None
    continues: bool = False
    time: str | None = None
    terminal: str | None = None
    timeout: str | None = None
    reward_of: str = "row"
    terminal_of: str | None = None
    env_id: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    episode_rows: int | None = None
    window: float | None = None  # seconds
    gap_tolerance: float = 0.5
    files: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    missing: tuple[str, ...] = ()
    time_format: str | None = None
    time_unit: str = "s"
    skip_lines: int = 0
    along: str = "rows"
    filter_key: str | None = None

    @property
    def flags_of(self) -> str:
        return self.terminal_of or self.reward_of

    @property
    def content(self) -> dict:
        """The fields that differ from their defaults, JSON-able."""
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        default = vars(ColumnMap())
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in given.items()
            if value != default[key]
        }

    @property
    def text(self) -> str:
        return json.dumps(self.content, sort_keys=True)


# A map, the path of its file, or its keys.
Columns = str | Path | Mapping | ColumnMap


def find_map(source: str) -> Path | None:
    """The map beside a log: `log.toml` for `log.csv`, else `columns.toml` in the same folder."""
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        places = [path / MAP_FILE]
    else:
        places = [path.parent / MAP_FILE]
        if not set("*?[") & set(path.name):
            places.insert(0, path.with_suffix(".toml"))
    return next((place for place in places if os.path.isfile(place)), None)


def read_map(path: str | Path) -> dict:
    """The keys of a map file; InputError unless it is TOML."""
    place = Path(os.path.expanduser(path))
    try:
        return tomllib.loads(place.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a column map in TOML") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cannot be read as a column map ({shown(error)}); expected TOML such as "
            'obs = ["T1", "T2"]'
        ) from error


def make_map(source: str, given: Columns | None, flags: Mapping | None = None) -> ColumnMap:
    """The map of a log.

    Args:
        source: the log, which may have a map beside it.
        given: a map or its file; None for the one beside the log, if there is one.
        flags: keys that replace those of the map.

    Raises:
        InputError: the file does not exist, a key is unknown, or a value has the wrong type.
    """
    if isinstance(given, ColumnMap):
        return given
    name = "the column map"
    if given is None:
        place = find_map(source)
        given = {} if place is None else read_map(place)
        name = name if place is None else str(place)
    elif not isinstance(given, Mapping):
        given, name = read_map(given), str(given)
    return from_mapping({**given, **(flags or {})}, name)


def from_mapping(values: Mapping, name: str) -> ColumnMap:
    """A checked map; InputErrors begin with `name`."""
    if "reward_function" in values:
        raise InputError(
            f"{name}: reward_function is refused: a file that comes with data must not name code "
            "to run; name the function yourself, with --reward module:function"
        )
    known = [f.name for f in fields(ColumnMap)]
    strange = sorted(set(values) - set(known))
    if strange:
        raise InputError(
            f"{name}: nothing is known of {shown(', '.join(map(str, strange)))}; the known keys "
            f"are {', '.join(known)}"
        )
    checked: dict[str, Any] = {key: _checked(key, value, name) for key, value in values.items()}
    _check_roles(checked, name)
    return ColumnMap(**checked)


def _checked(key: str, value: object, name: str) -> object:
    if key in _NAMES:
        words = [value] if isinstance(value, str) else value
        if key == "missing" and isinstance(words, list | tuple):
            words = [str(word) if type(word) in (int, float) else word for word in words]
        if not isinstance(words, list | tuple) or not all(_is_name(word) for word in words):
            _refuse(name, key, value, "a list of texts")
        return tuple(words)
    if key in _TEXTS:
        return value if _is_name(value) else _refuse(name, key, value, "a text")
    if key in _CHOICES:
        if not isinstance(value, str) or value not in _CHOICES[key]:
            _refuse(name, key, value, "one of " + ", ".join(map(repr, _CHOICES[key])))
        return value
    if key == "delimiter":
        if isinstance(value, str) and _is_sign(value):
            return value
        _refuse(name, key, value, "one sign, such as ';'")
    if key == "units":
        if isinstance(value, Mapping) and all(
            isinstance(v, str) for pair in value.items() for v in pair
        ):
            return dict(value)
        _refuse(name, key, value, "a table: units.T1 = 'bar'")
    if key == "continues":
        return value if type(value) is bool else _refuse(name, key, value, "true or false")
    if key == "window":
        return _seconds(value, name)
    if key == "gap_tolerance":
        if (type(value) is int or type(value) is float) and 0 < value <= _LARGEST:
            return float(value)
        _refuse(name, key, value, "a number above 0, to 1e9")
    least = 2 if key == "episode_rows" else 0
    fits = type(value) is int and least <= value <= _LARGEST
    return value if fits else _refuse(name, key, value, f"a whole number from {least} to 1e9")


def _is_sign(value: str) -> bool:
    return len(value) == 1 and value.isascii() and value not in "\r\n\"'" and not value.isalnum()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _refuse(name: str, key: str, value: object, expected: str) -> NoReturn:
    raise InputError(f"{name}: {key} is {shown(repr(value))}; expected {expected}")


def _seconds(value: object, name: str) -> float:
    """A duration: a number of seconds, or a number and its unit."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", str(value)) if value is not True else None
    number, unit = match.groups() if match else ("", "")
    unit = {"hour": "h", "hours": "h", "days": "day", "d": "day", "m": "min", "minute": "min",
            "minutes": "min", "second": "s", "seconds": "s", "": "s"}.get(unit, unit)  # fmt: skip
    try:
        seconds = float(number) * SECONDS[unit]
    except (ValueError, KeyError):
        seconds = 0.0
    fits = 1e-9 <= seconds <= 1e12
    return seconds if fits else _refuse(name, "window", value, 'a time such as "1 day"')


def _check_roles(values: dict, name: str) -> None:
    for key in ("window", "continues"):
        if values.get(key) and "time" not in values:
            raise InputError(f"{name}: {key} is given without time; name the column of the time")
    if "window" in values and "episode_rows" in values:
        raise InputError(f"{name}: window and episode_rows are given; expected one of the two")
    if "next_obs" in values and len(values["next_obs"]) != len(values.get("obs", ())):
        raise InputError(
            f"{name}: next_obs names {len(values['next_obs'])} columns, obs "
            f"{len(values.get('obs', ()))}; expected as many, in the same order"
        )
    for key in ("obs", "action", "next_obs"):
        twice = sorted({c for c in values.get(key, ()) if values[key].count(c) > 1})
        if twice:
            raise InputError(f"{name}: {key} names {shown(', '.join(twice))} twice; leave one out")
    both = sorted(set(values.get("obs", ())) & set(values.get("next_obs", ())))
    if both:
        raise InputError(
            f"{name}: {shown(', '.join(both))} is in obs and in next_obs; expected the successor's "
            "own columns; leave next_obs out if it is the next row"
        )
    _check_apart(values, name)


# The roles whose column has no other one, and why others exclude each other. What a row's action is
# cannot be known before it, nor be its reward. Times and rewards may be observed as well; where
# they come too early, an inspection tells it.
_ALONE = ("episode", "terminal", "timeout")
_APART = (
    ("obs", "action", "what is observed in a row must be known before its action; observe the "
     "action before, in a column of its own, or leave one of the two out"),
    ("action", "reward", "a column for each; a reward that depends on the action alone is made by "
     "--reward module:function"),
    ("action", "time", "a column for each; leave one of the two out"),
    ("reward", "time", "a column for each; leave one of the two out"),
)  # fmt: skip


def _check_apart(values: Mapping, name: str) -> None:
    """Refuses one column in two roles, such as one flag for terminals and for time-outs."""
    roles = {key: [values[key]] for key in (*_ALONE, "reward", "time") if key in values}
    roles |= {key: list(values.get(key, ())) for key in ("obs", "action", "next_obs")}
    each = "a column for each; leave one of the two out"
    pairs = [(one, other, each) for one in _ALONE for other in roles if other != one]
    for one, other, expected in (*pairs, *_APART):
        shared = [column for column in roles.get(one, ()) if column in roles.get(other, ())]
        if shared:
            raise InputError(
                f"{name}: {shown(shared[0])} is given as {one} and as {other}; expected {expected}"
            )
