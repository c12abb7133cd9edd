"""A run: the two stages with everything around them: evaluation, logs, checkpoints, report."""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from moore.config import Config, read_toml, to_toml
from moore.data.dataset import Dataset
from moore.envs.collector import Collector
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import held, shown, whole_path, write_whole
from moore.jax_settings import as_the_user, plain_jax
from moore.replay.draws import shift
from moore.reports.html import read_metrics, write_report
from moore.runs.checkpoint import Checkpoint
from moore.runs.plan import Plan, Stages, functions, how_to_resume, is_free, read_plan
from moore.runs.policy import Policy, load_policy
from moore.runs.records import (
    Records,
    load_hand_over,
    newest_checkpoint,
    offline_rows,
    unpack,
)
from moore.runs.setup import Evaluator, Setup, prepare
from moore.runs.suitable import note_on
from moore.runs.summary import summarise
from moore.runs.track import Reporter, jsonable, news
from moore.stages import watch
from moore.stages.learner import LearnerState
from moore.stages.offline import offline_stage
from moore.stages.online import online_stage

Until = Callable[[dict, LearnerState], bool]


@dataclass(frozen=True)
class RunResult:
    """What a run leaves: its folder, the content of summary.json, and the policy."""

    folder: Path
    summary: dict
    policy: Policy


@plain_jax()
def run(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    out: str | Path | None = None,
    stages: Stages = "both",
    start_from: str | Path | None = None,
    until: Until | None = None,
    quiet: bool = False,
) -> RunResult:
    """The main job: offline stage, hand-over, online stage, report.

    Args:
        config: everything that the result depends on.
        dataset: the log; by default the configuration's.
        env: id, or function that makes the environment, of which each evaluation episode has one;
            by default the configuration's.
        system: the live system, likewise: only the acting policy touches it, one environment from
            the hand-over on (it is made once before, to see that it fits). By default one of `env`.
        out: a new folder; by default runs/{env}__{algorithm}__{seed}__{time}.
        stages: both, or one alone; "online" needs `start_from`.
        start_from: a run whose offline stage is done; the online stage starts from it.
        until: sees every online epoch's metrics and state; True ends the run after that epoch.
        quiet: print nothing.

    Raises:
        InputError: anything that does not fit, before training starts.

    Example:
        >>> result = run(preset("quickstart"), out="runs/first")  # doctest: +SKIP
        >>> result.summary["transfer"]["gain"]  # doctest: +SKIP
    """
    start = None if start_from is None else whole_path(start_from)
    out = None if out is None else whole_path(out)
    split_seed = None if start is None else _split_seed(start)
    if out is not None:
        _check_free(out)  # before an environment is made
    runs = whole_path("runs")
    setup = prepare(config, dataset=dataset, env=env, system=system, split_seed=split_seed)
    if stages != "both" and not setup.learner.algorithm.uses_log:
        raise InputError(f"{config.algorithm} has no offline stage; it is one run: moore run.")
    folder = out if out is not None else runs / _default_name(setup.config)
    _check_free(folder)
    if start is not None:
        load_hand_over(setup, start)  # fails before anything is written
        rows = offline_rows(start)
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown(folder)} cannot be made: {error}; choose another --out."
        ) from None
    with held(folder):
        write_whole(folder / "config.toml", to_toml(setup.config))
        if start is not None:
            write_whole(folder / "offline.jsonl", rows)
        plan = Plan(stages, start, split_seed, functions(env, system))
        plan.write(folder)  # last: from here on it is a run
        return _Run(setup, folder, plan, until, quiet).execute(None)


@plain_jax()
def resume(
    folder: str | Path,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    until: Until | None = None,
    quiet: bool = False,
) -> RunResult:
    """Goes on from a run's last checkpoint, bit for bit on CPU.

    Args:
        folder: of the run.
        dataset: the log, if it has moved or was given as an object.
        env: the environment, if it was given as a function.
        system: the live system, if one was given. Its running episode is not replayed, and a new
            one begins; so too in `env`, where nothing is evaluated.
        until: as in `run`.
        quiet: print nothing.

    Raises:
        InputError: no run there, another log, another version, no readable checkpoint, or no
            environment or system where they were given before.
    """
    folder = whole_path(folder)
    config = read_toml(folder / "config.toml")
    plan = read_plan(folder)
    if missing := [name for name in plan.given if {"env": env, "system": system}[name] is None]:
        raise InputError(
            f"{shown(folder)} was given its {' and its '.join(missing)} in Python, and goes on "
            f"with the same: {how_to_resume(shown(folder), plan, until=until)}."
        )
    with held(folder):
        setup = prepare(config, dataset=dataset, env=env, system=system, split_seed=plan.split_seed)
        if new := set(functions(env, system)) - set(plan.given):
            plan = dataclasses.replace(plan, given=(*plan.given, *sorted(new)))
            plan.write(folder)
        runner = _Run(setup, folder, plan, until, quiet)
        return runner.execute(newest_checkpoint(setup, folder, runner.report))


