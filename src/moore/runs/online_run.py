"""Carries out the online stage of a run, with the system, evaluation and checkpoints."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import PyTree

from moore.envs.collector import Collector
from moore.jax_settings import as_the_user
from moore.lockstep.program import reached
from moore.runs.budgeting import make_chooser
from moore.runs.checkpoint import Checkpoint
from moore.runs.hand_over import ACCEPT_FIRST, check_first
from moore.runs.live import Guarded
from moore.runs.measures import Measures
from moore.runs.met import newest_rows, seems_reset, unlike_the_log
from moore.runs.run_files import Acting, RunFiles, unpack
from moore.runs.setup import Setup
from moore.runs.signals import Stop, Stopped
from moore.sinks.console import Reporter
from moore.stages import epoch_diagnostics
from moore.stages.epoch import Epoch
from moore.stages.learner import LearnerState
from moore.stages.online import online_stage
from moore.trees import copied

_MET = 100  # newest transitions that are compared with the log, or those of an epoch
_ENDS_MET = 20_000  # newest transitions whose ends are looked at

Until = Callable[[dict, LearnerState], bool]


@dataclass(frozen=True)
class Begun:
    """The point at which an online stage begins or goes on.

    Attributes:
        state: state of the learner.
        done: number of epochs that are done.
        checkpoint: checkpoint that it goes on from; None at the hand-over.
        before: policy and models that an epoch under way is compared with.
        epoch: epoch under way, if it was stopped in the middle.
    """

    state: LearnerState
    done: int = 0
    checkpoint: Checkpoint | None = None
    before: PyTree = None
    epoch: Epoch | None = None


class OnlineRun:
    """One execution of the online stage.

    Attributes:
        acting: the running episode, and the object that decides who acts.
        before: policy and models at the end of the previous epoch.
        told: kinds of differences from the log that were said.
        kept: the epoch under way, with the state after its newest step.
    """

    def __init__(
        self,
        setup: Setup,
        files: RunFiles,
        measures: Measures,
        begun: Begun,
        *,
        until: Until | None,
        stop: Stop,
        report: Reporter,
        offline_epochs: int,
    ):
        self.setup, self.learner = setup, setup.learner
        self.files, self.measures, self.begun = files, measures, begun
        self.until, self.stop, self.report = until, stop, report
        self.offline_epochs = offline_epochs
        live = setup.world.make_system()
        self.live = live
        collector = Collector(live, setup.config.seed, setup.units, on_fault=self._say_fault)
        checkpoint = begun.checkpoint
        choice = {} if checkpoint is None else checkpoint.info["choice"]
        arrays = {} if checkpoint is None else checkpoint.arrays
        # A simulator can be reset at any time; a plant goes on.
        chooser = make_chooser(
            setup, begun.state, choice, arrays, cuts=not setup.live, explores=True
        )
        self.acting = Acting(collector, chooser)
        self.before = begun.before
        self.told: set[str] = set()
        self.kept = None if begun.epoch is None else (begun.epoch, begun.state)

    def execute(self) -> None:
        """Carries out all epochs, or those that are left.

        Raises:
            Stopped: a signal asked to stop; a checkpoint was made.
        """
        collector, begun = self.acting.collector, self.begun
        with contextlib.closing(collector):
            self.measures.evaluator.refuse_shared_with(self.live)
            reached(1, 0)
            state = self._enter()
            self.report.start("online", self.setup.config.online.epochs, begun.done)
            if begun.epoch is None:
                self.before = epoch_diagnostics.policy_in_models(self.learner, state)
            system = Guarded(collector)
            try:
                self._look_first(system)
                online_stage(
                    self.learner,
                    state,
                    system,
                    done=begun.done,
                    epoch=begun.epoch,
                    on_epoch=self._on_epoch,
                    on_step=self._keep,
                    on_pass=self._on_pass,
                    chooser=self.acting.chooser,
                )
            except BaseException as error:
                in_order = isinstance(error, Stopped) and error.in_order
                if self.kept is not None and (in_order or system.failed):
                    self.files.save_part(*self.kept, self.before, self.acting)
                raise

    def _on_pass(self, done: int, errors: tuple[float, ...]) -> None:
        """Between passes of a refit, which have errors, and epochs of a rehearsal, which do not."""
        self.stop.check()
        if not errors and self.kept is not None:
            count = self.setup.config.online.rehearsal_epochs
            self._tell(self.kept[0], f"learning in the models: {done} of {count} epochs")

    def _enter(self) -> LearnerState:
        """Writes the row of the hand-over, or replays the running episode of a checkpoint."""
        begun, live = self.begun, self.setup.live
        if begun.checkpoint is None:
            self._record_hand_over(begun.state)
            return begun.state
        if self.acting.collector.restore(unpack(begun.checkpoint), replay=not live):
            return begun.state
        why = "cannot be replayed in a live system" if live else "could not be replayed exactly"
        self.report.say(f"the running episode {why}; a new one begins.")
        if begun.epoch is not None:
            begun.epoch.in_episode = False
        state = self.acting.chooser.new_episode(begun.state)
        # The next row does not follow. What was begun with may be saved again: its D_on is kept.
        return self.learner.cut(dataclasses.replace(state, online=copied(state.online)))

    def _look_first(self, system: Guarded) -> None:
        """Compares what a live system shows first with the log; nothing has been sent yet."""
        setup = self.setup
        if setup.live and not system.in_episode and ACCEPT_FIRST not in setup.config.accept:
            system.observation()
            if not self.live.blind:
                check_first(self.live.seen, setup.dataset)

    def _record_hand_over(self, state: LearnerState) -> None:
        """Writes online epoch 0: the policy without noise and as it acts, before any step."""
        row = self.measures.place("online", 0, self.offline_epochs) | self.measures.of_policy(state)
        self.files.write(row | {"online/episode_returns": self.measures.of_acting(state, row)})

    def _say_fault(self, fault: str) -> None:
        self.report.say(
            f"the live system gave a reading that is not finite: {fault}; the transition is left "
            "out, and the last good action is sent while the observation is bad."
        )

    def _tell_of_new_rows(self, state: LearnerState) -> None:
        """Says once of each kind how the epoch's transitions are unlike those of the log."""
        config, log = self.setup.config, self.setup.dataset
        if log is None or ACCEPT_FIRST in config.accept:
            return
        met = newest_rows(self.learner, state, max(config.online.steps_per_epoch, _MET))
        found = unlike_the_log(met, log, self.setup.world.known_limit)
        for kind, told in found.items():
            self._tell_once(kind, told)

    def _tell_of_resets(self, state: LearnerState) -> None:
        """Says once that the system resets itself, if its ends look so."""
        if "resets" not in self.told:
            told = seems_reset(newest_rows(self.learner, state, _ENDS_MET))
            self._tell_once("resets", told)

    def _tell_once(self, kind: str, told: str) -> None:
        if told and kind not in self.told:
            self.told.add(kind)
            self.report.say(told)

    def _keep(self, epoch: Epoch, state: LearnerState) -> None:
        """Keeps the step, so that a run that is stopped now loses no real transition."""
        self.kept = epoch, state
        reached(1, epoch.number, epoch.observed)
        self._tell(epoch)
        self.stop.check()

    def _tell(self, epoch: Epoch, doing: str = "") -> None:
        """Shows how far the stage is."""
        share = epoch.learned / self.setup.config.online.steps_per_epoch
        self.report.under_way(epoch.number - 1 + share, doing)

    def _on_epoch(self, epoch: int, state: LearnerState, metrics: dict) -> bool:
        kept, self.kept = self.kept, None
        measures = self.measures
        self._tell_of_new_rows(state)
        self._tell_of_resets(state)
        try:
            row = measures.place("online", epoch, self.offline_epochs) | measures.of_policy(state)
        except Exception:
            if kept is not None:
                self.files.save_part(kept[0], state, self.before, self.acting)
            raise
        row |= measures.of_scheme(state, epoch)
        row |= epoch_diagnostics.compare_epochs(self.learner, self.before, state, epoch)
        self.before = epoch_diagnostics.policy_in_models(self.learner, state)
        row |= metrics
        ends = self.until is not None and as_the_user(self.until)(row, state)
        last = ends or epoch == self.setup.config.online.epochs
        self.files.end_epoch(row, state, self.acting, last=last, stopping=self.stop.asked)
        if not last:
            self.stop.check()
        return ends
