"""Interlocks: what no policy may do, whoever acts.

They know nothing of learning. An action is, in this order, replaced by the last one if it is not
finite, moved into the bounds, kept from changing too fast, and given to the user's projection,
which may couple entries ("not both valves open"). The bounds have the last word.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.numbers import as_measured, check_numbers

Action = Float[np.ndarray, " action"]
Bounds = Float[np.ndarray, "*action"]
Rates = Float[np.ndarray, "*entries"]
Projection = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (obs, action) -> action


@dataclass(frozen=True, eq=False)
class Interlocks:
    """Limits on actions, for one unit.

    Attributes:
        low: lower bounds, (action,); in a session an infinite one is that of the action itself, and
            one number, (), holds for every entry.
        high: upper bounds, in the same way.
        rate: largest change of each entry in one second, as many or one for all; None: no limit.
        project: a function of the user's own, (obs, action) -> action; None: there is none.
    """

    low: Bounds
    high: Bounds
    rate: Rates | None = None
    project: Projection | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high", "rate"):
            if name != "rate" or self.rate is not None:  # lists will do
                object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if self.project is not None and not callable(self.project):
            raise InputError(f"project is {self.project!r}; expected a function (obs, action).")
        low, high = self.low, self.high
        if low.shape != high.shape or not (low <= high).all() or np.isnan([low, high]).any():
            raise InputError(
                f"the bounds are {low.tolist()} and {high.tolist()}; expected as many lower as "
                "upper ones, each lower one first."
            )
        rate = self.rate
        if rate is not None and not (rate.shape in ((), low.shape) and (rate > 0).all()):
            raise InputError(
                f"the rate limits are {rate.tolist()}; expected one number above 0, or one for "
                f"each of the {low.size} entries of the action."
            )
        if rate is not None:
            object.__setattr__(self, "rate", np.full(low.shape, rate))

    def within(self, low: Action, high: Action) -> "Interlocks":
        """The interlocks of so many entries, with these bounds where they have none.

        Args:
            low: lower bounds of the actions. Interlocks of another number of entries stay as they
                are, but for those that hold for every entry.
            high: upper bounds, in the same way.
        """
        if self.low.shape == ():
            own_low, own_high = np.full(low.shape, self.low), np.full(low.shape, self.high)
            rate = None if self.rate is None else np.full(low.shape, self.rate)
            return replace(self, low=own_low, high=own_high, rate=rate).within(low, high)
        if self.low.shape != low.shape:
            return self
        return replace(
            self,
            low=np.where(np.isneginf(self.low), low, self.low),
            high=np.where(np.isposinf(self.high), high, self.high),
        )


def _numbers(name: str, values: object) -> np.ndarray:
    """Limits as an array of the type that they had.

    Raises:
        InputError: there is something else than numbers.
    """
    try:
        found = np.asarray(values)
    except ValueError:
        found = np.asarray(None)
    if found.dtype.kind not in "iuf":
        raise InputError(
            f"{name} of the interlocks is {values!r}; expected a number for each entry."
        )
    return found


@dataclass(frozen=True, eq=False)
class Allowed:
    """An action that may be sent.

    Attributes:
        action: (action,) float32.
        reasons: what was changed, as sentences; empty if the action is as it was wanted.
        unusable: that of them for which the last action is held; empty if it is not.
    """

    action: Action
    reasons: tuple[str, ...]
    unusable: str = ""


def allowed(
    interlocks: Interlocks,
    wanted: Action,
    *,
    obs: Float[np.ndarray, " obs"],
    last: Action | None,
    seconds: float,
) -> Allowed:
    """The action that may be sent.

    Args:
        interlocks: the limits.
        wanted: action that a policy wants.
        obs: the observation, for the projection.
        last: action that was sent last; None: there is none yet, and no rate limit applies.
        seconds: time since then.

    Raises:
        InputError: the first action is not finite, so there is nothing that could be sent.
    """
    low, high = interlocks.low, interlocks.high
    action, reasons, unusable = np.asarray(wanted, np.float32), list[str](), ""
    if action.shape != low.shape or not np.isfinite(action).all():
        if last is None:
            raise InputError(
                f"the first action is {action.tolist()}; expected {low.size} finite numbers."
            )
        action, unusable = last, "The action is not finite numbers; the last one is held."
        reasons.append(unusable)
    action = _within(action, low, high, reasons)
    if interlocks.rate is not None and last is not None:
        reach = reach_in(interlocks.rate, max(seconds, 0.0))
        slow = np.clip(action, last - reach, last + reach)
        if (np.abs(slow - action) > 0.0).any():
            reasons.append("The action may not change that fast.")
        action = slow
    if interlocks.project is not None:
        action, failed = _projected(interlocks.project, obs, action, last, reasons)
        unusable = unusable or failed
    action = _within(action, low, high, reasons)
    return Allowed(action.astype(np.float32), tuple(reasons), unusable)


def reach_in(rate: Float[np.ndarray, " action"], seconds: float) -> Float[np.ndarray, " action"]:
    """How far each entry may change in so many seconds, also in none; infinite: without a limit."""
    unlimited = np.isinf(rate)
    return np.where(unlimited, np.inf, np.where(unlimited, 0.0, rate) * seconds)


def _within(action: Action, low: Action, high: Action, reasons: list[str]) -> Action:
    inside = np.minimum(np.maximum(action, low), high)
    if (inside != action).any():
        reasons.append("The action was outside its bounds and is moved to them.")
    return inside


def _projected(
    project: Projection, obs: np.ndarray, action: Action, last: Action | None, reasons: list[str]
) -> tuple[Action, str]:
    """The user's projection; the last action where it fails, for then nobody knows what is safe.

    Also why it failed, as a sentence; empty if it did not.
    """
    try:
        projected = as_measured(project(obs.copy(), action.copy()), "its result")
        problem = ""
        if projected.shape != action.shape or not np.isfinite(projected).all():
            problem = f"gave {projected.tolist()}"
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        problem = f"failed ({' '.join(str(error).split()) or type(error).__name__})"
    if not problem:
        if (projected != action).any():
            reasons.append("The projection has changed the action.")
        return projected, ""
    if last is None:
        raise InputError(
            f"the projection {problem}; expected {action.size} finite numbers, and there is no "
            "earlier action to hold."
        )
    reasons.append(f"The projection {problem}; the last action is held.")
    return last, reasons[-1]


@dataclass(frozen=True)
class DeadMan:
    """Time-outs. Times are in seconds, on a clock that never goes back.

    Attributes:
        between_calls: longest time between two calls of `act`; whoever runs the session asks
            `expired` from a timer, because a call that does not come cannot notice itself.
        observation_age: greatest age of an observation that may be acted on.
    """

    between_calls: float = math.inf
    observation_age: float = math.inf

    def __post_init__(self) -> None:
        check_numbers("the time-outs", **vars(self))
        for name in ("between_calls", "observation_age"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} is {getattr(self, name)}; expected seconds, more than 0.")

    def expired(self, now: float, *, last_call: float | None) -> str:
        """Why the controller that ran before must take over now; empty if it need not.

        Args:
            now: the time.
            last_call: when `act` was called last; None: it was not called yet.
        """
        if last_call is None or now - last_call <= self.between_calls:
            return ""
        return (
            f"No action was asked for in {now - last_call:.3g} s; "
            f"{self.between_calls:.3g} s are allowed."
        )

    def stale(self, now: float, *, observed_at: float) -> str:
        """Why an observation is too old, or from the future; empty if it may be acted on.

        Args:
            now: the time.
            observed_at: when it was measured.
        """
        age = now - observed_at
        if math.isfinite(self.observation_age) and age < 0.0:
            return f"The observation was measured {-age:.3g} s in the future; check the clocks."
        if not age <= self.observation_age:
            return f"The observation is {age:.3g} s old; {self.observation_age:.3g} s are allowed."
        return ""
