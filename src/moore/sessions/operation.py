"""A session in operation: its files, its learner, and the way of a step from one to the other."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from moore.errors import InputError, WriteError
from moore.files import locked
from moore.formats.live_records import Records
from moore.formats.live_steps import Step, Steps, Unit, plain
from moore.guarding.modes import Mode
from moore.runs.policy import Policy
from moore.sessions.acting import ActingPolicy, Proposed
from moore.sessions.beside import standing_by
from moore.sessions.blocks import with_signals
from moore.sessions.bulletin import Bulletin
from moore.sessions.decided import Decided, entries
from moore.sessions.folder import LOG, SessionFacts, copy_to, saved_trusts
from moore.sessions.held import Held
from moore.sessions.journal import Journal, header_of
from moore.sessions.learner_side import Decision, LearnerSide
from moore.sessions.likeness import Likeness
from moore.sessions.recording import Recording
from moore.sessions.start import Start
from moore.sessions.studying import Studying
from moore.sessions.studying_apart import StudyingApart
from moore.sessions.supervisor import Supervisor, check_mode, taken
from moore.sessions.telling import Status, bulletin_of, status_of
from moore.sessions.watched import UnitStanding

# Steps of a unit that may wait for their rewards at a time.
PATIENCE = 1000
# What a session without a checkpoint knows.
NEW = {"fed": 0, "finished": [], "number": 0}


class Operation:
    """Everything that is open while a session goes on.

    A record goes to the journal first. Then it is taken: `steps` puts steps together, and the
    feeder gives complete ones to the learner. A resumed session takes its log's records alike.

    Attributes:
        folder, log: folders of the session and of its log.
        world: dimensions and bounds.
        steps: the steps whose outcome is open.
        studying: learns, here or in another process.
        logs_taken: hashes of the logs whose rows the learner has, that of the run among them.
        likeness: compares what is met with the log.
        bulletin: tells others how the session stands.
    """

    def __init__(
        self,
        folder: Path,
        facts: SessionFacts,
        start: Start,
        info: dict,
        supervisor: Supervisor | None = None,
        *,
        elsewhere: Callable[[Path, Studying], StudyingApart] | None = None,
    ):
        """Opens a folder; `info` is that of the checkpoint which `start` was read from, or `NEW`.

        `supervisor` decides who acts if a controller that ran before stands by. `elsewhere` starts
        the process in which learning goes on; by default it goes on here. The session is saved at
        once if it is new or if another process is to learn, which begins with what was saved.

        Raises:
            InputError: another process has it open, its log is damaged, or the disk refuses.
        """
        self.folder, self.log = folder, folder / LOG
        self._facts, self._setup, self.supervisor = facts, start.setup, supervisor
        self.world, self.bulletin = start.setup.world, Bulletin(folder)
        self._actor = ActingPolicy(start.setup, facts.seed)
        self._held = Held(self.world.bounds, self.world.max_bad_readings)
        self._acted: set[Unit] = set()  # units for which this session has acted
        log = start.setup.dataset
        self.likeness = Likeness(log, self.world.known_limit)
        self.logs_taken = set() if log is None else {log.sha256}
        self.steps = Steps(PATIENCE)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(folder))
            here = Studying(folder, facts, start, info, supervisor)
            self.studying: LearnerSide = here
            stack.callback(lambda: self.studying.close())
            records = Records(self.log)
            for record in records:
                self._take(record)
                self.studying.feed()
            here.check_log(self.log, records.notes)
            header = header_of(facts.id, self.world, PATIENCE)
            self._journal = Journal(self.log, header, records)
            stack.callback(self._journal.close)
            self._recording = Recording(self._journal)
            # Nothing that comes follows what came before.
            gaps = [{"kind": "gap", "unit": unit} for unit in self.steps.open]
            lost = [] if supervisor is None else supervisor.go_live(info.get("trusts", 0))
            self.take([*gaps, *lost])
            if elsewhere is not None or info is NEW:
                self._journal.sync()
                here.save()
            if elsewhere is not None:
                here.close()
                self.studying = elsewhere(folder, here)
            self.studying.ready()
            self._actor.use(self.studying.turn)
            stack.callback(lambda: self.bulletin.tell(self._told, closed=True))
            self._resources = stack.pop_all()

    @property
    def policy(self) -> Policy:
        """The policy that acts."""
        return self._actor.use(self.studying.turn)

    @property
    def mode(self) -> str | None:
        """See `Session.mode`."""
        return None if self.supervisor is None else str(self.supervisor.mode)

    @property
    def standing(self) -> dict[Unit, UnitStanding]:
        """See `Session.standing`."""
        return {} if self.supervisor is None else self.supervisor.standing

    @property
    def status(self) -> Status:
        """How the session stands."""
        self._actor.use(self.studying.turn)
        return status_of(
            self._actor.id, self.steps, self.studying, self.supervisor,
            unrecorded=self._recording.trouble, world=self.world,
        )  # fmt: skip

    def act(
        self,
        obs: Float[np.ndarray, "rows obs"],
        units: list[Unit],
        observed_at: float | None = None,
    ) -> Float[np.ndarray, "rows action"]:
        """Actions for the observations of these units; see `Session.act`."""
        self._refuse_several(units)
        good = np.isfinite(obs).all(axis=1)
        self.likeness.look(obs[good])
        self._held.count(units, good)
        held, supervisor = self._held.actions(units), self.supervisor
        if not self.studying.here:
            self._trust_again()
        waiting = self.steps.open.get(units[0], ())
        chosen = self.studying.decide(waiting, obs[0], trying=self._trying)
        proposed = None if self.mode == Mode.OFF else self._propose(obs, good, chosen)
        decided: list[Decided] = []
        if supervisor is None:
            assert proposed is not None
            actions = np.where(proposed.usable[:, None], proposed.action, held)
            told = proposed.entries
        else:
            decided = supervisor.decide(
                obs, units, good=good, held=held,
                proposed=proposed, affordable=chosen.affordable, observed_at=observed_at,
            )  # fmt: skip
            actions = np.array([one.action for one in decided])
            told = entries(decided, proposed)
        about = {"gate": chosen.verdict, **chosen.notes, "time": round(time.time(), 3)}
        records = [
            {"kind": "act", "step": self.steps.last + 1 + row, "unit": unit}
            | {"obs": plain(obs[row]), "action": plain(actions[row]), **told[row], **about}
            for row, unit in enumerate(units)
        ]
        return self._send(records, obs, units, actions, decided)

    def _send(
        self,
        records: list[dict],
        obs: Float[np.ndarray, "rows obs"],
        units: list[Unit],
        actions: Float[np.ndarray, "rows action"],
        decided: list[Decided],
    ) -> Float[np.ndarray, "rows action"]:
        """Records the actions and returns them, or the old controller's if the disk refuses."""
        try:
            self._record(records)
        except WriteError as error:
            self._recording.miss(units)
            if self.supervisor is None:
                raise
            decided = self.supervisor.without_new(decided, obs, units, str(error))
            actions = np.array([one.action for one in decided])
        if self.supervisor is not None:
            self.supervisor.track(units)
            self._recording.tell()
        return actions

    def _propose(
        self, obs: Float[np.ndarray, "rows obs"], good: Bool[np.ndarray, " rows"], chosen: Decision
    ) -> Proposed:
        """What the policy whose turn it is would do; nothing for observations that are not good."""
        random, policy = chosen.random and self.supervisor is None, "random"
        if not random:
            self._actor.use(chosen.turn)
            policy = self._actor.id
        found = Proposed.nothing(len(obs), self.world.bounds.low.size, policy)
        if good.any():
            drawn = self._actor.draw(obs[good], self.steps.last + 1, chosen.turn, random=random)
            found.fill(good, drawn)
        return found

    @property
    def _trying(self) -> bool:
        """Whether the new policy may act if the loss budget allows it."""
        one = self.supervisor
        return one is not None and one.mode is Mode.CANARY and not one.distrusted

    def observe(
        self, units: list[Unit], outcomes_of: Callable[[list[Step]], list[dict]], signals: Any
    ) -> list[int]:
        """Takes what came of the newest actions of units; see `Session.observe`.

        Returns:
            The numbers of the steps; 0 where the disk refuses, which stops no old controller.
        """
        beside = self.supervisor is not None
        steps = [self._recording.running(self.steps, unit, beside=beside) for unit in units]
        records = with_signals(outcomes_of(steps), signals, self.supervisor)
        try:
            self.take([record for record in records if record["step"]])
        except WriteError:
            if self.supervisor is None:
                raise
            self._recording.tell()
            return [0] * len(units)
        return [record["step"] for record in records]

    def take(self, records: list[dict]) -> None:
        """Writes records, and learns of the steps that they complete.

        Raises:
            InputError: the disk refuses; nothing is taken then.
        """
        if records:
            self._record(records)
        self.studying.feed()
        self.likeness.tell()
        self.bulletin.tell(self._told)

    def _told(self) -> dict[str, Any]:
        how = {"unrecorded": self._recording.trouble}
        return bulletin_of(self.mode, self.standing, self.steps, self.studying, **how)

    def set_mode(self, mode: str) -> None:
        """See `Session.set_mode`."""
        standing_by(self.supervisor)
        check_mode(mode, self._setup.config)
        self.take([{"kind": "mode", "mode": mode, "time": round(time.time(), 3)}])

    def trust_again(self) -> None:
        """See `Session.trust_again`."""
        supervisor = standing_by(self.supervisor)
        if self._setup.learner.gated:
            raise InputError(
                "the user need not say that the new policy is trusted again: it is as soon as a "
                "newer one is accepted, by the models or for a trial."
            )
        if supervisor.distrusted and not supervisor.may_be_trusted(by_user=True):
            why = supervisor.awaits_of_a_person
            raise InputError(f"the new policy cannot act again before its cause is gone: {why}")
        self.take([{"kind": "trust", "by": "user"}])

    def learn(self, *, updates: int | None, seconds: float | None, beyond: bool = True) -> int:
        """Learns; see `Session.learn` and `LearnerSide.learn`."""
        self.studying.feed()
        if self.studying.here:
            self._journal.sync()
        made = self.studying.learn(updates=updates, seconds=seconds, beyond=beyond)
        self._actor.use(self.studying.turn)
        self._trust_again()
        return made

    def _trust_again(self) -> None:
        """After an alarm: the new policy may act again, for the gate has accepted a newer one.

        The gate must have accepted it after the signals were last out of their limits, and they
        must have kept them for long enough.
        """
        supervisor = self.supervisor
        if supervisor is None or not supervisor.may_be_trusted(by_user=False):
            return
        if self.studying.heard < supervisor.setbacks:
            return
        self._actor.use(self.studying.turn)
        if self._actor.id not in supervisor.blamed:
            with contextlib.suppress(WriteError):  # the next action asks again
                self.take([{"kind": "trust", "by": "gate", "policy": self._actor.id}])

    def restart_learner(self) -> None:
        """See `Session.restart_learner`; the trust in a policy that it has lost is void."""
        if self.supervisor is not None and self.studying.ended:
            self.take(self.supervisor.distrust(saved_trusts(self.folder)))
        self.studying.restart()

    def save(self, path: Path | None) -> Path:
        """Saves; see `Session.save`."""
        self.studying.check_sound()
        self.studying.feed()
        self._journal.sync()
        with self.studying.saved():
            if path is not None and path != self.folder:
                copy_to(path, self.folder, self._facts)
        return path or self.folder

    def close(self) -> None:
        """Closes all files."""
        self._resources.close()

    def _refuse_several(self, units: list[Unit]) -> None:
        """A dip budget counts one episode after the other."""
        if self._setup.config.dip_budget is not None and len({*units, *self._acted}) > 1:
            one = "the run has a dip budget, which counts one episode after the other"
            raise InputError(f"{one}; use one unit, or a session for each.")

    def _record(self, records: list[dict]) -> None:
        """Writes records and takes them; what they complete is fed later."""
        for record in self._recording.write(records):
            self._take(record)
        if self.supervisor is not None:
            self.supervisor.tell()

    def _take(self, record: dict) -> None:
        self.logs_taken |= {record["log"]} if "log" in record else set()
        released, newest = taken(record, self.steps, self.supervisor)
        for step in released:
            self.studying.add(step)
            self.likeness.add(step)
            if step.ends:
                self._held.end_episode(step.unit)
        if newest is not None and newest.own:
            self._acted.add(newest.unit)
            if np.isfinite(newest.obs).all():
                self._held.keep(newest.unit, newest.action)
