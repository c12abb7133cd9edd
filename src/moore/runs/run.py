"""A run: the two stages with everything around them: evaluation, logs, checkpoints, report."""

import dataclasses
import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import numpy as np

from moore.config import Config, read_toml, to_toml
from moore.data.dataset import Dataset
from moore.envs.collector import Collector, Snapshot
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.replay.schedule import sampling_tv
from moore.reports.html import read_metrics, write_report
from moore.runs.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_checkpoint,
    newest_first,
    prune,
    save_checkpoint,
)
from moore.runs.policy import Policy, load_policy, save_policy
from moore.runs.setup import Evaluator, Setup, prepare
from moore.runs.summary import summarise
from moore.runs.track import MetricsFile, Reporter, TensorBoard, jsonable
from moore.stages.learner import LearnerState
from moore.stages.offline import offline_stage
from moore.stages.online import online_stage
from moore.version import __version__

Stages = Literal["both", "offline", "online"]
HAND_OVER = "hand-over"
# The newest checkpoint, and the one before it in case the newest is damaged.
KEEP = 2


@dataclass(frozen=True)
class RunResult:
    """What a run leaves: its folder, the content of summary.json, and the policy."""

    folder: Path
    summary: dict
    policy: Policy


def run(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    out: str | Path | None = None,
    stages: Stages = "both",
    start_from: str | Path | None = None,
    quiet: bool = False,
) -> RunResult:
    """The main job: offline stage, hand-over, online stage, report.

    Args:
        config: everything that the result depends on.
        dataset: the log; by default the configuration's.
        env: id, or function that makes the environment; by default the configuration's.
        out: a new folder; by default runs/{env}__{algorithm}__{seed}__{time}.
        stages: both, or one alone; "online" needs `start_from`.
        start_from: a run whose offline stage is done; the online stage starts from it.
        quiet: print nothing.

    Raises:
        InputError: anything that does not fit, before training starts.
    """
    setup = prepare(config, dataset=dataset, env=env)
    folder = Path(out) if out is not None else _default_folder(setup.config)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} already exists and is not empty; a run is never overwritten. Choose another "
            "--out, or go on with --resume."
        )
    if start_from is not None:
        rows = _offline_rows(Path(start_from))
        _load_hand_over(setup, Path(start_from))
    try:
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error}; choose another --out.") from None
    (folder / "config.toml").write_text(to_toml(setup.config))
    if start_from is not None:
        (folder / "offline.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _Run(setup, folder, stages, start_from, quiet).execute(None)


def resume(
    folder: str | Path,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    quiet: bool = False,
) -> RunResult:
    """Goes on from a run's last checkpoint, bit for bit on CPU.

    Args:
        folder: of the run.
        dataset: the log, if it has moved or was given as an object.
        env: the environment, if it was given as a function.
        quiet: print nothing.

    Raises:
        InputError: no run there, another log, another version, or no readable checkpoint.
    """
    folder = Path(folder)
    config = read_toml(folder / "config.toml")
    plan = _read_plan(folder)
    setup = prepare(config, dataset=dataset, env=env)
    runner = _Run(setup, folder, plan["stages"], plan["start_from"], quiet)
    return runner.execute(runner.newest_checkpoint())


def _default_folder(config: Config) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    env = config.env_id.replace("/", "-")
    return Path("runs") / f"{env}__{config.algorithm}__{config.seed}__{stamp}"


def _offline_rows(source: Path) -> list[dict]:
    """The offline curve of the run that this one starts from, so that the report is whole."""
    return [row for row in read_metrics(source / "metrics.jsonl") if row["stage"] == "offline"]


def _load_hand_over(setup: Setup, source: Path) -> dict:
    """Agent, models and randomness at the end of that run's offline stage."""
    template = eqx.filter_eval_shape(lambda key: _handed_over(setup.learner.init(key)), setup.key)
    try:
        return load_checkpoint(source / "checkpoints" / HAND_OVER, template).state
    except DamagedCheckpoint as damage:
        raise InputError(f"{source} has no finished offline stage: {damage}.") from None


def _read_plan(folder: Path) -> dict:
    """Which stages the run is made of; beside the configuration because no result depends on it."""
    try:
        plan = json.loads((folder / "checkpoints" / "plan.json").read_text())
        return {"stages": plan["stages"], "start_from": plan["start_from"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder} is not a run folder that can be resumed.") from None


class _Run:
    """The shell around the stages of one run folder."""

    def __init__(self, setup: Setup, folder: Path, stages: Stages, start_from, quiet: bool):
        self.setup, self.folder, self.stages = setup, folder, stages
        self.learner, self.config = setup.learner, setup.config
        self.start_from = None if start_from is None else str(start_from)
        self.checkpoints = folder / "checkpoints"
        self.report = Reporter(quiet=quiet)
        self.evaluator = Evaluator(setup)
        self.tensorboard = TensorBoard(folder) if setup.config.tensorboard else None
        self.best: dict = {"name": None, "return": -np.inf}
        self.started = time.perf_counter()
        self.collector: Collector | None = None
        self.epoch_started = self.started
        self.reported: dict[str, float] = {}
        self.online_point = (0.0, 0)

    # --- Where to begin ---

    def newest_checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if the run had none yet."""
        candidates = newest_first(self.checkpoints)
        for path in candidates:
            online = path.name.startswith("online")
            try:
                checkpoint = load_checkpoint(path, self._template(online=online))
            except DamagedCheckpoint as damage:
                self.report.say(f"{path.name} is damaged ({damage}); trying the one before it.")
                continue
            if checkpoint.info["dataset_sha256"] != self.setup.dataset.sha256:
                raise InputError(
                    f"{self.setup.dataset.name} is not the data set that {self.folder} was begun "
                    f"with (its SHA-256 was {checkpoint.info['dataset_sha256'][:12]}...)."
                )
            return checkpoint
        if candidates:
            raise InputError(
                f"no checkpoint of {self.folder} can be read; the run must start anew."
            )
        return None

    def _template(self, *, online: bool):
        """Shapes of the state, without its memory."""

        def shapes(key):
            state = self.learner.init(key)
            return self.learner.hand_over(state) if online else state

        return eqx.filter_eval_shape(shapes, self.setup.key)

    def _fresh_state(self) -> LearnerState:
        state = self.learner.init(self.setup.key)
        if self.start_from is None:
            return state
        parts = _load_hand_over(self.setup, Path(self.start_from))
        same_seed = read_toml(Path(self.start_from) / "config.toml").seed == self.config.seed
        # The same seed goes on exactly as one run would have; another seed draws its own numbers.
        key = parts["key"] if same_seed else state.key
        return dataclasses.replace(state, agent=parts["agent"], model=parts["model"], key=key)

    # --- The run ---

    def execute(self, checkpoint: Checkpoint | None) -> RunResult:
        plan = {"stages": self.stages, "start_from": self.start_from}
        (self.checkpoints / "plan.json").write_text(json.dumps(plan))
        info = checkpoint.info if checkpoint else {"stage": "offline", "epoch": None}
        self._restore_records(info)
        state = checkpoint.state if checkpoint else self._fresh_state()
        self.report.say(self._headline(checkpoint))
        try:
            if info["stage"] == "offline":
                if self.stages != "online":
                    state = self._offline(state, info["epoch"])
                state = self.learner.hand_over(state)
                self._save_hand_over(state)
                done = 0
            else:
                done = info["epoch"]
            if self.stages != "offline":
                self._online(state, done, checkpoint)
        finally:
            self.report.stop()
            self.evaluator.close()
            self.metrics.close()
        return self._finish()

    def _headline(self, checkpoint: Checkpoint | None) -> str:
        config, log = self.config, self.setup.dataset
        what = f"{config.algorithm} on {config.env_id}, {log.name} ({log.size:,} transitions)"
        where = "" if checkpoint is None else f", from checkpoint {checkpoint.path.name}"
        return f"{what}, seed {config.seed}{where}\n{self.folder}"

    def _restore_records(self, info: dict) -> None:
        """Metrics file, best score and clock as they were at the checkpoint."""
        self.metrics = MetricsFile(
            self.folder / "metrics.jsonl", keep_bytes=info.get("metrics_bytes", 0)
        )
        if self.start_from is not None and not info.get("metrics_bytes"):
            for line in (self.folder / "offline.jsonl").read_text().splitlines():
                self.metrics.write(json.loads(line))
        self.best = info.get("best", self.best)
        self.learner.clock.seconds.update(info.get("seconds", {}))
        self.started -= info.get("seconds", {}).get("total", 0.0)
        self.online_point = tuple(info.get("online_point", self.online_point))
        self.reported = dict(self.learner.clock.seconds)

    def _offline(self, state: LearnerState, done: int | None) -> LearnerState:
        epochs = self.config.offline.epochs
        self.report.start("offline", epochs, done or 0)

        def on_pass(steps: int, errors: tuple[float, ...]) -> None:
            best = min(errors)
            self.report.advance(0, f"models: {steps} steps, lowest holdout error {best:.5g}")

        def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> None:
            row = self._row("offline", epoch, env_steps=0, updates=self._offline_updates(epoch))
            if epoch > 0 or epochs == 0:
                row |= self._evaluation(state)
            self._record(row | metrics, state, epochs)

        return offline_stage(self.learner, state, done=done, on_epoch=on_epoch, on_pass=on_pass)

    def _online(self, state: LearnerState, done: int, checkpoint: Checkpoint | None) -> None:
        config = self.config.online
        self.collector = Collector(self.setup.make_env(), self.config.seed)
        if done == 0:
            self._record_hand_over(state)
        elif not self.collector.restore(_snapshot(checkpoint)):
            self.report.say(
                "the running episode could not be replayed exactly; a new episode was started."
            )
        self.report.start("online", config.epochs, done)

        def on_epoch(epoch: int, state: LearnerState, metrics: dict) -> None:
            steps = epoch * config.steps_per_epoch
            updates = self._offline_updates(self.config.offline.epochs)
            row = self._row(
                "online", epoch, env_steps=steps, updates=updates + steps * config.updates_per_step
            )
            row |= self._evaluation(state) | self._share(epoch, state)
            self._record(row | metrics, state, config.epochs)

        online_stage(self.learner, state, self.collector, done=done, on_epoch=on_epoch)

    # --- What is recorded ---

    def _offline_updates(self, epoch: int) -> int:
        return epoch * self.config.offline.updates_per_epoch

    def _row(self, stage: str, epoch: int, *, env_steps: int, updates: int) -> dict:
        return {"stage": stage, "epoch": epoch, "env_steps": env_steps, "updates": updates}

    def _evaluation(self, state: LearnerState) -> dict:
        with self.learner.clock("evaluate"):
            episodes = self.evaluator.deterministic(state)
        mean = episodes.mean_return
        result = {"eval/return": mean}
        if self.setup.dataset.reference is not None:
            result["eval/score"] = self.setup.dataset.reference.score(mean)
        return result | {"eval/returns": episodes.returns, "eval/lengths": episodes.lengths}

    def _share(self, epoch: int, state: LearnerState) -> dict:
        """The share of online data that the scheme asks for at the end of the epoch, its shift."""
        size = int(state.online.size)
        share = self.learner.online_share(epoch, state)
        shift = sampling_tv(*self.online_point, share, size)
        self.online_point = (share, size)
        return {"replay/online_share_expected": share, "replay/shift": shift}

    def _record_hand_over(self, state: LearnerState) -> None:
        """Online epoch 0: both policies, deterministic and acting, before any online step."""
        with self.learner.clock("evaluate"):
            acting = self.evaluator.sampled(state)
        updates = 0 if self.start_from else self._offline_updates(self.config.offline.epochs)
        row = self._row("online", 0, env_steps=0, updates=updates) | self._evaluation(state)
        self.metrics.write(row | {"online/episode_returns": acting.returns})

    def _record(self, row: dict, state: LearnerState, epochs: int) -> None:
        """The end of an epoch: a row of metrics, a checkpoint, a line for the user."""
        now = time.perf_counter()
        seconds = self.learner.clock.seconds
        row |= {f"time/{name}": v - self.reported.get(name, 0.0) for name, v in seconds.items()}
        row["time/epoch"] = now - self.epoch_started
        if row["stage"] == "online":
            steps = self.config.online.steps_per_epoch
            row["time/steps_per_second"] = steps / row["time/epoch"]
        self.reported, self.epoch_started = dict(seconds), now
        length = self.metrics.write(row)
        if self.tensorboard is not None:
            self.tensorboard.write(row, step=row["updates"])
        if row["epoch"] % self.config.checkpoint_every == 0 or row["epoch"] == epochs:
            self._save(row, state, length)
        self.report.advance(row["epoch"], _news(row))

    def _save(self, row: dict, state: LearnerState, metrics_bytes: int) -> None:
        name = f"{row['stage']}-epoch-{row['epoch']:06d}"
        if row.get("eval/return", -np.inf) > self.best["return"]:
            self.best = {"name": name, "return": row["eval/return"]}
        arrays, episode = {}, {}
        if self.collector is not None:
            snapshot = self.collector.snapshot()
            arrays = {"episode_actions": snapshot.actions, "episode_obs": snapshot.obs}
            episode = {
                "number": snapshot.episode,
                "return": snapshot.episode_return,
                "finished": list(snapshot.finished_returns),
            }
        info = {
            "stage": row["stage"],
            "epoch": row["epoch"],
            "metrics_bytes": metrics_bytes,
            "best": self.best,
            "seconds": self._seconds(),
            "online_point": list(self.online_point),
            "episode": episode,
            "dataset_sha256": self.setup.dataset.sha256,
            "moore": __version__,
        }
        save_checkpoint(self.checkpoints, name, state, arrays=arrays, info=info)
        prune(self.checkpoints, keep=KEEP, best=self.best["name"])
        self._save_policy(state)

    def _save_hand_over(self, state: LearnerState) -> None:
        if not (self.checkpoints / HAND_OVER).exists():
            info = {"dataset_sha256": self.setup.dataset.sha256, "moore": __version__}
            save_checkpoint(self.checkpoints, HAND_OVER, _handed_over(state), arrays={}, info=info)
            self._save_policy(state)

    def _save_policy(self, state: LearnerState) -> None:
        setup = self.setup
        actor = jax.device_get(state.agent.actor)
        policy = Policy(actor, setup.action_low, setup.action_high, setup.config.env_id)
        save_policy(self.folder / "policy", policy)

    def _seconds(self) -> dict[str, float]:
        return dict(self.learner.clock.seconds) | {"total": time.perf_counter() - self.started}

    def _finish(self) -> RunResult:
        """summary.json, report.html, and the last line."""
        reference = self.setup.dataset.reference
        random_return = (
            reference.random
            if reference is not None
            else Evaluator(self.setup).random().mean_return
        )
        rows = read_metrics(self.folder / "metrics.jsonl")
        summary = jsonable(
            summarise(self.setup, rows, seconds=self._seconds(), random_return=random_return)
        )
        partial = self.folder / ".summary.json.partial"
        partial.write_text(json.dumps(summary, indent=1))
        os.replace(partial, self.folder / "summary.json")
        self.report.say(f"report: {write_report(self.folder)}")
        return RunResult(self.folder, summary, load_policy(self.folder))


def _handed_over(state: LearnerState) -> dict:
    """What goes from one stage to the next (line 4), and the randomness with it."""
    return {"agent": state.agent, "model": state.model, "key": state.key}


def _snapshot(checkpoint: Checkpoint) -> Snapshot:
    episode = checkpoint.info["episode"]
    return Snapshot(
        episode=episode["number"],
        actions=checkpoint.arrays["episode_actions"],
        obs=checkpoint.arrays["episode_obs"],
        episode_return=episode["return"],
        finished_returns=tuple(episode["finished"]),
    )


def _news(row: dict) -> str:
    """One line on an epoch."""
    parts = []
    if "eval/return" in row:
        parts.append(f"return {row['eval/return']:.1f}")
    if "eval/score" in row:
        parts.append(f"score {row['eval/score']:.1f}")
    if row.get("online/episode_returns"):
        parts.append(f"acting {np.mean(row['online/episode_returns']):.1f}")
    if "replay/online_share" in row and row["stage"] == "online":
        parts.append(f"online share {row['replay/online_share']:.3f}")
    if "model/holdout_mse" in row:
        parts.append(f"model error {row['model/holdout_mse']:.4g}")
    parts.append(f"{row['time/epoch']:.1f} s")
    return ", ".join(parts)
