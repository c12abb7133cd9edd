"""Checks what a control system hands over: shapes first, then which readings are bad.

A wrong shape or type is an error of the program and is refused. A number that is not finite is a
bad reading of a sensor, which is no error (the rules are those of `moore.envs.adapter`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.data.column_names import Columns, check_labels
from moore.errors import InputError, TurnError
from moore.formats.live_steps import Unit, plain
from moore.numbers import as_measured

# Ids of units as a user may give them.
Ids = Unit | Sequence[Unit] | np.ndarray | np.generic | None


def rows_of(
    what: str, values: Any, width: int, unit: Ids, columns: Columns | None = None
) -> tuple[Float[np.ndarray, "rows width"], list[Unit], bool]:
    """Numbers for one unit or several, as float32 rows.

    Args:
        what: name of the values in errors.
        values: (width,) for one unit, or (units, width).
        width: number of entries of a row.
        unit: id of the unit or of all of them; None: 0, or 0, 1, 2, ... for several.
        columns: names of the log's columns, in whose order the entries must be if they have names.

    Returns:
        The rows, the ids, and whether it was a single unit.

    Raises:
        InputError: another shape or order, or no numbers.
    """
    check_labels(what, values, columns or {})
    try:
        found = as_measured(values, what)
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(
            f"{what} is {type(values).__name__}, which is no array of numbers; expected "
            f"({width},), or (units, {width}) for several units."
        ) from None
    if found.ndim not in (1, 2) or found.shape[-1] != width or not len(found):
        raise InputError(
            f"{what} has shape {found.shape}; expected ({width},), or (units, {width}) for several "
            "units."
        )
    single = found.ndim == 1
    return np.atleast_2d(found), units_of(unit, len(np.atleast_2d(found)), single=single), single


def units_of(unit: Ids, count: int, *, single: bool) -> list[Unit]:
    """The ids of so many units.

    Raises:
        InputError: another number of ids, one twice, or something else than numbers and texts.
    """
    if isinstance(unit, np.ndarray | np.generic):
        unit = unit.tolist()
    several = isinstance(unit, Sequence) and not isinstance(unit, str) and not single
    if unit is None:
        ids: list = list(range(count))
    else:
        ids = [_plain(one) for one in unit] if several else [unit]  # type: ignore[union-attr]
    if any(type(one) not in (int, str) for one in ids):
        raise InputError(f"unit is {unit!r}; expected a whole number or a text for each unit.")
    if len(ids) != count or len(set(ids)) != count:
        raise InputError(f"unit is {unit!r}; expected {count} different ids, one for each row.")
    return ids


def _plain(one: Any) -> Any:
    """The id of a unit without the type that NumPy gives to its numbers and texts."""
    return one.item() if isinstance(one, np.generic) else one


def step_of(value: Any) -> int:
    """The number of a step.

    Raises:
        TurnError: it is no whole number.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TurnError(f"step is {value!r}; expected the number that observe() returned.")
    return int(value)


def each(what: str, value: Any, count: int) -> list:
    """One value for each unit, from a single value or from one for each.

    Raises:
        InputError: another number of values.
    """
    if np.ndim(value) == 0:
        return [value] * count
    if np.shape(value) != (count,):
        raise InputError(f"{what} has shape {np.shape(value)}; expected one value, or ({count},).")
    return list(value)


def reward_of(value: Any) -> float | None:
    """A reward; None is kept, for it may come later.

    Raises:
        InputError: it is no number.
    """
    if value is None:
        return None
    if isinstance(value, bool | np.bool_ | str) or np.ndim(value):
        raise InputError(f"reward is {value!r}; expected one number, or None if it comes later.")
    try:
        return float(as_measured(value, "reward", np.float64))
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"reward is {value!r}; expected one number.") from None


def flag_of(what: str, value: Any) -> bool:
    """A flag.

    Raises:
        InputError: it is neither True nor False.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError(f"{what} is {value!r}; expected True or False.")


def signals_of(signals: Any, names: list[str]) -> dict[str, float | None]:
    """The readings of these signals; None is one that is not finite.

    Raises:
        InputError: one is missing, or is no number.
    """
    if signals is None:
        raise InputError(f"the signals are not told; {_expected(names)}")
    if not isinstance(signals, Mapping):
        raise InputError(f"signals is {signals!r:.60}; {_expected(names)}")
    if missing := [name for name in names if name not in signals]:
        raise InputError(f"signal {missing[0]} is not told; {_expected(names)}")
    values = [as_measured(signals[name], f"signal {name}", np.float64) for name in names]
    for name, value in zip(names, values, strict=True):
        if value.ndim:
            raise InputError(f"signal {name} is {signals[name]!r:.60}; expected one number.")
    return dict(zip(names, plain(np.asarray(values)), strict=True))


def _expected(names: list[str]) -> str:
    return f"the guard watches {', '.join(names)}: observe(..., signals={{name: value}})."
