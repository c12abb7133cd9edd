"""The guard: alarms when the acting policy is worse than the reference, or a signal breaks a limit.

After an alarm the policy is not trusted, and the controller that ran before acts. The policy is
trusted again only when `hand_over` is called, the signals that raised the alarm have kept their
limits for a while (twice as long after every further alarm), no other one is out of its limits, and
the gate agrees; a new test then begins. The k-th
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
from moore.numbers import counted

Actor = Literal["old", "new", "both"]
# Readings for which signals must have kept their limits before a policy acts again.
RECOVERY = 60
# Beyond so many alarms the time that they ask for does not grow any more.
_MOST_DOUBLED = 10


class GuardAlarm(UserWarning):
    """The warning by which a session tells of an alarm."""


@dataclass(frozen=True)
class Alarm:
    """Why a policy is not trusted any more.

    Attributes:
        monitor: "returns", or the name of a signal.
        text: the reason, as a sentence.
        evidence: by how much a gambler who bets against the policy has multiplied his stake;
            infinite for a limit that may never be broken.
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
        recovery: number of readings for which the signals of the first alarm must have kept their
            limits.
        suspects: names of the signals that raised the last alarm.
        tests: number of tests begun: 1, and 1 for each time that the policy was handed over again.
        alarm: why the policy is not trusted now; None: it is trusted.
        alarms: all alarms so far.
    """

    error: float
    comparison: Comparison | None
    signals: tuple[Signal, ...]
    recovery: int = RECOVERY
    suspects: tuple[str, ...] = ()
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

    @property
    def readings_needed(self) -> int:
        """For how many readings the signals of the last alarm must have kept their limits."""
        doubled = min(max(len(self.alarms) - 1, 0), _MOST_DOUBLED)
        return self.recovery * 2**doubled

    @property
    def is_out(self) -> bool:
        """Whether a signal that raised the last alarm was out of its limits just now."""
        return not self.trusted and any(x.calm == 0.0 for x in self._suspected)

    @property
    def awaits(self) -> str:
        """What has to come, after an alarm, before any policy may act again; empty: nothing."""
        return self._awaits(self.readings_needed)

    @property
    def awaits_of_a_person(self) -> str:
        """The same where a person has seen to the cause, who need not wait for calm signals."""
        return self._awaits(min(self.readings_needed, 1))

    def _awaits(self, needed: int) -> str:
        if self.trusted or needed == 0:
            return ""
        worst = min(self._suspected, key=lambda signal: signal.calm, default=None)
        if worst is not None and worst.calm < needed:
            if needed == 1:
                return f"{worst.limit.name} is out of its limits."
            return (
                f"{worst.limit.name} has kept its limits for {int(worst.calm)} readings; the new "
                f"policy may act again after {needed}, if the gate agrees (without one: a person)."
            )
        for signal in self.signals:
            if signal.limit.allowed == 0.0 and signal.calm == 0.0:
                return f"{signal.limit.name} is out of its limits."
        return ""

    @property
    def _suspected(self) -> list[Signal]:
        return [signal for signal in self.signals if signal.limit.name in self.suspects]

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
            signals = [x.beside(float(readings[x.limit.name]), now) for x in self.signals]
            return replace(self, signals=tuple(signals))
        signals = [x.begun().after(float(readings[x.limit.name]), now) for x in self.signals]
        return _judged(replace(self, signals=tuple(signals)))

    def hand_over(self, gate: Callable[[], bool], *, seen_to: bool = False) -> "Guard":
        """The guard after the policy asked to act again.

        It trusts the policy, and begins a new test, if nothing is awaited and the gate agrees.
        Otherwise, or if there was no alarm, it stays as it is.

        Args:
            gate: called only after an alarm; returns whether the policy may act again.
            seen_to: whether a person has seen to the cause. Then all signals must keep their limits
                now, and nothing more.
        """
        if self.trusted or not gate():
            return self
        if self.awaits_of_a_person if seen_to else self.awaits:
            return self
        comparison = None if self.comparison is None else self.comparison.restarted()
        signals = tuple(signal.begun_anew() for signal in self.signals)
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
    recovery: int = RECOVERY,
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
        recovery: after an alarm, number of readings for which the signals that raised it must have
            kept their limits before a policy acts again; twice as many after every further alarm.

    Raises:
        InputError: a setting is impossible, or there are too few returns to set the range.
    """
    if not 0.0 < error < 1.0:
        raise InputError(f"error is {error}; expected a probability between 0 and 1.")
    if recovery < 0:
        raise InputError(f"recovery is {recovery}; expected a number of readings, 0 or more.")
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
    return Guard(error, comparison, tuple(map(first_signal, limits)), recovery)


def _judged(guard: Guard) -> Guard:
    """The guard with an alarm if a monitor has enough evidence."""
    alarm = next((found for found in _alarms(guard) if found), None)
    if alarm is None:
        return guard
    suspects = tuple(x.limit.name for x in guard.signals if x.evidence() >= guard.needed)
    signals = [
        replace(x, calm=0.0) if x.limit.name in suspects else x for x in guard.signals
    ]  # what it has kept before the alarm does not count
    return replace(
        guard, signals=tuple(signals), alarm=alarm, alarms=(*guard.alarms, alarm), suspects=suspects
    )


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
            episodes = counted(guard.comparison.acting.count, "episode")
            text = (
                f"the policy earns less than the controller that ran before (after {episodes}); "
                "that controller acts from now on."
            )
            yield Alarm("returns", text, evidence, needed)
