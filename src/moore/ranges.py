"""Which numbers a setting may have: types that stand beside the field, and the check of them.

The bounds are notes in `typing.Annotated`, so type checkers, `--help` and files see plain numbers:

    learning_rate: Positive[float] = 3e-4
    hidden: tuple[Positive[int], ...] = (256, 256)
    threshold: AnySign[float] | None = None
"""

import dataclasses
import functools
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from moore.errors import InputError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class AllowedNumbers:
    """The numbers that a setting may have.

    Attributes:
        words: what the number "must", as a message says it.
        holds: whether a number is one of them.
    """

    words: str
    holds: Callable[[int | float], bool]


@dataclass(frozen=True)
class LargestSize:
    """The largest size that a number may have, with either sign, instead of that of its type.

    Attributes:
        most: that size; infinite where the number may be infinite.
        words: what the number "must", as a message says it.
    """

    most: int | float
    words: str = ""


POSITIVE = AllowedNumbers("be positive", lambda number: number > 0)
NOT_NEGATIVE = AllowedNumbers("not be negative", lambda number: number >= 0)
FROM_0_TO_1 = AllowedNumbers("lie between 0 and 1", lambda number: 0 <= number <= 1)
BELOW_1 = AllowedNumbers("lie below 1", lambda number: number < 1)
ANY = AllowedNumbers("be a number", lambda number: True)

Positive = Annotated[Number, POSITIVE]
PositiveOrInfinite = Annotated[float, POSITIVE, LargestSize(math.inf)]
NonNegative = Annotated[Number, NOT_NEGATIVE]
Fraction = Annotated[float, FROM_0_TO_1]
FractionBelowOne = Annotated[float, FROM_0_TO_1, BELOW_1]
AnySign = Annotated[Number, ANY]
Seed = Annotated[int, NOT_NEGATIVE, LargestSize(2**63 - 1, "lie below 2**63")]

# Whole numbers count rows and steps on the device.
_LIMITS = {
    int: LargestSize(2**31 - 1, f"be at most {2**31 - 1:g}"),
    float: LargestSize(3.0e38, f"be at most {3.0e38:g}"),
}
_MOST_ENTRIES = 100


def check_numbers(settings: Any, prefix: str = "") -> None:
    """Raises InputError for the first number of a dataclass that its field's type does not allow.

    Args:
        settings: a dataclass; fields that are dataclasses are checked too.
        prefix: stands before the names of the fields in the message, such as `online.`.
    """
    for name, notes in _notes(type(settings)).items():  # type: ignore[arg-type]
        value, name = getattr(settings, name), prefix + name
        if dataclasses.is_dataclass(value):
            _check_section(_Same(value), f"{name}.")
            continue
        numbers = value if isinstance(value, tuple) else (value,)
        if len(numbers) > _MOST_ENTRIES:
            raise InputError(
                f"{name} has {len(numbers)} entries; at most {_MOST_ENTRIES} are possible."
            )
        for number in numbers:
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check(number, notes, name)


class _Same:
    """An object as a key, which is equal to nothing but the same object."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


@functools.lru_cache(maxsize=1024)
def _check_section(section: _Same, prefix: str) -> None:
    """`check_numbers`, once for each object: configurations of a grid share most sections."""
    check_numbers(section.value, prefix)


def _check(number: int | float, notes: tuple, name: str) -> None:
    """Raises InputError for a number that is not finite, too large or outside a range."""
    usual = _LIMITS[int if isinstance(number, int) else float]
    limit = next((note for note in notes if isinstance(note, LargestSize)), usual)
    if isinstance(number, float) and math.isfinite(limit.most) and not math.isfinite(number):
        raise InputError(f"{name} is {number}; it must be a finite number.")
    if abs(number) > limit.most:
        raise InputError(f"{name} is too large a number; it must {limit.words}.")
    for note in notes:
        if isinstance(note, AllowedNumbers) and not note.holds(number):
            raise InputError(f"{name} is {number}; it must {note.words}.")


@functools.cache
def _notes(section: type) -> dict[str, tuple]:
    """The notes beside each field of a dataclass, by its name."""
    hints = typing.get_type_hints(section, include_extras=True)
    return {item.name: notes_of(hints[item.name]) for item in dataclasses.fields(section)}


def notes_of(hint: object) -> tuple:
    """The notes in a type, also in those of a union or of a tuple's entries."""
    if typing.get_origin(hint) is Annotated:
        return hint.__metadata__  # type: ignore[attr-defined]
    inner = (notes_of(part) for part in typing.get_args(hint))
    return tuple(dict.fromkeys(note for notes in inner for note in notes))
