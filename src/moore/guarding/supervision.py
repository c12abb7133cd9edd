"""What stands beside a policy that acts in a plant: the old controller, the guard, the limits.

`Supervision` holds the settings of `moore.Session.from_run` in one piece, and says which of them
can be written down: a function cannot, so that whoever resumes a session gives it again.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.comparison import Range
from moore.guarding.controllers import Controller
from moore.guarding.guard import RECOVERY, Guard, first_guard
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.modes import Mode, Switchboard, first_switchboard, mode_of
from moore.guarding.signals import Limit
from moore.numbers import as_measured, check_numbers, check_whole

Source = str | Path | Callable | Controller
Returns = Sequence[float] | Float[np.ndarray, " episodes"]


@dataclass(frozen=True)
class GuardSettings:
    """What the guard of a session tests; see `moore.guarding.guard.first_guard`.

    Attributes:
        returns: returns of whole episodes of the old controller, in the order of time; "log": those
            of the run's log; None: returns are not tested.
        error: probability of any false alarm, in all units together.
        tolerance: loss of mean return that is no reason for an alarm.
        range: range that returns are clipped to; None: the first of the returns set it.
        limits: limits of the signals that `Session.observe` is given.
        units: largest number of units that the session acts in; each has a guard of its own.
        recovery: after an alarm, number of readings for which the signals that raised it must have
            kept their limits before a policy acts again; twice as many after every further alarm.
    """

    returns: Returns | Literal["log"] | None = "log"
    error: float = 0.05
    tolerance: float = 0.0
    range: Range | None = None
    limits: Sequence[Limit] = ()
    units: int = 1
    recovery: int = RECOVERY

    def __post_init__(self) -> None:
        check_numbers("the guard", error=self.error, tolerance=self.tolerance)
        check_whole("the guard", units=self.units, recovery=self.recovery)
        if isinstance(self.limits, str) or not isinstance(self.limits, Sequence):
            raise InputError(f"limits of the guard is {self.limits!r}; expected a list of Limit.")
        for limit in self.limits:
            if not isinstance(limit, Limit):
                raise InputError(f"limits of the guard holds {limit!r}; expected Limit objects.")
        if self.range is not None and not isinstance(self.range, Range):
            raise InputError(f"range of the guard is {self.range!r}; expected Range(low, high).")
        if self.units < 1:
            raise InputError(f"units is {self.units}; expected 1 or more.")

    def first_guard(self) -> Guard:
        """The guard of one unit, before the policy has acted.

        Raises:
            InputError: a setting is impossible, or there are too few returns to set the range.
        """
        return first_guard(
            None if self.returns is None else [float(value) for value in self.returns],
            error=self.error / self.units, tolerance=self.tolerance, range=self.range,
            limits=self.limits, recovery=self.recovery,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Supervision:
    """The settings of a session beside a controller that ran before.

    Attributes:
        controller: the old controller; a text, a path, a function, or an object with `act`.
        low, high: bounds of the actions.
        mode: the mode at the beginning.
        guard: what the guard tests; None: there is no guard.
        interlocks: limits on all actions; None: only the bounds.
        transfer_rate: largest change of each entry of the action in one second after a switch, one
            number or (action,); None: no limit.
        dead_man: time-outs.
    """

    controller: Source
    low: Float[np.ndarray, " action"]
    high: Float[np.ndarray, " action"]
    mode: Mode = Mode.SHADOW
    guard: GuardSettings | None = None
    interlocks: Interlocks | None = None
    transfer_rate: float | Sequence[float] | Float[np.ndarray, " action"] | None = None
    dead_man: DeadMan = field(default_factory=DeadMan)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", mode_of(self.mode))
        if self.interlocks is not None:
            object.__setattr__(self, "interlocks", self.interlocks.within(self.low, self.high))
        locks, rate = self.interlocks, self.transfer_rate
        if locks is not None and (
            locks.low.shape != self.low.shape
            or (locks.low.astype(np.float32) < self.low).any()
            or (locks.high.astype(np.float32) > self.high).any()
        ):
            raise InputError(
                f"the interlocks' bounds are {locks.low.tolist()} and {locks.high.tolist()}; "
                f"expected bounds within those of the actions, {self.low.tolist()} and "
                f"{self.high.tolist()}."
            )
        if rate is not None:
            try:
                rates = np.asarray(rate, float)
            except (TypeError, ValueError):
                rates = np.zeros(0)
            if rates.shape not in ((), self.low.shape) or not (rates > 0.0).all():
                raise InputError(
                    f"transfer_rate is {rate!r}; expected one number above 0, or one for each of "
                    f"{self.low.size} entries of the action."
                )

    def first_board(self) -> Switchboard:
        """The switchboard of one unit, before its first step."""
        locks = self.interlocks or Interlocks(self.low, self.high)
        rate = self.transfer_rate
        if rate is not None:
            rate = np.broadcast_to(np.asarray(rate, float), self.low.shape)
        return first_switchboard(self.mode, locks, rate)

    def described(self) -> dict[str, Any]:
        """All but the functions, for JSON; numbers may be infinite."""
        guard, locks, rate = self.guard, self.interlocks, self.transfer_rate
        return {
            "controller": name_of(self.controller),
            "mode": str(self.mode),
            "guard": None if guard is None else _described(guard),
            "interlocks": None if locks is None else {
                "low": locks.low.tolist(),
                "high": locks.high.tolist(),
                "rate": None if locks.rate is None else locks.rate.tolist(),
                "projects": locks.project is not None,
            },
            "transfer_rate": None if rate is None else np.asarray(rate, float).tolist(),
            "dead_man": vars(self.dead_man),
        }  # fmt: skip


def name_of(controller: Source) -> str:
    """A controller as a text for people."""
    if isinstance(controller, str | Path):
        return str(controller)
    return getattr(controller, "__name__", type(controller).__name__)


def restored(
    told: dict[str, Any],
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    controller: Source | None,
    project: Callable | None,
) -> Supervision:
    """The settings that `Supervision.described` has described.

    Args:
        told: the description.
        low, high: bounds of the actions.
        controller: the old controller, which is given again unless it is the clone of the log.
        project: the projection of the interlocks, if they had one.

    Raises:
        InputError: a function that must be given again is missing.
    """
    if controller is None:
        if told["controller"] != "clone":
            raise InputError(
                f"this session has a controller ({told['controller']}), which is not opened by its "
                "name in a file; give it again: --controller, or in Python "
                "moore.Session.resume(..., controller=...)."
            )
        controller = "clone"
    locks = told["interlocks"]
    if locks is not None:
        if locks["projects"] and project is None:
            raise InputError(
                "the interlocks of this session have a projection, which no file holds; give it "
                "again: moore.Session.resume(..., project=...)."
            )
        rate = None if locks["rate"] is None else np.asarray(locks["rate"])
        bounds = np.asarray(locks["low"]), np.asarray(locks["high"])
        locks = Interlocks(*bounds, rate, project if locks["projects"] else None)
    guard = told["guard"]
    if guard is not None:
        limits = [Limit(**limit) for limit in guard["limits"]]
        range = None if guard["range"] is None else Range(**guard["range"])
        guard = GuardSettings(**guard | {"limits": limits, "range": range})
    return Supervision(
        controller, low, high, mode_of(told["mode"]), guard, locks, told["transfer_rate"],
        DeadMan(**told["dead_man"]),
    )  # fmt: skip


def with_returns(guard: GuardSettings, logged: Returns) -> GuardSettings:
    """The settings with the returns of the log, if it is these that are asked for."""
    if not isinstance(guard.returns, str):
        if guard.returns is None:
            return guard
        try:
            returns = [float(x) for x in as_measured(guard.returns, "returns", np.float64)]
        except (TypeError, ValueError):
            raise InputError(
                f"returns of the guard is {guard.returns!r:.100}; expected numbers, 'log' or None."
            ) from None
        if not np.isfinite(returns).all():
            raise InputError("returns of the guard holds a number that is not finite.")
        return replace(guard, returns=returns)
    if guard.returns != "log":
        raise InputError(
            f"the guard's returns are {guard.returns!r}; expected 'log', numbers or None."
        )
    return replace(guard, returns=[float(x) for x in logged if math.isfinite(x)])


def _described(guard: GuardSettings) -> dict[str, Any]:
    found = {**vars(guard), "limits": [vars(limit) for limit in guard.limits]}
    return found | {"range": None if guard.range is None else vars(guard.range)}
