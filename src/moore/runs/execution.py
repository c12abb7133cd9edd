"""The two stages of a run with everything around them: evaluation, logs, checkpoints, report."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import PyTree

from moore.config import read_toml
from moore.envs.collector import Collector
from moore.errors import InputError
from moore.files import short_path, write_whole
from moore.jax_settings import as_the_user
from moore.replay.draws import shift
from moore.runs.budgeting import make_chooser
from moore.runs.checkpoint import Checkpoint
from moore.runs.folder import read_metrics
from moore.runs.hand_over import ACCEPT, check_hand_over, hand_over
from moore.runs.live import Guarded
from moore.runs.plan import Plan, how_to_resume
from moore.runs.policy import Policy, load_policy
from moore.runs.reading import load_hand_over, offline_rows
from moore.runs.records import HAND_OVER, Acting, Records, from_hand_over, unpack
from moore.runs.report import write_report
from moore.runs.setup import Evaluator, Setup
from moore.runs.signals import Stop, Stopped
from moore.runs.suitable import note_on
from moore.runs.summary import skipped_updates, summarise
from moore.runs.units import note_on_units
from moore.sinks.console import Reporter
from moore.sinks.json_lines import jsonable
from moore.stages import watch
from moore.stages.epoch import Epoch, unpack_epoch
from moore.stages.learner import LearnerState
from moore.stages.offline import offline_stage
from moore.stages.online import online_stage

Until = Callable[[dict, LearnerState], bool]
_ANSWER = "\nmoore: stopping, nothing is lost; a second Ctrl-C stops at once.\n"


@dataclass(frozen=True)
class RunResult:
    """What a run leaves: its folder, the content of summary.json, and the policy."""

    folder: Path
    summary: dict
    policy: Policy


class Execution:
    """The shell around the stages of one run folder."""

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        plan: Plan,
        until: Until | None,
        stop: Stop,
        *,
        quiet: bool,
    ):
        self.setup, self.folder, self.plan, self.until = setup, folder, plan, until
        self.stages, self.start = plan.stages, plan.start
        self.learner, self.config = setup.learner, setup.config
        self.stop, self.quiet = stop, quiet
        self.report = Reporter(quiet=quiet)
        # The online epoch under way, with the state of its newest step.
        self.kept: tuple[Epoch, LearnerState] | None = None

    def execute(self, checkpoint: Checkpoint | None) -> RunResult:
        """Both stages, or what is left of them after the checkpoint.

        Raises:
            Stopped: by a signal, after a checkpoint.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.stop.patience("" if self.quiet else _ANSWER))
            stack.callback(self.report.stop)
            records = Records(self.setup, self.folder, self.plan.config, checkpoint, self.report)
            self.records = stack.enter_context(contextlib.closing(records))
            self.evaluator = stack.enter_context(contextlib.closing(Evaluator(self.setup)))
            try:
                result = self._both(checkpoint)
                self.stop.check()
                return result
            except KeyboardInterrupt:
                self.report.stop()
                how = how_to_resume(self.folder, self.plan, until=self.until)
                self.report.say(f"interrupted; go on with: {how}")
                raise

    def _both(self, checkpoint: Checkpoint | None) -> RunResult:
        info = checkpoint.info if checkpoint else {"stage": "offline", "epoch": None}
        stage, done = info["stage"], info["epoch"]
        self.report.say(self._headline(checkpoint))
        state, before, epoch = self._parts(checkpoint)
        if checkpoint:
            self.records.save_policy(state)  # a kill may have come before it
        if stage == "offline" and self.stages != "online" and self.learner.algorithm.uses_log:
            state = self._offline(state, done)
        if stage != "online":
            self._judge_hand_over()
            self.records.save_hand_over(state)
            state, done = self.learner.hand_over(state), 0
        if self.stages != "offline":
            if stage != "online":
                self._check_hand_over()
            self._online(state, done, checkpoint if stage == "online" else None, before, epoch)
        return self._finish()

    def _parts(self, checkpoint: Checkpoint | None) -> tuple[LearnerState, PyTree, Epoch | None]:
        """The learner's state; and of an epoch under way what it compares with, and itself."""
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
        config, log = self.config, self.setup.dataset
        uses_log = self.learner.algorithm.uses_log
        name = f"{log.name} ({log.size:,} transitions)" if uses_log else "without a log"
        what = f"{config.algorithm} on {config.env_id}, {name}"
        where = "" if checkpoint is None else f", from checkpoint {checkpoint.path.name}"
        other = uses_log and log.env_id not in (None, config.env_id)
        note = f"\nnote: the log was recorded in {log.env_id}" if other else ""
        if uses_log:
            bounds = self.setup.world.bounds
            about = note_on(self.learner.algorithm, self.learner.agent_config, log, bounds)
            note += "" if about is None else f"\nnote: {about}"
        note += "".join(f"\nnote: {about}" for about in self.setup.notes)
        note += note_on_units(config, log)
        return f"{what}, seed {config.seed}{where}{note}\n{short_path(self.folder)}"

    def _fresh_state(self) -> LearnerState:
        """A new learner; or the one that another run's offline stage has made."""
        state = self.learner.init(self.setup.key)
        if self.start is None:
            return state
        for row in offline_rows(self.start):
            self.records.write(row)
        parts = load_hand_over(self.setup, self.start)
        # The same seed goes on exactly as one run would have; another seed draws its own numbers.
        if read_toml(self.start / "config.toml").seed != self.config.seed:
            parts["key"] = state.key
        return from_hand_over(self.learner, state, parts)

    def _offline(self, state: LearnerState, done: int | None) -> LearnerState:
        epochs = self.config.offline.epochs
        self.report.start("offline", epochs, done or 0)

        def on_pass(steps: int, errors: tuple[float, ...]) -> None:
            self.stop.check()
            best = min(errors)
            self.report.advance(0, f"models: {steps} steps, lowest holdout error {best:.5g}")

        def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> None:
            row = self._row("offline", epoch)
            if epoch > 0 or epochs == 0:
                row |= self._evaluation(state)
            if metrics.get("clone/acts") and self.config.evaluation.episodes:
                with self.learner.clock("evaluate"):
                    clone = self.evaluator.deterministic(self.learner.policy(state))
                row["clone/return"] = clone.mean_return
            self._end_epoch(row | metrics, state, None, epochs)

        logged = [row.get("losses/q_target") for row in self._rows() if row["epoch"] > 0]
        values = [np.nan if value is None else value for value in logged]
        state = offline_stage(
            self.learner, state, done=done, values=values, on_epoch=on_epoch, on_pass=on_pass
        )
        if (ended := self._rows()[-1]["epoch"]) < epochs:
            self.report.say(f"the values stand still: offline epoch {ended} is the last")
        return state

    def _judge_hand_over(self) -> None:
        """Says what speaks for the policy, and what against it."""
        found = hand_over(self._rows(), self.setup.dataset)
        if found.line is not None:
            self.report.say(found.line)
        for objection in found.objections:
            self.report.say(f"warning: {objection}.")

    def _check_hand_over(self) -> None:
        """InputError if the policy must not act, after the report of the offline stage."""
        found = hand_over(self._rows(), self.setup.dataset)
        accepted = ACCEPT in self.config.accept
        try:
            check_hand_over(found, self.setup.world, accepted=accepted, is_live=self.setup.live)
        except InputError:
            self._finish()
            raise

    def _online(
        self,
        state: LearnerState,
        done: int,
        checkpoint: Checkpoint | None,
        before: PyTree,
        epoch: Epoch | None,
    ) -> None:
        config = self.config.online
        # Fewer than there might have been, if the policy stood still before.
        self.offline_epochs = sum(r["stage"] == "offline" and r["epoch"] > 0 for r in self._rows())
        if 0 < config.epochs <= done:
            return  # nothing is left to do in the system
        live, units = self.setup.world.make_system(), self.setup.units
        collector = Collector(live, self.config.seed, units, on_fault=self._say_fault)
        with contextlib.closing(collector):
            self.evaluator.refuse_shared_with(live)
            choice = {} if checkpoint is None else checkpoint.info["choice"]
            arrays = {} if checkpoint is None else checkpoint.arrays
            chooser = make_chooser(self.setup, state, choice, arrays)
            self.acting = Acting(collector, chooser)
            if checkpoint is None:
                self._record_hand_over(state)
            elif not collector.restore(unpack(checkpoint), replay=not self.setup.live):
                why = "is not replayed" if self.setup.live else "could not be replayed exactly"
                self.report.say(f"the running episode {why}; a new one begins.")
                state = chooser.new_episode(state)
                if epoch is not None:
                    epoch.in_episode = False
            self.report.start("online", config.epochs, done)
            self.before = watch.snapshot(self.learner, state) if epoch is None else before
            self.kept = None if epoch is None else (epoch, state)
            system = Guarded(collector)
            try:
                online_stage(
                    self.learner,
                    state,
                    system,
                    done=done,
                    epoch=epoch,
                    on_epoch=self._online_epoch,
                    on_step=self._keep,
                    on_pass=lambda *_: self.stop.check(),
                    chooser=chooser,
                )
            except BaseException as error:
                in_order = isinstance(error, Stopped) and error.in_order
                if self.kept is not None and (in_order or system.failed):
                    self.records.save_part(*self.kept, self.before, self.acting)
                raise

    def _say_fault(self, fault: str) -> None:
        self.report.say(
            f"the live system gave a reading that is not finite: {fault}; the transition is left "
            "out, and the last good action is sent while the observation is bad."
        )

    def _keep(self, epoch: Epoch, state: LearnerState) -> None:
        """Real transitions are expensive: whoever stops the run now stops it with this step."""
        self.kept = epoch, state
        self.stop.check()

    def _online_epoch(self, epoch: int, state: LearnerState, metrics: dict) -> bool:
        kept, self.kept = self.kept, None
        try:
            row = self._row("online", epoch) | self._evaluation(state)
        except Exception:
            self.records.save_part(kept[0], state, self.before, self.acting)
            raise
        row |= self._share(epoch, state)
        row |= watch.compare_epochs(self.learner, self.before, state, epoch)
        self.before = watch.snapshot(self.learner, state)
        row |= metrics
        stop = self.until is not None and as_the_user(self.until)(row, state)
        self._end_epoch(row, state, self.acting, epoch if stop else self.config.online.epochs)
        return stop

    def _end_epoch(
        self, row: dict, state: LearnerState, acting: Acting | None, epochs: int
    ) -> None:
        last = row["epoch"] == epochs
        self.records.end_epoch(row, state, acting, last=last, stopping=self.stop.asked)
        if not last:
            self.stop.check()

    def _rows(self) -> list[dict]:
        return read_metrics(self.folder / "metrics.jsonl")

    def _row(self, stage: str, epoch: int) -> dict:
        """The beginning of a row of metrics: where in the run it is."""
        offline, online = self.config.offline, self.config.online
        steps = epoch * online.steps_per_epoch if stage == "online" else 0
        offline_epochs = epoch if stage == "offline" else self.offline_epochs
        learned_from = max(steps - max(online.random_steps, online.frozen_steps), 0)
        updates = offline_epochs * offline.updates_per_epoch
        updates += learned_from * online.updates_per_step
        return {"stage": stage, "epoch": epoch, "env_steps": steps, "updates": updates}

    def _evaluation(self, state: LearnerState) -> dict:
        """What the policy earns in environments of its own, if there are any, and in the models."""
        evaluated = self._evaluated(state) if self.config.evaluation.episodes else {}
        return evaluated | watch.imagined_episodes(self.learner, state)

    def _evaluated(self, state: LearnerState) -> dict:
        with self.learner.clock("evaluate"):
            episodes = self.evaluator.deterministic(self.learner.policy(state))
        mean = episodes.mean_return
        # What the algorithm maximises, and so all that it can be expected to keep.
        discounted = float(np.mean(episodes.discounted))
        result = {"eval/return": mean, "eval/discounted_return": discounted}
        if self.setup.reference is not None:
            result["eval/score"] = self.setup.reference.score(mean)
        if state.gate is not None and self.config.evaluation.candidate:
            # Was the gate right? What the newest policy would have earned.
            with self.learner.clock("evaluate"):
                candidate = self.evaluator.deterministic(self.learner.newest_policy(state))
            result["eval/candidate_return"] = candidate.mean_return
        return result | {"eval/returns": episodes.returns, "eval/lengths": episodes.lengths}

    def _share(self, epoch: int, state: LearnerState) -> dict:
        """The share of online data that the scheme asks for at the end of the epoch, its shift."""
        learner, new = self.learner, self.config.online.steps_per_epoch
        if not learner.algorithm.experience.by_scheme:
            return {}
        return {
            "replay/online_share_expected": learner.draws(epoch, state).online_share(),
            "replay/shift": shift(
                learner.scheme, epoch, learner.offline, state.online, new, learner.units
            ),
        }

    def _record_hand_over(self, state: LearnerState) -> None:
        """Online epoch 0: both policies, deterministic and acting, before any online step."""
        acting = []
        if self.config.evaluation.episodes:
            with self.learner.clock("evaluate"):
                acting = self.evaluator.sampled(self.learner.policy(state)).returns
        row = self._row("online", 0) | self._evaluation(state)
        self.records.write(row | {"online/episode_returns": acting})

    def _finish(self) -> RunResult:
        """summary.json, report.html, and the last line."""
        random_return = None if self.setup.reference is None else self.setup.reference.random
        if random_return is None and self.config.evaluation.episodes:
            random_return = self.evaluator.random().mean_return
        if random_return is not None and not np.isfinite(random_return):
            random_return = None
        rows = self._rows()
        seconds = self.records.seconds()
        # Those of the run that this one starts from took their time there.
        online = [row for row in rows if row["stage"] == "online"]
        inherited = online[0]["updates"] if self.start is not None and online else 0
        self._check_learned(rows, inherited)
        summary = jsonable(
            summarise(
                self.setup,
                rows,
                seconds=seconds,
                random_return=random_return,
                inherited=inherited,
            )
        )
        then = f", then go on with `moore run --resume {short_path(self.folder)}`"
        write_whole(self.folder / "summary.json", json.dumps(summary, indent=1), then)
        self.report.say(f"report: {write_report(self.folder)}")
        return RunResult(self.folder, summary, load_policy(self.folder))

    def _check_learned(self, rows: list[dict], inherited: int) -> None:
        """Raises InputError if there were updates, and all of them were skipped."""
        updates = rows[-1]["updates"] - inherited if rows else 0
        if 0 < updates <= skipped_updates(rows):
            raise InputError(
                f"all {updates:,} updates of {self.folder} were skipped: they led to numbers that "
                "are not finite, and nothing was learned. See whether rewards and observations of "
                "the log are of a reasonable size (moore inspect), or lower the learning rate."
            )
