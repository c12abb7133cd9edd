"""The two forms of a message: JSON, and bare numbers.

Bare numbers are float32 with the lowest byte first (IEEE 754), one row after the other; what is not
a number stands in the query of the address. Both forms become the same entries. Nothing in a
message is looked up, opened or run.
"""

import json
import math
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from jaxtyping import Float

from moore.formats.live_steps import UNMEASURED, Unit
from moore.serving.refusal import Refusal

JSON, F32, U32 = "application/json", "application/vnd.moore.f32", "application/vnd.moore.u32"
_LARGEST = 2**53  # up to which JSON's numbers are whole in every language
_LONGEST = 200  # characters of a text
_MOST_SIGNALS = 1000


def invalid(sentence: str) -> Refusal:
    """A message that can be read and makes no sense."""
    return Refusal(422, "invalid", sentence)


def malformed(sentence: str) -> Refusal:
    """A message that cannot be read."""
    return Refusal(400, "malformed", sentence)


def entries_of_json(body: bytes) -> dict[str, Any]:
    """The entries of a message in JSON; an empty body has none.

    Raises:
        Refusal: it is no object, no JSON as the standard has it, or has a name twice.
    """
    try:
        found = json.loads(
            body or b"{}", parse_constant=_no_constant, object_pairs_hook=_without_repeats
        )
    except (ValueError, RecursionError):
        raise malformed("The body is no JSON (numbers that are not finite are null).") from None
    if not isinstance(found, dict):
        raise malformed("The body is JSON, but no object; give names and values.")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise malformed(f"The body has {twice!r:.50} twice; give every name once.")
    return found


def floats_of(body: bytes) -> Float[np.ndarray, " numbers"]:
    """The numbers of a binary body.

    Raises:
        Refusal: its length is no multiple of 4.
    """
    if len(body) % 4:
        raise malformed(f"The body has {len(body)} bytes; expected 4 for each number.")
    values = np.frombuffer(body, "<f4").astype(np.float32)
    values[np.isnan(values)] = np.nan  # the others may raise signals later
    return values


def query_of(text: bytes, known: tuple[str, ...]) -> dict[str, list[str]]:
    """The values of a query, by name.

    Raises:
        Refusal: it is not readable, or has another name.
    """
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise malformed("The query of the address cannot be read.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise invalid(f"The query has {name!r:.50}; the known names are: {listed}.")
        found.setdefault(name, []).append(value)
    return found


def units_in_query(values: list[str]) -> Unit | list[Unit] | None:
    """Ids of units in a query: whole numbers are numbers."""
    units = [int(x) if x.isascii() and x.isdigit() and len(x) < 16 else x for x in values]
    return units[0] if len(units) == 1 else units or None


def flag_in_query(name: str, values: list[str]) -> bool:
    """A flag in a query, 0 or 1.

    Raises:
        Refusal: it is something else.
    """
    if values not in (["0"], ["1"]):
        raise invalid(f"The query has {name}={','.join(values)!r:.50}; expected 0 or 1.")
    return values == ["1"]


def array(name: str, value: Any) -> np.ndarray | None:
    """Numbers, or lists of them; null is a number that is not finite, and alone it is None.

    Raises:
        Refusal: there is something else, or lists have different lengths.
    """
    if value is None or (isinstance(value, np.ndarray) and value.dtype == np.float32):
        return value
    try:
        found = np.array(value)
        plain, has_flags = found.dtype.kind in "iuf", _has_flags(value)
        if not plain and all(x is None or type(x) in (int, float) for x in found.ravel().tolist()):
            found, plain = found.astype(np.float64), True
    except (TypeError, ValueError, OverflowError):
        plain = has_flags = False
    if not plain or has_flags:
        raise invalid(f"{name} is no array of numbers; give lists of one length, null for a gap.")
    return found


def _has_flags(value: Any) -> bool:
    """Whether a list holds true or false, which NumPy takes for 1 and 0 among numbers."""
    if isinstance(value, list):
        return any(map(_has_flags, value))
    return isinstance(value, bool)


def rewards(name: str, value: Any) -> Any:
    """A reward or several: null comes later, "not measured" never does.

    Raises:
        Refusal: something else.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, list):
        return [_reward(name, one) for one in value]
    return _reward(name, value)


def _reward(name: str, value: Any) -> float | None:
    if value == UNMEASURED:
        return math.nan
    if value is None or type(value) in (int, float):
        try:
            return None if value is None else float(value)
        except OverflowError:
            return math.inf
    raise invalid(f'{name} is {value!r:.50}; expected a number, null or "{UNMEASURED}".')


def flags(name: str, value: Any) -> bool | list[bool] | np.ndarray | None:
    """true or false, or a list of them.

    Raises:
        Refusal: something else.
    """
    several = value if isinstance(value, list) else [value]
    if isinstance(value, np.ndarray) or all(type(one) is bool for one in several):
        return value
    raise invalid(f"{name} is {value!r:.50}; expected true or false, or a list of them.")


def units(name: str, value: Any) -> Unit | list[Unit] | None:
    """The id of a unit, or a list of them; null is the default.

    Raises:
        Refusal: an id is neither a whole number nor a short text.
    """
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        whole = type(one) is int and abs(one) <= _LARGEST
        if not whole and not (isinstance(one, str) and 0 < len(one) <= 64 and one.isprintable()):
            raise invalid(f"{name} is {one!r:.50}; expected a whole number, or 1 to 64 signs.")
    return value


def count(name: str, value: Any) -> int | None:
    """A whole number of at least 0, or null.

    Raises:
        Refusal: something else.
    """
    if value is None or (type(value) is int and 0 <= value <= _LARGEST):
        return value
    raise invalid(f"{name} is {value!r:.50}; expected a whole number of at least 0.")


def seconds(name: str, value: Any) -> int | float | None:
    """A time, or null.

    Raises:
        Refusal: something else.
    """
    if value is None or (type(value) in (int, float) and 0 <= value <= _LARGEST):
        return value
    raise invalid(f"{name} is {value!r:.50}; expected a number of at least 0.")


def signals(name: str, value: Any) -> Any:
    """Readings of signals by their names, or a list of such tables, one for each unit.

    Raises:
        Refusal: something else.
    """
    if isinstance(value, list):
        return [signals(name, one) for one in value]
    if not isinstance(value, dict) or len(value) > _MOST_SIGNALS:
        raise invalid(f"{name} is {value!r:.50}; expected an object with a number for each name.")
    return {key: _reading(key, one) for key, one in value.items()}


def _reading(name: str, value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise invalid(f"The signal {name!r:.50} is {value!r:.50}; expected a number or null.")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def text(name: str, value: Any) -> str | None:
    """A short text, or null.

    Raises:
        Refusal: something else.
    """
    if value is None or (isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()):
        return value
    raise invalid(f"{name} is {value!r:.50}; expected a text of at most {_LONGEST} signs.")
