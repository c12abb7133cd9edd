"""Carries out the stages of a run, with evaluation, logs, checkpoints and the report."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import PyTree

from moore.config import read_toml
from moore.errors import InputError, WriteError, in_short
from moore.files import short_path, write_whole
from moore.lockstep.program import reached
from moore.runs.checkpoint import Checkpoint
from moore.runs.folder import read_metrics
from moore.runs.hand_over import ACCEPT, check_hand_over, hand_over, was_cloned
from moore.runs.log_checks import note_on_log
from moore.runs.measures import Measures
from moore.runs.mirror import Mirror
from moore.runs.online_run import Begun, OnlineRun
from moore.runs.online_run import Until as Until
from moore.runs.plan import Plan, how_to_resume
from moore.runs.policy import Policy, load_policy
from moore.runs.reading import load_hand_over, offline_rows
from moore.runs.report import write_report
from moore.runs.run_files import HAND_OVER, RunFiles, from_hand_over
from moore.runs.setup import Evaluator, Setup
from moore.runs.signals import Stop
from moore.runs.summary import skipped_updates, summarise
from moore.runs.units import note_on_units
from moore.sinks.console import Reporter
from moore.sinks.json_lines import jsonable
from moore.stages.epoch import Epoch, unpack_epoch
from moore.stages.first_policy import why_not_believed
from moore.stages.from_log import learn_from_log
from moore.stages.learner import LearnerState
from moore.stages.offline import offline_stage, why_it_ends

_ANSWER = "\nmoore: stopping, nothing is lost; a second Ctrl-C stops at once.\n"


@dataclass(frozen=True)
class RunResult:
    """The result of a run: its folder, the content of summary.json, and the policy."""

    folder: Path
    summary: dict
    policy: Policy


def execute(
    setup: Setup,
    folder: Path,
    plan: Plan,
    checkpoint: Checkpoint | None,
    *,
    until: Until | None,
    stop: Stop,
    mirror: Mirror | None = None,
    quiet: bool,
) -> RunResult:
    """Carries out both stages of a run, or what is left of them after the checkpoint.

    Raises:
        Stopped: a signal asked to stop; a checkpoint was made.
    """
    assert plan.config is not None  # `go_on` completes the plans of earlier versions
    report = Reporter(quiet=quiet)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.patience("" if quiet else _ANSWER))
        stack.callback(report.stop)
        files = RunFiles(setup, folder, plan.config, checkpoint, report, mirror)
        stack.enter_context(contextlib.closing(files))
        evaluator = stack.enter_context(contextlib.closing(Evaluator(setup)))
        measures = Measures(setup, evaluator)
        try:
            run = Execution(setup, folder, plan, files, measures, report, until, stop)
            result = run.both_stages(checkpoint)
            stop.check()
            return result
        except KeyboardInterrupt:
            report.stop()
            report.say(f"interrupted; go on with: {how_to_resume(folder, plan, until=until)}")
            raise
        except Exception as error:
            report.stop()
            # A refusal before the online stage says itself what to do.
            kept = "online-*" if isinstance(error, InputError) else "*-epoch-*"
            if any((folder / "checkpoints").glob(kept)) and not isinstance(error, WriteError):
                report.say(
                    f"stopped by {in_short(error)}; what was done is kept. Go on with: "
                    f"{how_to_resume(folder, plan, until=until)}"
                )
            raise


class Execution:
    """Carries out the stages of one run while its files and environments are open."""

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        plan: Plan,
        files: RunFiles,
        measures: Measures,
        report: Reporter,
        until: Until | None,
        stop: Stop,
    ):
        self.setup, self.folder, self.until = setup, folder, until
        self.stages, self.start = plan.stages, plan.start
        self.learner, self.config = setup.learner, setup.config
        self.files, self.measures = files, measures
        self.report, self.stop = report, stop

    def both_stages(self, checkpoint: Checkpoint | None) -> RunResult:
        """Does all that is left to do, then writes summary and report."""
        info: dict = checkpoint.info if checkpoint else {"stage": "offline", "epoch": None}
        stage, done = info["stage"], info["epoch"]
        self.report.say(self._headline(checkpoint))
        if others := self.stop.lost():
            self.report.say(
                f"the environment handles {' and '.join(others)} itself: what these signals do is "
                "up to it, and the epoch under way may be lost."
            )
        state, before, epoch = self._parts(checkpoint)
        if checkpoint:
            self.files.save_policy(state)  # the run may have been killed before this was written
        if stage == "offline" and self.stages != "online" and self.learner.algorithm.uses_log:
            state = self._offline(state, done)
        if stage != "online":
            if stage == "offline" and self.start is None:
                state = self._learn_from_log(state)
            self._report_hand_over()
            self.files.save_hand_over(state)
            state, done = self.learner.hand_over(state), 0
        if self.stages != "offline":
            if stage != "online":
                self._check_hand_over()
            under_way = checkpoint if stage == "online" else None
            self._online(Begun(state, done, under_way, before, epoch))
        return self._finish()

    def _parts(self, checkpoint: Checkpoint | None) -> tuple[LearnerState, PyTree, Epoch | None]:
        """The learner's state, the policy an epoch under way compares with, and this epoch."""
        if checkpoint is None:
            return self._fresh_state(), None, None
        if checkpoint.info["stage"] == HAND_OVER:
            fresh = self.learner.init(self.setup.key)
            return from_hand_over(self.learner, fresh, checkpoint.state), None, None
        if "part" not in checkpoint.info:
            return checkpoint.state, None, None
        epoch = unpack_epoch(checkpoint.info["part"], checkpoint.arrays)
        return checkpoint.state["learner"], checkpoint.state["before"], epoch

    def _headline(self, checkpoint: Checkpoint | None) -> str:
        config = self.config
        log = self.setup.dataset if self.learner.algorithm.uses_log else None
        name = "without a log" if log is None else f"{log.name} ({log.total:,} transitions)"
        what = f"{config.algorithm} on {config.env_id}, {name}"
        where = "" if checkpoint is None else f", from checkpoint {checkpoint.path.name}"
        note = ""
        if log is not None:
            if log.env_id not in (None, config.env_id):
                note = f"\nnote: the log was recorded in {log.env_id}"
            bounds = self.setup.world.bounds
            about = note_on_log(self.learner.algorithm, self.learner.agent_config, log, bounds)
            note += "" if about is None else f"\nnote: {about}"
        note += "".join(f"\nnote: {about}" for about in self.setup.notes)
        note += note_on_units(config, self.setup.dataset)
        return f"{what}, seed {config.seed}{where}{note}\n{short_path(self.folder)}"

    def _fresh_state(self) -> LearnerState:
        """The state of a new learner, or the one that another run's offline stage has made."""
        state = self.learner.init(self.setup.key)
        if self.start is None:
            return state
        for row in offline_rows(self.start):
            self.files.write(row)
        self.files.take_clone(self.start)
        parts = load_hand_over(self.setup, self.start)
        # With the same seed the two runs equal a single one; another seed draws its own numbers.
        if read_toml(self.start / "config.toml").seed != self.config.seed:
            parts["key"] = state.key
        return from_hand_over(self.learner, state, parts)

    def _offline(self, state: LearnerState, done: int | None) -> LearnerState:
        epochs = self.config.offline.epochs
        self.report.start("offline", epochs, done or 0)

        def on_pass(steps: int, errors: tuple[float, ...]) -> None:
            self.stop.check()
            most, best = self.config.model.max_fit_steps, min(errors)
            doing = f"fitting the models: {steps:,} steps of {most:,} at most, error {best:.2g}"
            self.report.under_way(0, doing)

        def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> None:
            row = self.measures.place("offline", epoch, epoch)
            if epoch > 0 or epochs == 0:
                row |= self.measures.of_policy(state)
            if metrics.get("clone/acts"):
                row |= self.measures.of_clone(state)
                self.files.save_clone(state)
            last = epoch == epochs
            self.files.end_epoch(row | metrics, state, None, last=last, stopping=self.stop.asked)
            reached(0, epoch + 1)
            if not last:
                self.stop.check()

        reached(0, 0 if done is None else done + 1)
        state = offline_stage(
            self.learner,
            state,
            done=done,
            rows=self._epochs(),
            on_epoch=on_epoch,
            on_pass=on_pass,
        )
        if (ended := self._rows()[-1]["epoch"]) < epochs:
            why = why_it_ends(self._epochs(), self.config.offline)
            self.report.say(f"{why}: offline epoch {ended} is the last")
        accepted = any(row.get("gate/accepted") for row in self._epochs())
        if not accepted and (why := why_not_believed(self._rows()[0])):
            self.report.say(f"the clone acts: {why}")
        return state

    def _learn_from_log(self, state: LearnerState) -> LearnerState:
        """Prepares the agent of the online stage; a run that is stopped here begins it again.

        A log that cannot be cloned shows nothing of how a policy near the one that acts would do.
        """
        updates = self.config.offline.log_updates
        if not updates or not was_cloned(self._rows()):
            return state

        def on_pass(done: int) -> None:
            self.stop.check()
            made = len(self._epochs())
            self.report.under_way(made, f"learning from the log: {done:,} of {updates:,} updates")

        return learn_from_log(self.learner, state, on_pass=on_pass)

    def _epochs(self) -> list[dict]:
        """Rows of the epochs so far, without that of the fit."""
        return [row for row in self._rows() if row["epoch"] > 0]

    def _report_hand_over(self) -> None:
        """Prints what speaks for the policy and what speaks against it."""
        found = hand_over(self._rows(), self.setup.dataset)
        if found.line is not None:
            self.report.say(found.line)
        for objection in found.objections:
            self.report.say(f"warning: {objection}.")

    def _check_hand_over(self) -> None:
        """Raises InputError if the policy must not act, after the report of the offline stage."""
        found = hand_over(self._rows(), self.setup.dataset)
        accepted = ACCEPT in self.config.accept
        try:
            check_hand_over(found, self.setup.world, accepted=accepted, is_live=self.setup.live)
        except InputError:
            self._finish()
            raise

    def _online(self, begun: Begun) -> None:
        if 0 < self.config.online.epochs <= begun.done:
            return  # the stage is done, so nothing acts in the system
        # There may be fewer epochs than the configuration allows, if the values settled before.
        made = sum(row["stage"] == "offline" and row["epoch"] > 0 for row in self._rows())
        OnlineRun(
            self.setup,
            self.files,
            self.measures,
            begun,
            until=self.until,
            stop=self.stop,
            report=self.report,
            offline_epochs=made,
        ).execute()

    def _rows(self) -> list[dict]:
        return read_metrics(self.folder / "metrics.jsonl")

    def _finish(self) -> RunResult:
        """Writes summary.json and report.html, and prints the last line."""
        rows = self._rows()
        seconds = self.files.seconds()
        # The updates of the run that this one starts from took their time there.
        online = [row for row in rows if row["stage"] == "online"]
        inherited = online[0]["updates"] if self.start is not None and online else 0
        self._check_learned(rows, inherited)
        summary = jsonable(
            summarise(
                self.setup,
                rows,
                seconds=seconds,
                random_return=self.measures.random_return(),
                inherited=inherited,
            )
        )
        then = f", then go on with `moore run --resume {short_path(self.folder)}`"
        write_whole(self.folder / "summary.json", json.dumps(summary, indent=1), then)
        self.report.say(f"report: {write_report(self.folder)}")
        return RunResult(self.folder, summary, load_policy(self.folder))

    def _check_learned(self, rows: list[dict], inherited: int) -> None:
        """Raises InputError if there were updates and all of them were skipped."""
        updates = rows[-1]["updates"] - inherited if rows else 0
        if 0 < updates <= skipped_updates(rows):
            raise InputError(
                f"all {updates:,} updates of {self.folder} were skipped, because they gave "
                "numbers that are not finite, so nothing was learned. Check the size of the log's "
                "rewards and observations (moore inspect), or lower the learning rate."
            )
