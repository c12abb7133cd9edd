"""Guard, limits of signals, interlocks and time-outs from a small TOML file.

It is for whoever serves a session without a line of Python. Reading it runs no code.
"""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from moore.errors import InputError
from moore.guarding.comparison import Range
from moore.guarding.files import read_whole
from moore.guarding.guard import RECOVERY
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings
from moore.tables import merge

_WHAT = "a TOML file of limits, such as [signals.level] and high = 4.5"
Numbers = float | tuple[float, ...] | None


@dataclass(frozen=True)
class _Guard:
    """The table `guard`; `none` as returns tests none."""

    returns: str | tuple[float, ...] | None = "log"
    error: float = 0.05
    tolerance: float = 0.0
    range: tuple[float, ...] | None = None
    units: int = 1
    recovery: int = RECOVERY

    def settings(self, limits: list[Limit]) -> GuardSettings:
        if isinstance(self.returns, str) and self.returns != "log":
            raise InputError(
                f"'guard.returns' is {self.returns!r}; expected 'log', 'none' or a list of numbers."
            )
        returns: tuple[float, ...] | Literal["log"] | None
        returns = "log" if isinstance(self.returns, str) else self.returns
        found = None
        if self.range is not None:
            if len(self.range) != 2:
                raise InputError(f"'guard.range' has {len(self.range)} numbers; expected two.")
            found = Range(*self.range)
        return GuardSettings(
            returns, self.error, self.tolerance, found, limits, self.units, self.recovery
        )


@dataclass(frozen=True)
class _Actions:
    """The table `actions`: what is left out is not limited further."""

    low: Numbers = None
    high: Numbers = None
    rate: Numbers = None
    transfer_rate: Numbers = None

    def interlocks(self) -> Interlocks | None:
        """A number holds for every entry of the action, a list has one for each."""
        given = {name: getattr(self, name) for name in ("low", "high", "rate")}
        if all(values is None for values in given.values()):
            return None
        sizes = {len(values) for values in given.values() if isinstance(values, tuple)}
        if len(sizes) > 1:
            raise InputError("low, high and rate of 'actions' differ in their number of entries.")
        shape = tuple(sizes)  # () if all are numbers
        low, high, rate = (
            None if values is None else np.broadcast_to(np.array(values, float), shape)
            for values in given.values()
        )
        return Interlocks(
            np.full(shape, -np.inf) if low is None else low,
            np.full(shape, np.inf) if high is None else high,
            rate,
        )


@dataclass(frozen=True)
class _Tables:
    """The whole file, but for the signals, whose names are the user's."""

    guard: _Guard = field(default_factory=_Guard)
    actions: _Actions = field(default_factory=_Actions)
    timeouts: DeadMan = field(default_factory=DeadMan)


@dataclass(frozen=True, eq=False)
class Limits:
    """What a file of limits says; None where it says nothing.

    Attributes:
        guard: what the guard tests.
        interlocks: limits on all actions; an infinite bound is that of the action itself.
        transfer_rate: largest change of the action in a second after a switch.
        dead_man: time-outs.
    """

    guard: GuardSettings | None = None
    interlocks: Interlocks | None = None
    transfer_rate: float | np.ndarray | None = None
    dead_man: DeadMan | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What `Session.from_run` takes."""
        return vars(self).copy()


def read_limits(path: str | Path) -> Limits:
    """Reads a file of limits; docs/guard.md lists its tables.

    Raises:
        InputError: it cannot be read, a name is unknown, or a value is impossible.
    """
    path = Path(path).expanduser()
    content = read_whole(path, _WHAT)
    try:
        values = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid TOML ({error}); expected {_WHAT}.") from None
    try:
        return _limits(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _limits(values: dict[str, Any]) -> Limits:
    signals = values.pop("signals", {})
    if not isinstance(signals, dict):
        raise InputError("'signals' is a table with a table for each signal: [signals.level].")
    limits = [_limit(name, table) for name, table in signals.items()]
    if unknown := [name for name in values if name not in vars(_Tables())]:
        raise InputError(
            f"there is no table '{unknown[0]}'; the known ones are signals, "
            f"{', '.join(vars(_Tables()))}."
        )
    tables: _Tables = merge(_Tables(), values)
    has_guard = limits or "guard" in values
    transfer_rate = tables.actions.transfer_rate
    return Limits(
        tables.guard.settings(limits) if has_guard else None,
        tables.actions.interlocks(),
        np.array(transfer_rate) if isinstance(transfer_rate, tuple) else transfer_rate,
        tables.timeouts if "timeouts" in values else None,
    )


def _limit(name: str, table: Any) -> Limit:
    if not isinstance(table, dict) or "name" in table:
        raise InputError(f"'signals.{name}' is a table of limits: low, high, rate, allowed, block.")
    return merge(Limit(name), table, f"signals.{name}.")