def _check_free(folder: Path) -> None:
    if not is_free(folder):
        raise InputError(
            f"{shown(folder)} already exists and is not empty; a run is never overwritten. Choose "
            "another --out, or go on with --resume."
        )


def _split_seed(start: Path) -> int | None:
    """The seed of the run whose offline stage it all began with; None if it is no such run."""
    try:
        inherited = read_plan(start).split_seed
        return read_toml(start / "config.toml").seed if inherited is None else inherited
    except InputError:
        return None  # `load_hand_over` says what is missing


def _default_name(config: Config) -> str:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    env = config.env_id.replace("/", "-").replace(":", "-")
    return f"{env}__{config.algorithm}__{config.seed}__{stamp}"


class _Run:
    """The shell around the stages of one run folder."""

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        plan: Plan,
        until: Until | None,
        quiet: bool,
    ):
        self.setup, self.folder, self.plan, self.until = setup, folder, plan, until
        self.stages, self.start = plan.stages, plan.start
        self.learner, self.config = setup.learner, setup.config
        self.report = Reporter(quiet=quiet)

    def execute(self, checkpoint: Checkpoint | None) -> RunResult:
        """Both stages, or what is left of them after the checkpoint."""
        info = checkpoint.info if checkpoint else {"stage": "offline", "epoch": None}
        self.records = Records(self.setup, self.folder, info)
        self.evaluator = Evaluator(self.setup)
        self.report.say(self._headline(checkpoint))
        state = checkpoint.state if checkpoint else self._fresh_state()
        if checkpoint:
            self.records.save_policy(state)  # a kill may have come before it
        try:
            done = info["epoch"]
            if info["stage"] == "offline":
                if self.stages != "online" and self.learner.algorithm.uses_log:
                    state = self._offline(state, done)
                self.records.save_hand_over(state)
                state = self.learner.hand_over(state)
                done = 0
            if self.stages != "offline":
                self._online(state, done, checkpoint)
            return self._finish()
        except KeyboardInterrupt:
            how = how_to_resume(shown(self.folder), self.plan, until=self.until)
            self.report.say(f"interrupted; go on with: {how}")
            raise
        finally:
            self.report.stop()
            self.evaluator.close()
            self.records.close()

    def _headline(self, checkpoint: Checkpoint | None) -> str:
        config, log = self.config, self.setup.dataset
        uses_log = self.learner.algorithm.uses_log
        name = f"{log.name} ({log.size:,} transitions)" if uses_log else "without a log"
        what = f"{config.algorithm} on {config.env_id}, {name}"
        where = "" if checkpoint is None else f", from checkpoint {checkpoint.path.name}"
        other = uses_log and log.env_id not in (None, config.env_id)
        note = f"\nnote: the log was recorded in {log.env_id}" if other else ""
        if uses_log:
            bounds = self.setup.action_low, self.setup.action_high
            about = note_on(self.learner.algorithm, self.learner.agent_config, log, *bounds)
            note += "" if about is None else f"\nnote: {about}"
        return f"{what}, seed {config.seed}{where}{note}\n{shown(self.folder)}"

    def _fresh_state(self) -> LearnerState:
        """A new learner; or the one that another run's offline stage has made."""
        state = self.learner.init(self.setup.key)
        if self.start is None:
            return state
        for line in (self.folder / "offline.jsonl").read_text().splitlines():
            self.records.metrics.write(json.loads(line))
        parts = load_hand_over(self.setup, self.start)
        # The same seed goes on exactly as one run would have; another seed draws its own numbers.
        if read_toml(self.start / "config.toml").seed != self.config.seed:
            del parts["key"]
        if not self.learner.gated:
            del parts["acting"]
        # A lambda that was measured is handed over; one that was given may be given anew.
        if self.config.penalty_coverage is None:
            del parts["penalty_coef"]
        return dataclasses.replace(state, **parts)

    def _offline(self, state: LearnerState, done: int | None) -> LearnerState:
        epochs = self.config.offline.epochs
        self.report.start("offline", epochs, done or 0)

        def on_pass(steps: int, errors: tuple[float, ...]) -> None:
            best = min(errors)
            self.report.advance(0, f"models: {steps} steps, lowest holdout error {best:.5g}")

        def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> None:
            row = self._row("offline", epoch)
            if epoch > 0 or epochs == 0:
                row |= self._evaluation(state)
            self._end_epoch(row | metrics, state, None, epochs)

        logged = [row["losses/q_target"] for row in self._rows() if row["epoch"] > 0]
        values = [np.nan if value is None else value for value in logged]
        state = offline_stage(
            self.learner, state, done=done, values=values, on_epoch=on_epoch, on_pass=on_pass
        )
        if (ended := self._rows()[-1]["epoch"]) < epochs:
            self.report.say(f"the values stand still: offline epoch {ended} is the last")
        return state

    def _online(self, state: LearnerState, done: int, checkpoint: Checkpoint | None) -> None:
        config = self.config.online
        # Fewer than there might have been, if the policy stood still before.
        self.offline_epochs = sum(r["stage"] == "offline" and r["epoch"] > 0 for r in self._rows())
        if 0 < config.epochs <= done:
            return  # nothing is left to do in the system
        with contextlib.closing(Collector(self.setup.make_system(), self.config.seed)) as collector:
            if done == 0:
                self._record_hand_over(state)
            elif not collector.restore(unpack(checkpoint), replay=not self.setup.live):
                why = "is not replayed" if self.setup.live else "could not be replayed exactly"
                self.report.say(f"the running episode {why}; a new one begins.")
                state = self.learner.new_episode(state)
            self.report.start("online", config.epochs, done)
            before = watch.snapshot(self.learner, state)

            def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> bool:
                nonlocal before
                row = self._row("online", epoch) | self._evaluation(state)
                row |= self._share(epoch, state)
                row |= watch.compare_epochs(self.learner, before, state, epoch)
                before = watch.snapshot(self.learner, state)
                stop = self.until is not None and as_the_user(self.until)(row | metrics, state)
                self._end_epoch(row | metrics, state, collector, epoch if stop else config.epochs)
                return stop

            online_stage(self.learner, state, collector, done=done, on_epoch=on_epoch)

    def _end_epoch(
        self, row: dict, state: LearnerState, collector: Collector | None, epochs: int
    ) -> None:
        row = self.records.end_epoch(row, state, collector, last=row["epoch"] == epochs)
        self.report.advance(row["epoch"], news(row))

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
        if state.acting is not None and self.config.evaluation.candidate:
            # Was the gate right? What the newest policy would have earned.
            with self.learner.clock("evaluate"):
                candidate = self.evaluator.deterministic(self.learner.newest_policy(state))
            result["eval/candidate_return"] = candidate.mean_return
        return result | {"eval/returns": episodes.returns, "eval/lengths": episodes.lengths}

    def _share(self, epoch: int, state: LearnerState) -> dict:
        """The share of online data that the scheme asks for at the end of the epoch, its shift."""
        learner, new = self.learner, self.config.online.steps_per_epoch
        if learner.algorithm.agent.learn is not None:
            return {}  # the agent draws as it sees fit
        return {
            "replay/online_share_expected": learner.draws(epoch, state).online_share(),
            "replay/shift": shift(learner.scheme, epoch, learner.offline, state.online, new),
        }

    def _record_hand_over(self, state: LearnerState) -> None:
        """Online epoch 0: both policies, deterministic and acting, before any online step."""
        acting = []
        if self.config.evaluation.episodes:
            with self.learner.clock("evaluate"):
                acting = self.evaluator.sampled(self.learner.policy(state)).returns
        row = self._row("online", 0) | self._evaluation(state)
        self.records.metrics.write(row | {"online/episode_returns": acting})

    def _finish(self) -> RunResult:
        """summary.json, report.html, and the last line."""
        random_return = None if self.setup.reference is None else self.setup.reference.random
        if random_return is None and self.config.evaluation.episodes:
            random_return = self.evaluator.random().mean_return
        rows = self._rows()
        seconds = self.records.seconds()
        # Those of the run that this one starts from took their time there.
        online = [row for row in rows if row["stage"] == "online"]
        inherited = online[0]["updates"] if self.start is not None and online else 0
        summary = jsonable(
            summarise(
                self.setup,
                rows,
                seconds=seconds,
                random_return=random_return,
                inherited=inherited,
            )
        )
        write_whole(self.folder / "summary.json", json.dumps(summary, indent=1))
        self.report.say(f"report: {write_report(self.folder)}")
        return RunResult(self.folder, summary, load_policy(self.folder))
