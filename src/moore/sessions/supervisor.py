"""Who acts in a session beside a controller that ran before, and what the guard makes of it.

`decide` finds the actions of a step and says why; `take` reads the record that was made of it.
Everything that lasts from one step to the next comes from the records, live and after `resume`, so
a session that goes on has the very state that it had: mode, guard, transfers, last actions.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from moore.config import Config
from moore.errors import InputError
from moore.formats.live_steps import Step, Steps, Unit
from moore.guarding.controllers import Answer, Controller, Tracking, ask, ask_each
from moore.guarding.modes import Conditions, Mode, Sent, mode_of, step
from moore.guarding.supervision import Supervision
from moore.numbers import check_numbers, counted
from moore.sessions.acting import Proposed
from moore.sessions.clock import SessionClock
from moore.sessions.decided import Decided, decision_of
from moore.sessions.readings import signals_of
from moore.sessions.untold import Untold
from moore.sessions.watched import UnitStanding, Watched

_BAD_READING = "The observation holds a value that is not finite; the last action is sent again."


class Supervisor:
    """Decides whose action is sent, for every unit.

    Attributes:
        mode: the mode that the user has chosen.
        trusts: number of times that the gate's consent made the policy trusted again.
        blamed: ids of the policies that were acting when the guard alarmed.
        setbacks: number of its alarms, and of readings after one that were out of their limits. A
            consent of the gate counts if it was given after the last of them.
    """

    def __init__(self, settings: Supervision, controller: Controller, clock: SessionClock):
        """Beside this controller, before the first step.

        Raises:
            InputError: the guard's settings are impossible.
        """
        self._settings, self._controller, self._clock = settings, controller, clock
        self.mode, self.trusts, self.blamed = settings.mode, 0, set[str]()
        self.setbacks = 0
        self._tracking = controller if isinstance(controller, Tracking) else None
        self._units: dict[Unit, Watched] = {}
        self._untold = Untold()
        if settings.guard is not None:
            settings.guard.first_guard()  # what is wrong with the settings is said at once

    @property
    def standing(self) -> dict[Unit, UnitStanding]:
        """How every unit stands."""
        return {unit: one.standing for unit, one in self._units.items()}

    @property
    def distrusted(self) -> list[Unit]:
        """Units in which the guard does not trust the new policy."""
        return [unit for unit, one in self._units.items() if not one.trusted]

    def may_be_trusted(self, *, by_user: bool) -> bool:
        """Whether an alarm can be over in some unit, if the gate agrees, or a user."""
        return any(one.may_be_trusted(by_user=by_user) for one in self._units.values())

    @property
    def awaits_of_a_person(self) -> str:
        """What has to come before a person may let a policy act again, in the first such unit."""
        return next(filter(None, (one.awaits_of_a_person for one in self._units.values())), "")

    @property
    def overdue(self) -> str:
        """Why an action should have been asked for by now; empty if it need not."""
        now, dead_man = self._clock(), self._settings.dead_man
        units = list(self._units.values())  # another thread may add one meanwhile
        found = (dead_man.expired(now, last_call=one.called) for one in units)
        return next(filter(None, found), "")

    # --- deciding

    def decide(
        self,
        obs: Float[np.ndarray, "rows obs"],
        units: list[Unit],
        *,
        good: Bool[np.ndarray, " rows"],
        held: Float[np.ndarray, "rows action"],
        proposed: Proposed | None,
        affordable: bool,
        observed_at: float | None,
    ) -> list[Decided]:
        """What is sent to these units. Nothing is changed before `take` has the records.

        Args:
            obs: their observations.
            units: their ids.
            good: whether an observation is finite.
            held: actions for rows that are not, if nothing was sent before.
            proposed: what the new policy would do; None: it was not asked.
            affordable: whether the loss budget lets the new policy act.
            observed_at: when the observations were measured, on the session's clock.

        Raises:
            InputError: there are more units than the guard is made for, the old controller has
                no first action, or nobody said how old the observations are.
        """
        self._refuse_units(units)
        now = self._clock()
        stale = self._stale(now, observed_at)
        answers = iter(self._ask_old(obs, units, good))
        found = []
        for row, unit in enumerate(units):
            one = self._unit(unit)
            if not good[row]:
                found.append(self._held(one, held[row], now))
                continue
            answer, new = next(answers), None if proposed is None else proposed.action[row]
            late = self._settings.dead_man.expired(now, last_call=one.called)
            conditions = Conditions(one.trusted, affordable, stale or late)
            after, sent = step(
                one.board, obs=obs[row], old=answer.action, new=new,
                policy=None if proposed is None else proposed.policy,
                now=now, conditions=conditions,
            )  # fmt: skip
            as_proposed = sent.actor == "new" and bool(np.all(sent.action == new))
            told = decision_of(self.mode, one.alarm, sent, now, board=after, answer=answer)
            found.append(Decided(sent.action, as_proposed, told, answer))
        return found

    def _ask_old(
        self,
        obs: Float[np.ndarray, "rows obs"],
        units: list[Unit],
        good: Bool[np.ndarray, " rows"],
    ) -> list[Answer]:
        """The old controller's answers to the good observations; all at once if it can."""
        settings = self._settings
        rows = np.flatnonzero(good)
        last = [self._unit(units[row]).old for row in rows]
        if not len(rows):
            return []
        low, high = settings.low, settings.high
        known = [action for action in last if action is not None]
        if len(rows) > 1 and len(known) == len(last):
            return ask_each(self._controller, obs[rows], low=low, high=high, last=known)
        return [
            ask(self._controller, obs[row].copy(), low=low, high=high, last=action)
            for row, action in zip(rows, last, strict=True)
        ]

    def _held(self, one: Watched, held: Float[np.ndarray, " action"], now: float) -> Decided:
        """Sends the last action again, because the reading is not finite."""
        board = one.board
        locks = board.interlocks
        action = np.clip(held, locks.low, locks.high) if board.last is None else board.last
        action = action.astype(np.float32)
        sent = Sent(action, board.actor or "old", _BAD_READING, action, None, False, False, ())
        return Decided(action, False, decision_of(self.mode, one.alarm, sent, now))

    def _refuse_units(self, units: list[Unit]) -> None:
        guard = self._settings.guard
        if guard is not None and len({*self._units, *units}) > guard.units:
            raise InputError(
                f"the guard is made for {counted(guard.units, 'unit')}, and all of them share its "
                "error probability; begin a session with guard=GuardSettings(units=...)."
            )

    def _stale(self, now: float, observed_at: float | None) -> str:
        dead_man = self._settings.dead_man
        if observed_at is None:
            if np.isfinite(dead_man.observation_age):
                raise InputError(
                    "the session watches the age of observations; say when this one was measured: "
                    "act(..., observed_at=...), in seconds of the session's clock."
                )
            return ""
        check_numbers("the call of act", observed_at=observed_at)
        return dead_man.stale(now, observed_at=observed_at)

    def without_new(
        self,
        decided: list[Decided],
        obs: Float[np.ndarray, "rows obs"],
        units: list[Unit],
        why: str,
    ) -> list[Decided]:
        """The same step, if the old controller must act in it; it is not asked again.

        No record will tell of it, so it is taken as sent at once.

        Args:
            decided: what was decided for these units.
            obs: their observations.
            units: their ids.
            why: why the new policy must not act, as a sentence.
        """
        found = []
        for row, unit in enumerate(units):
            one, told = self._unit(unit), decided[row].decision
            action, answer = decided[row].action, decided[row].answer
            if answer is not None:
                now, stopped = told["clock"], Conditions(one.trusted, stopped=why)
                after, sent = step(
                    one.board, obs=obs[row], old=answer.action, new=None, now=now,
                    conditions=stopped,
                )  # fmt: skip
                action = sent.action
                told = decision_of(self.mode, one.alarm, sent, now, board=after, answer=answer)
            self._acted(Step(0, unit, obs[row], action, decision=told), told)
            found.append(Decided(action, False, told))
        self.tell()
        return found

    def _acted(self, step: Step, decision: dict) -> None:
        self._unit(step.unit).acted(step, decision)
        self._untold.acted(step, decision)

    # --- signals

    def readings(self, signals: Any, count: int) -> list[dict[str, Any]]:
        """Entries of the records of so many steps for the signals that the guard watches.

        Raises:
            InputError: a signal is missing, or is no number.
        """
        guard = self._settings.guard
        names = [] if guard is None else [limit.name for limit in guard.limits]
        if not names:
            return [{} for _ in range(count)]
        several = isinstance(signals, list | tuple)
        each = signals if several else [signals] * count
        if len(each) != count:
            raise InputError(f"signals has {len(each)} entries; expected one for each unit.")
        return [{"clock": self._clock(), "signals": signals_of(one, names)} for one in each]

    # --- what happened

    def take(self, record: dict, newest: Step | None, released: list[Step]) -> None:
        """Takes a record.

        Args:
            record: the record.
            newest: the step that the record begins, if it is that of an action.
            released: the steps that the record has completed.
        """
        kind = record["kind"]
        self._clock.passed(record.get("clock", -np.inf))
        if kind == "act" and newest is not None and newest.decision is not None:
            self._clock.passed(newest.decision["clock"])
            self._acted(newest, newest.decision)
        elif kind == "observe" and "signals" in record:
            for one in self._units.values():
                if one.newest is not None and one.newest.number == record["step"]:
                    alarm = one.read(record["signals"], record["clock"])
                    self._note(alarm, one.newest)
                    self.setbacks += one.is_out and not alarm
        elif kind == "mode":
            self.mode = mode_of(record["mode"])
            for one in self._units.values():
                one.board = one.board.in_mode(self.mode)
        elif kind == "trust":
            self.trusts += record["by"] == "gate"
            for one in self._units.values():
                one.trust_again(self.trusts if record["by"] == "gate" else 0)
        elif kind == "distrust":
            for one in self._units.values():
                one.distrust(record["since"])
        for done in released:
            known = done.unit in self._units if done.number == 0 else done.actor is not None
            if known:
                self._note(self._unit(done.unit).settle(done), done)

    def _note(self, alarm: str, step: Step) -> None:
        if alarm:
            self.setbacks += 1
            self.blamed.add(step.policy or "")
            self._untold.alarm(step, alarm)

    def track(self, units: list[Unit]) -> None:
        """Tells the old controller what was just sent, if it wants to know."""
        if self._tracking is None:
            return
        for one in (self._unit(unit).newest for unit in units):
            if one is None or not np.isfinite(one.obs).all():
                continue
            try:
                self._tracking.track(one.obs.copy(), one.action.copy())
            except Exception as error:  # whatever it is, the action must be sent
                self._untold.track_failed(error)

    def go_live(self, saved: int) -> list[dict]:
        """The records so far are read. What happens from now on is told.

        A controller with a memory, which is given anew, hears first what was sent last.

        Args:
            saved: `trusts` when what was learned was saved. A policy that was accepted later is
                lost, and the trust in it.

        Returns:
            Records that are to be written first.
        """
        self._untold = Untold()
        self._clock.go_on()
        self.track(list(self._units))
        return self.distrust(saved)

    def distrust(self, saved: int) -> list[dict]:
        """The records by which the trust in policies that are lost is void; see `go_live`."""
        return [{"kind": "distrust", "since": saved}] if self.trusts > saved else []

    def tell(self) -> None:
        """Warns of what nobody was told of."""
        self._untold.tell()

    def _unit(self, unit: Unit) -> Watched:
        if unit not in self._units:
            self._units[unit] = Watched(self._settings, self.mode)
        return self._units[unit]


def taken(
    record: dict, steps: Steps, supervisor: Supervisor | None
) -> tuple[list[Step], Step | None]:
    """Takes a record: the steps that it has completed, and that which it begins.

    The supervisor, if there is one, notes its alarms at the steps.
    """
    released = list(steps.take(record))
    newest = steps.newest(record["unit"]) if record["kind"] == "act" else None
    if supervisor is not None:
        supervisor.take(record, newest, released)
    return released, newest


def check_mode(mode: str, config: Config) -> None:
    """Raises InputError if there is no such mode, or no budget for its trials."""
    if mode_of(mode) is Mode.CANARY and not config.dip_budget:
        raise InputError(
            "the mode canary tries the new policy within a loss budget, and the run has none; "
            "train one with dip_budget, such as --dip-budget 0.05, or take shadow or on."
        )
