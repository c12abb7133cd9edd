"""A session in operation: its files, its learner, and the way of a step from one to the other."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from moore.data.live_records import Records
from moore.data.live_steps import Step, Steps, Unit, plain
from moore.envs.identity import CUSTOM
from moore.errors import InputError
from moore.files import locked
from moore.runs.policy import Policy
from moore.sessions.acting import Actor
from moore.sessions.folder import LOG, Facts, copy_to
from moore.sessions.held import Held
from moore.sessions.journal import Journal
from moore.sessions.learner_side import LearnerSide
from moore.sessions.start import Start
from moore.sessions.studying import Studying
from moore.sessions.studying_apart import StudyingApart

# Steps of a unit that may wait for their rewards at a time.
PATIENCE = 1000
# What a session without a checkpoint knows.
NEW = {"fed": 0, "finished": [], "number": 0}


class Operation:
    """Everything that is open while a session goes on.

    A record goes to the journal first. Then it is taken: `steps` puts steps together, and complete
    ones go to the feeder, which gives them to the learner. A session that is resumed takes the
    records of its log in the same way.

    Attributes:
        folder: folder of the session.
        log: folder of its log.
        world: dimensions and bounds.
        steps: the steps whose outcome is open.
        studying: learns, here or in another process.
    """

    def __init__(
        self,
        folder: Path,
        facts: Facts,
        start: Start,
        info: dict,
        *,
        elsewhere: Callable[[Path, Studying], StudyingApart] | None = None,
    ):
        """Opens a folder; `info` is that of the checkpoint which `start` was read from, or `NEW`.

        A new session is saved. With `elsewhere` any is, and learning goes on in the process that it
        starts.

        Raises:
            InputError: another process has it open, its log is damaged, or the disk refuses.
        """
        self.folder, self.log = folder, folder / LOG
        self._facts, self._setup = facts, start.setup
        self.world = start.setup.world
        self._actor = Actor(start.setup, facts.seed)
        self._held = Held(self.world.bounds, self.world.max_bad_readings)
        self._acted: set[Unit] = set()  # units for which this session has acted
        self.steps = Steps(PATIENCE)
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(folder))
            here = Studying(folder, facts, start, info)
            self.studying: LearnerSide = here
            stack.callback(lambda: self.studying.close())
            records = Records(self.log)
            for record in records:
                self._take(record)
                self.studying.feed()
            self._journal = Journal(self.log, self._header(), records)
            stack.callback(self._journal.close)
            # What comes next does not follow what came before the session was opened.
            self.take([{"kind": "gap", "unit": unit} for unit in self.steps.open])
            if elsewhere is not None or info is NEW:
                self._journal.sync()
                here.save()
            if elsewhere is not None:
                here.close()
                self.studying = elsewhere(folder, here)
            self.studying.ready()
            self._actor.use(self.studying.turn)
            self._resources = stack.pop_all()

    @property
    def policy(self) -> Policy:
        """The policy that acts."""
        return self._actor.use(self.studying.turn)

    def act(
        self, obs: Float[np.ndarray, "rows obs"], units: list[Unit]
    ) -> Float[np.ndarray, "rows action"]:
        """Actions for the observations of these units; see `Session.act`."""
        self._refuse_several(units)
        good = np.isfinite(obs).all(axis=1)
        self._held.count(units, good)
        actions, density = self._held.actions(units), [None] * len(units)
        waiting = self.steps.open.get(units[0], ())
        turn, random, verdict, notes = self.studying.decide(waiting, obs[0])
        first, policy = self.steps.last + 1, "random"
        if not random:
            self._actor.use(turn)
            policy = self._actor.id
        if good.any():
            drawn = self._actor.draw(obs[good], first, turn, random=random)
            for row, action, value in zip(
                np.flatnonzero(good), drawn.action, drawn.log_density, strict=True
            ):
                if np.isfinite(action).all():
                    actions[row], density[row] = action, value
        about = {"policy": policy, "gate": verdict, **notes, "time": round(time.time(), 3)}
        records = []
        for row, unit in enumerate(units):
            record = {"kind": "act", "step": first + row, "unit": unit, "obs": plain(obs[row])}
            record |= {"action": plain(actions[row]), "log_density": density[row], **about}
            records.append(record)
        self._record(records)
        return actions

    def running(self, unit: Unit) -> Step:
        """The unit's step whose outcome is open.

        Raises:
            InputError: there is none.
        """
        step = self.steps.newest(unit)
        if step is None or step.seen or step.lost:
            raise InputError(
                f"unit {unit!r} has no action whose outcome is open; call act() first, and "
                "observe() once after it."
            )
        return step

    def take(self, records: list[dict]) -> None:
        """Writes records, and learns of the steps that they complete.

        Raises:
            InputError: the disk refuses; nothing is taken then.
        """
        if records:
            self._record(records)
        self.studying.feed()

    def learn(self, *, updates: int | None, seconds: float | None) -> int:
        """Learns; see `Session.learn`."""
        self.studying.feed()
        if self.studying.here:
            self._journal.sync()
        made = self.studying.learn(updates=updates, seconds=seconds)
        self._actor.use(self.studying.turn)
        return made

    def save(self, path: Path | None) -> Path:
        """Saves; see `Session.save`."""
        self.studying.check_sound()
        self.studying.feed()
        self._journal.sync()
        with self.studying.saved():
            if path is None or path == self.folder:
                return self.folder
            copy_to(path, self.folder, self._facts)
            return path

    def close(self) -> None:
        """Closes all files."""
        self._resources.close()

    def _header(self) -> dict:
        """The facts about the session that its log holds."""
        return {
            "session": self._facts.id,
            "env_id": "" if self.world.env_id == CUSTOM else self.world.env_id,
            "action_low": self.world.bounds.low.tolist(),
            "action_high": self.world.bounds.high.tolist(),
            "patience": PATIENCE,
        }

    def _refuse_several(self, units: list[Unit]) -> None:
        """A dip budget counts one episode after the other."""
        if self._setup.config.dip_budget is None:
            return
        if len({*units, *self._acted}) > 1:
            raise InputError(
                "the run has a dip budget, which counts one episode after the other; use one unit, "
                "or a session for each."
            )

    def _record(self, records: list[dict]) -> None:
        """Writes records and takes them; what they complete is fed later."""
        self._journal.write(records)
        for record in records:
            self._take(record)

    def _take(self, record: dict) -> None:
        for step in self.steps.take(record):
            self.studying.add(step)
            if step.ends:
                self._held.end_episode(step.unit)
        if record["kind"] == "act" and record["policy"] is not None:
            self._acted.add(record["unit"])
            if None not in record["obs"]:
                self._held.keep(record["unit"], np.asarray(record["action"], np.float32))
