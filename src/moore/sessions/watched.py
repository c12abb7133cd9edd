"""One unit of a session beside a controller that ran before: who acted, and what the guard says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from moore.envs.returns import Return
from moore.formats.live_steps import Step, vector
from moore.guarding.guard import Actor, Guard
from moore.guarding.modes import Mode
from moore.guarding.supervision import Supervision
from moore.guarding.transfer import BumplessTransfer

# What is awaited after an alarm, when the signals have kept their limits for long enough.
_CONSENT = (
    "A newer policy must pass the gate or be accepted for a trial; in a run without gate and loss "
    "budget, a person must agree (trust_again)."
)


@dataclass(frozen=True)
class UnitStanding:
    """How a unit stands.

    Attributes:
        actor: who acted last, "old" or "new"; None: nobody yet.
        why: why it was that one, as a sentence.
        trusted: whether the guard trusts the new policy; True without a guard.
        alarm: why it does not, as a sentence; empty if it does.
        since: when the alarm was raised, in seconds of the session's clock; None: there is none.
        awaits: what has to come before any policy may act again, as a sentence; empty: nothing.
        interlocks: what the limits have changed of the last action, as sentences.
        fault: what was wrong with the old controller's last answer, as a sentence; empty: nothing.
    """

    actor: str | None
    why: str
    trusted: bool
    alarm: str
    since: float | None = None
    awaits: str = ""
    interlocks: tuple[str, ...] = ()
    fault: str = ""


class Watched:
    """What is known of one unit, all of it from the records of the session.

    Attributes:
        board: who acted last, what was sent, and the transfer under way.
        guard: the guard; None: there is none.
        old: last good action of the old controller; None: there is none yet.
        called: when an action was asked for last; None: not yet.
        newest: its newest step; None: none yet.
    """

    def __init__(self, settings: Supervision, mode: Mode):
        """Begins with no step: nothing was sent to the unit so far."""
        self.board = settings.first_board().in_mode(mode)
        self.guard: Guard | None = None if settings.guard is None else settings.guard.first_guard()
        self.old: np.ndarray | None = None
        self.called: float | None = None
        self.newest: Step | None = None
        self._since: float | None = None  # when the last alarm was raised
        self._trust = 0  # number of the gate's consent by which the policy is trusted again
        self._begin_episode()

    @property
    def trusted(self) -> bool:
        """Whether the guard lets the new policy act."""
        return self.guard is None or self.guard.trusted

    @property
    def alarm(self) -> str:
        """Why it does not; empty if it does."""
        return "" if self.guard is None or self.guard.alarm is None else self.guard.alarm.text

    @property
    def is_out(self) -> bool:
        """Whether what raised the last alarm was out of its limits still in the newest reading."""
        return self.guard is not None and self.guard.is_out

    @property
    def awaits(self) -> str:
        """What has to come before any policy may act again; empty: nothing."""
        return "" if self.guard is None else self.guard.awaits

    @property
    def awaits_of_a_person(self) -> str:
        """The same where a person has seen to the cause."""
        return "" if self.guard is None else self.guard.awaits_of_a_person

    @property
    def standing(self) -> UnitStanding:
        told = None if self.newest is None else self.newest.decision
        told = told or {"why": "", "interlocks": (), "fault": ""}
        since, awaits = None if self.trusted else self._since, self.awaits
        if not self.trusted and not awaits:
            awaits = _CONSENT
        return UnitStanding(
            self.board.actor, told["why"], self.trusted, self.alarm, since, awaits,
            tuple(told["interlocks"]), told["fault"],
        )  # fmt: skip

    def acted(self, step: Step, decision: dict) -> None:
        """An action was sent."""
        self.newest, self.called = step, decision["clock"]
        if decision["old"] is None:  # the last action was sent again
            return
        self.old = vector(decision["old"])
        moving = decision["moving"] or [False] * len(self.old)
        self.board = replace(
            self.board,
            transfer=BumplessTransfer(np.asarray(moving, bool)),
            actor=decision["actor"],
            policy=step.policy,
            last=step.action,
            at=decision["clock"],
        )

    def read(self, signals: Mapping[str, float | None], clock: float) -> str:
        """The signals after the newest step; returns the alarm, empty if there is none."""
        newest = self.newest
        assert newest is not None and newest.actor is not None  # `acted` was told who acted
        if self.guard is None:
            return ""
        values = dict(zip(signals, vector(list(signals.values())).tolist(), strict=True))
        return self._judged(self.guard.after_step(values, clock, by=newest.actor), newest)

    def settle(self, step: Step) -> str:
        """Takes a step of which everything is known; returns the alarm, empty if there is none."""
        if step.number == 0:
            self._begin_episode()
            return ""
        assert step.actor is not None  # beside a controller every step says who acted
        self._actors.add(step.actor)
        self._earned.add(np.nan if step.lost or step.reward is None else step.reward)
        if not step.ends:
            return ""
        total = self._earned.total
        by: Actor = step.actor if len(self._actors) == 1 else "both"
        self._begin_episode()
        if total is None or self.guard is None:
            return ""
        return self._judged(self.guard.after_episode(total, by=by), step)

    def may_be_trusted(self, *, by_user: bool) -> bool:
        """Whether an alarm can be over, if the gate agrees, or a user who has seen to its cause."""
        if self.guard is None or self.guard.trusted:
            return False
        return self.guard.hand_over(lambda: True, seen_to=by_user).trusted

    def trust_again(self, consent: int) -> None:
        """Begins a new test after an alarm, unless something else is awaited.

        Args:
            consent: number of the gate's consent; 0: it is a user's.
        """
        if self.may_be_trusted(by_user=consent == 0):
            assert self.guard is not None
            self.guard = self.guard.hand_over(lambda: True, seen_to=consent == 0)
            self._trust = consent

    def distrust(self, since: int) -> None:
        """Takes back a trust that rests on a consent of the gate after this number."""
        if self.guard is not None and self._trust > since:
            self.guard = replace(self.guard, alarm=self.guard.alarms[-1])

    def _judged(self, after: Guard, step: Step) -> str:
        """Keeps the guard's new state; an alarm is noted at the step."""
        is_new = after.alarm is not None and self.trusted
        self.guard = after
        step.alarmed = step.alarmed or is_new
        self._since = self.called if is_new else self._since
        return self.alarm if is_new else ""

    def _begin_episode(self) -> None:
        self._earned = Return()
        self._actors: set[Actor] = set()
