"""The guard: alarms when the acting policy is worse than the reference, or a signal breaks a limit.

After an alarm the policy is not trusted, and the controller that ran before acts. The policy is
trusted again only when `hand_over` is called and the gate agrees; a new test then begins. The k-th
test has the error probability error / (k (k + 1)), and its monitors (returns, and each signal that
may break its limit at times) share it evenly. So over the whole life of a guard, the probability of
any false alarm is at most `error`, whenever one looks: the sum of them all (`betting`,
`comparison`, `signals` state what is assumed).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.comparison import Comparison, Range, first_comparison, split_reference
from moore.guarding.signals import Limit, Signal, first_signal

Actor = Literal["old", "new", "both"]


class GuardAlarm(UserWarning):
    """The warning by which a session tells of an alarm."""


@dataclass(frozen=True)
class Alarm:
    """Why a policy is not trusted any more.

    Attributes:
        monitor: "returns", or the name of a signal.
        text: the reason, as a sentence.
        evidence: by how much money at stake was multiplied; infinite for a limit that may never be
            broken.
        needed: evidence at which the alarm was due.
    """

    monitor: str
    text: str
    evidence: float
    needed: float


@dataclass(frozen=True, eq=False)
class Guard:
    """The state of a guard. Make it with `first_guard`.

    Attributes:
        error: probability of any false alarm, over the whole life of the guard.
        comparison: the test of returns; None: returns are not tested.
        signals: the watched signals.
        tests: number of tests begun: 1, and 1 for each time that the policy was handed over again.
        alarm: why the policy is not trusted now; None: it is trusted.
        alarms: all alarms so far.
    """

    error: float
    comparison: Comparison | None
    signals: tuple[Signal, ...]
    tests: int = 1
    alarm: Alarm | None = None
    alarms: tuple[Alarm, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether the policy may act."""
        return self.alarm is None

    @property
    def needed(self) -> float:
        """Evidence at which a monitor alarms."""
        monitors = int(self.comparison is not None)
        monitors += sum(signal.limit.allowed > 0.0 for signal in self.signals)
        return max(monitors, 1) * self.tests * (self.tests + 1) / self.error

    def after_episode(self, episode_return: float, *, by: Actor) -> "Guard":
        """The guard after an episode.

        Args:
            episode_return: sum of its rewards.
            by: "old" if the reference acted in all of it, "new" if the policy did; "both" if they
                took turns, which tells nothing about either.
        """
        if self.comparison is None or by == "both":
            return self
        if not math.isfinite(episode_return):
            raise InputError(
                f"the return of an episode is {episode_return}; expected a finite number."
            )
        if by == "old":
            return replace(self, comparison=self.comparison.after_reference(episode_return))
        if not self.trusted:
            return self
        comparison = self.comparison.after_acting(episode_return)
        return _judged(replace(self, comparison=comparison))

    def after_step(self, readings: Mapping[str, float], now: float, *, by: Actor) -> "Guard":
        """The guard after a step.

        Args:
            readings: values of the watched signals by name.
            now: time in seconds, on a clock that never goes back.
            by: who acted. What happens while the reference acts is not held against the policy.

        Raises:
            InputError: a watched signal was not read.
        """
        if not self.signals:
            return self
        if missing := [x.limit.name for x in self.signals if x.limit.name not in readings]:
            raise InputError(
                f"the watched signal {missing[0]} was not read; expected readings of "
                f"{', '.join(x.limit.name for x in self.signals)}."
            )
        if by == "old" or not self.trusted:
            # Only the last reading is kept, for the rate of change.
            signals = [replace(x, last=float(readings[x.limit.name]), at=now) for x in self.signals]
            return replace(self, signals=tuple(signals))
        signals = [x.begun().after(float(readings[x.limit.name]), now) for x in self.signals]
        return _judged(replace(self, signals=tuple(signals)))

    def hand_over(self, gate: Callable[[], bool]) -> "Guard":
        """The guard after the policy asked to act again: trusted, and with a new test, if the gate
        agrees; otherwise, or if there was no alarm, as it is.

        Args:
            gate: called only after an alarm; returns whether the policy may act again.
        """
        if self.trusted or not gate():
            return self
        comparison = None if self.comparison is None else self.comparison.restarted()
        signals = tuple(replace(first_signal(x.limit), last=x.last, at=x.at) for x in self.signals)
        return replace(
            self, comparison=comparison, signals=signals, tests=self.tests + 1, alarm=None
        )


def first_guard(
    reference_returns: Sequence[float] | Float[np.ndarray, " episodes"] | None,
    *,
    error: float = 0.05,
    tolerance: float = 0.0,
    range: Range | None = None,
    limits: Sequence[Limit] = (),
) -> Guard:
    """A guard before the policy has acted.

    Args:
        reference_returns: returns of whole episodes of the controller that ran before, in the order
            of time, from its log for instance; None: returns are not tested. Their number decides
            how small a loss can be found: 50 or more are advisable.
        error: probability of any false alarm, over the whole life of the guard.
        tolerance: loss of mean return that is no reason for an alarm, in the units of returns.
        range: range that returns are clipped to before means are compared; None: the first quarter
            of the reference's returns sets it, and only the others are compared.
        limits: limits of signals.

    Raises:
        InputError: a setting is impossible, or there are too few returns to set the range.
    """
    if not 0.0 < error < 1.0:
        raise InputError(f"error is {error}; expected a probability between 0 and 1.")
    names = [limit.name for limit in limits]
    if len(set(names)) != len(names):
        raise InputError(f"two signals have the same name: {', '.join(names)}.")
    comparison = None
    if reference_returns is not None:
        rest = list(reference_returns)
        if range is None:
            range, rest = split_reference(rest)
        comparison = first_comparison(range, tolerance=tolerance)
        for value in rest:
            comparison = comparison.after_reference(float(value))
    return Guard(error, comparison, tuple(map(first_signal, limits)))


def _judged(guard: Guard) -> Guard:
    """The guard with an alarm if a monitor has enough evidence."""
    alarm = next((found for found in _alarms(guard) if found), None)
    if alarm is None:
        return guard
    return replace(guard, alarm=alarm, alarms=(*guard.alarms, alarm))


def _alarms(guard: Guard):
    needed = guard.needed
    for signal in guard.signals:
        evidence = signal.evidence()
        if evidence < needed:
            continue
        name, limit = signal.limit.name, signal.limit
        if limit.allowed == 0.0:
            text = f"{name} {signal.broken}; the controller that ran before acts from now on."
        else:
            text = (
                f"{name} breaks its limits in more than {limit.allowed:.3g} of the blocks; the "
                "controller that ran before acts from now on."
            )
        yield Alarm(name, text, evidence, needed)
    if guard.comparison is not None:
        evidence = float(guard.comparison.evidence())
        if evidence >= needed:
            text = (
                f"the policy earns less than the controller that ran before (after "
                f"{guard.comparison.acting.count} episodes); that controller acts from now on."
            )
            yield Alarm("returns", text, evidence, needed)
