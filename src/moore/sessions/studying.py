"""Learning in this process, within a number of updates or seconds, and the rows of metrics."""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from moore.errors import InputError, TurnError, WriteError
from moore.files import short_path
from moore.formats.live_steps import Step
from moore.sessions.feeder import Feeder
from moore.sessions.folder import SessionFacts, save_state
from moore.sessions.learner_report import LearnerReport
from moore.sessions.learner_side import Decision, knows_episode, updates_due
from moore.sessions.publication import LEARNER, read_policy
from moore.sessions.start import Start
from moore.sessions.supervisor import Supervisor
from moore.sinks.json_lines import MetricsFile
from moore.stages.budget import DipBudget
from moore.stages.choosing import Turn
from moore.stages.supervised import SupervisedBudget
from moore.stages.trials import Trials


class Studying:
    """Carries out `OnlineLearning.learn` for a session, as far as the caller's time allows.

    Attributes:
        learning: the online stage.
        feeder: hands it the steps.
        updates: number of updates that the session has made.
        setup: the parts of the run.
        heard: number of the guard's setbacks that were known when a policy was accepted last.
        sound: whether the learner's state is whole; it is not after an error while learning.
    """

    here, ended = True, False

    def __init__(
        self,
        folder: Path,
        facts: SessionFacts,
        start: Start,
        info: dict,
        supervisor: Supervisor | None = None,
    ):
        """Goes on from the information of a checkpoint; an empty one begins."""
        self._folder, self._facts, self.setup = folder, facts, start.setup
        self._supervisor, self.heard = supervisor, 0
        self.learning = start.learning
        self.feeder = Feeder(
            start.setup, start.learning, skip=info["fed"], finished=info["finished"],
            published=self._published,
        )  # fmt: skip
        self.updates = info.get("updates", 0)
        self._skipped = info["fed"]
        self._number, self._beyond = info["number"], info.get("beyond", 0)
        self.sound = True
        self._released: list[Step] = []
        kept = info.get("metrics", {}).get("bytes", 0)
        then = ", then go on with moore.Session.resume"
        self._rows: list[dict] = []  # of metrics, that the disk did not take yet
        self._metrics = MetricsFile(folder / "metrics.jsonl", keep_bytes=kept, then=then)
        self.close = self._metrics.close

    def _published(self, number: int) -> PyTree:
        """A policy that a learner process has published."""
        like = self.learning.learner.policy(self.learning.state)
        found = read_policy(self._folder / LEARNER, number, like)
        return jax.tree.map(jnp.asarray, found)

    @property
    def turn(self) -> Turn:
        return self.learning.chooser.turn(self.learning.state)

    @property
    def due(self) -> int:
        learning, config = self.learning, self.learning.learner.config.online
        learned, observed = learning.steps_learned, learning.steps_observed
        return updates_due(config, learned=learned, observed=observed)

    @property
    def verdict(self) -> bool | None:
        return self.learning.verdict

    @property
    def account(self) -> DipBudget | None:
        chooser = self.learning.chooser
        return chooser.budget if isinstance(chooser, Trials) else None

    @property
    def report(self) -> LearnerReport:
        trouble = "" if self.sound else "learning was interrupted by an error"
        return LearnerReport(
            None, self.sound, self.learning.steps_learned, self.updates, self.due, trouble=trouble
        )

    def ready(self) -> None:
        self.feeder.make_room()
        self.learning.rehearse()

    def decide(
        self, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"], *, trying: bool = False
    ) -> Decision:
        del obs
        account, learning = self.account, self.learning
        # Asked first, because the account may decide now whose turn it is.
        affordable = (
            isinstance(account, SupervisedBudget)
            and self.sound
            and trying
            and knows_episode(waiting)
            and account.lets_others_act
        )
        return Decision(self.turn, learning.random, learning.verdict, {}, affordable)

    def add(self, step: Step) -> None:
        self._released.append(step)

    def feed(self) -> None:
        """Gives the learner the steps with known results; a broken one leaves them on disk."""
        if self.sound:
            steps, self._released = self._released, []
            for step in steps:
                self.feeder.add(step)

    def check_log(self, folder: Path, notes: Sequence[str]) -> None:
        """Warns of what is missing in the log that was read to its end.

        Args:
            folder: the folder of the log.
            notes: what was left out of it.

        Raises:
            InputError: it lacks steps that the saved state has learned from.
        """
        for note in notes:
            warnings.warn(f"{short_path(folder)}: {note}.", stacklevel=4)
        if self.feeder.fed < self._skipped:
            raise InputError(
                f"{short_path(folder)} has {self.feeder.fed} complete steps, the saved state has "
                f"learned from {self._skipped}: the log was cut, or a file of it is missing. Put "
                "back a copy of the folder, or begin a new session and give it what is left of the "
                "log."
            )

    def check_sound(self) -> None:
        if not self.sound:
            raise TurnError(
                "learning was interrupted by an error, so its state is not whole and is not saved; "
                f"moore.Session.resume({str(self._folder)!r}) goes on from the one before, and no "
                "step is lost."
            )

    def save(self) -> None:
        """Saves everything that was learned.

        Raises:
            InputError: the disk refuses, or the state is not whole.
        """
        self.check_sound()
        self._write_rows()
        self._number += 1
        info = {
            "number": self._number, "session": self._facts.id, "updates": self.updates,
            "beyond": self._beyond, "metrics": self._metrics.mark, "fed": self.feeder.fed,
            "finished": self.feeder.finished,
        }  # fmt: skip
        if self._supervisor is not None:
            info["trusts"] = self._supervisor.trusts
        policy = self.setup.policy(self.turn.policy())
        save_state(self._folder, self._number, self.setup, self.learning, policy, info)

    @contextlib.contextmanager
    def saved(self) -> Iterator[None]:
        self.save()
        yield

    def restart(self) -> None:
        raise InputError(
            "learning runs in calls of learn(), so there is no process to be started; open the "
            "session with learner='process' for one."
        )

    def learn(self, *, updates: int | None, seconds: float | None, beyond: bool = True) -> int:
        wanted = time_or_updates(updates, seconds)
        beyond = beyond and not (updates is None and seconds is None)
        self.check_sound()
        self.feeder.make_room()
        made = 0
        while wanted(made):
            if (found := self.learn_due()) is not None:
                made += found
            elif not beyond or not self.learning.ready:
                break
            else:
                made += self.learn_beyond()
        return made

    def learn_due(self) -> int | None:
        """Does what is due after one step; the number of updates, or None if nothing is due.

        After the last step of an epoch it ends the epoch.
        """
        self.check_sound()
        learning = self.learning
        if not learning.due:
            return None
        self.sound, accepted = False, learning.accepted
        made = learning.learn(self.feeder.take_returns)
        self._hear(accepted)
        self.updates += made
        steps, epoch = learning.learner.config.online.steps_per_epoch, learning.epoch
        if epoch.learned >= steps:
            row = {"stage": "online", "epoch": epoch.number, "env_steps": learning.steps_learned}
            row["updates"] = self.updates
            self._rows.append(row | learning.end_epoch(self.feeder.take_returns()))
            learning.begin_epoch(epoch.number + 1, observed=epoch.observed - steps)
        self.sound = True
        with contextlib.suppress(WriteError):  # the next epoch, or `save`, writes it
            self._write_rows()
        return made

    def _write_rows(self) -> None:
        """Writes the rows of metrics that are still to be written; WriteError: some remain."""
        while self._rows:
            self._metrics.write(self._rows[0])
            del self._rows[0]

    def learn_beyond(self) -> int:
        """A group of updates that no step asks for, with a refresh as often as steps have one."""
        self.check_sound()
        self.sound = False
        config = self.learning.learner.config.online
        groups = max(config.refit_every // config.update_every, 1)
        if self._beyond % groups == 0:
            accepted = self.learning.accepted
            self.learning.refresh(self.feeder.take_returns)
            self._hear(accepted)
        self._beyond += 1
        made = self.learning.update()
        self.updates += made
        self.sound = True
        return made

    def _hear(self, accepted: int) -> None:
        """Keeps which setbacks were known, if a policy was accepted since there were so many."""
        if self.learning.accepted > accepted and self._supervisor is not None:
            self.heard = self._supervisor.setbacks


def check_time_or_updates(updates: object, seconds: object) -> None:
    """Raises InputError if both are given, one is negative, or updates are no whole number."""
    if updates is not None and seconds is not None:
        raise InputError("learn() takes updates= or seconds=, not both.")
    for name, value in (("updates", updates), ("seconds", seconds)):
        is_number = isinstance(value, int | float | np.integer | np.floating) and value >= 0
        if value is not None and (isinstance(value, bool) or not is_number):
            raise InputError(f"{name} is {value!r}; expected a number of at least 0.")
    if updates is not None and not float(updates).is_integer():  # type: ignore[arg-type]
        raise InputError(f"updates is {updates!r}; expected a whole number.")


def time_or_updates(updates: int | None, seconds: float | None) -> Callable[[int], bool]:
    """Whether there is room for more, after so many updates."""
    check_time_or_updates(updates, seconds)
    if updates is not None:
        return lambda made: made < updates
    if seconds is None:
        return lambda made: True
    end = time.monotonic() + seconds
    return lambda made: time.monotonic() < end
