"""Bounds that stand beside a field, and the check of them."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.ranges import (
    POSITIVE,
    AllowedNumbers,
    AnySign,
    Fraction,
    FractionBelowOne,
    NonNegative,
    Positive,
    PositiveOrInfinite,
    Seed,
    check_numbers,
    notes_of,
)


@dataclass(frozen=True)
class Valve:
    """Settings of each kind."""

    gain: Positive[float] = 1.0
    delay: NonNegative[float] = 0.0
    opening: Fraction = 0.5
    leak: FractionBelowOne = 0.0
    offset: AnySign[float] = 0.0
    limit: PositiveOrInfinite = math.inf
    taps: Annotated[int, POSITIVE, AllowedNumbers("be even", lambda n: n % 2 == 0)] = 2
    seed: Seed = 0
    widths: tuple[Positive[int], ...] = (3, 4)
    spare: NonNegative[float] | None = None
    name: Literal["a", "b"] = "a"
    on: bool = False


@dataclass(frozen=True)
class Plant:
    valve: Valve = field(default_factory=Valve)


def message(**settings) -> str:
    """What the check says of a valve with these settings; empty if nothing."""
    try:
        check_numbers(Valve(**settings))
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gain", 0.0, "gain is 0.0; it must be positive."),
        ("gain", -2.5, "gain is -2.5; it must be positive."),
        ("gain", math.nan, "gain is nan; it must be a finite number."),
        ("gain", math.inf, "gain is inf; it must be a finite number."),
        ("gain", 4e38, "gain is too large a number; it must be at most 3e+38."),
        ("delay", -0.1, "delay is -0.1; it must not be negative."),
        ("opening", 1.5, "opening is 1.5; it must lie between 0 and 1."),
        ("opening", -0.5, "opening is -0.5; it must lie between 0 and 1."),
        ("leak", 1.0, "leak is 1.0; it must lie below 1."),
        ("leak", 1.5, "leak is 1.5; it must lie between 0 and 1."),
        ("offset", -math.inf, "offset is -inf; it must be a finite number."),
        ("limit", 0.0, "limit is 0.0; it must be positive."),
        ("limit", -math.inf, "limit is -inf; it must be positive."),
        ("limit", math.nan, "limit is nan; it must be positive."),
        ("taps", 3, "taps is 3; it must be even."),
        ("taps", -3, "taps is -3; it must be positive."),
        ("taps", 2**31, "taps is too large a number; it must be at most 2.14748e+09."),
        ("seed", -1, "seed is -1; it must not be negative."),
        ("seed", 2**63, "seed is too large a number; it must lie below 2**63."),
        ("widths", (3, 0), "widths is 0; it must be positive."),
        ("widths", (1,) * 101, "widths has 101 entries; at most 100 are possible."),
        ("spare", -1.0, "spare is -1.0; it must not be negative."),
    ],
)
def test_a_number_outside_its_bounds_is_told_in_one_line(name, value, said):
    assert message(**{name: value}) == said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gain", 1e-30),
        ("delay", 0.0),
        ("opening", 0.0),
        ("opening", 1.0),
        ("leak", 0.999),
        ("offset", -3.0e38),
        ("limit", math.inf),
        ("taps", 2**31 - 2),
        ("seed", 2**63 - 1),
        ("widths", ()),
        ("widths", (1,) * 100),
        ("spare", None),
        ("spare", 0.0),
        ("on", True),
    ],
)
def test_a_number_at_its_bounds_is_allowed(name, value):
    assert message(**{name: value}) == ""


def test_a_setting_of_a_section_is_named_with_its_section():
    with pytest.raises(InputError, match=r"^valve\.gain is 0\.0; it must be positive\.$"):
        check_numbers(Plant(Valve(gain=0.0)))


@given(st.floats())
def test_a_fraction_is_exactly_a_number_from_0_to_1(number):
    assert (message(opening=number) == "") is (0.0 <= number <= 1.0)


def test_the_bounds_of_a_type_are_found_through_unions_and_tuples():
    assert notes_of(Positive[int]) == (POSITIVE,)
    assert notes_of(Positive[float] | None) == (POSITIVE,)
    assert notes_of(tuple[Positive[float], Positive[float]]) == (POSITIVE,)
    assert notes_of(tuple[Positive[int], ...] | None) == (POSITIVE,)
    assert notes_of(str) == notes_of(int | None) == ()


def test_a_bounded_setting_is_a_plain_number_to_everyone_else():
    valve = dataclasses.replace(Valve(), gain=2.0)
    assert type(valve.gain) is float and hash(valve) == hash(Valve(gain=2.0))
