"""What a run writes while it goes on: metrics, checkpoints, the policy. And what it reads back."""

import json
import time
from pathlib import Path

import equinox as eqx
import numpy as np

from moore.envs.collector import Collector, Snapshot
from moore.errors import InputError
from moore.files import shown
from moore.runs.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_checkpoint,
    newest_first,
    prune,
    read_manifest,
    save_checkpoint,
)
from moore.runs.policy import save_policy
from moore.runs.setup import Setup
from moore.runs.track import MetricsFile, Reporter, TensorBoard
from moore.stages.learner import Learner, LearnerState
from moore.version import __version__

HAND_OVER = "hand-over"
# The newest checkpoint, and the one before it in case the newest is damaged.
KEEP = 2


class Records:
    """The files of one run folder, from a checkpoint's point of view.

    Everything that is not learned and still must survive a kill is here: how long the metrics file
    was, which evaluation was the best, and how the time was spent.
    """

    def __init__(self, setup: Setup, folder: Path, info: dict):
        """Opens the records as they were at a checkpoint with this `info`; empty for a new run."""
        self.setup, self.folder = setup, folder
        self.checkpoints = folder / "checkpoints"
        self.metrics = MetricsFile(
            folder / "metrics.jsonl", keep_bytes=info.get("metrics_bytes", 0)
        )
        self.tensorboard = TensorBoard(folder) if setup.config.tensorboard else None
        self.best = info.get("best", {"name": None, "return": -np.inf})
        self.clock = setup.learner.clock
        self.clock.seconds.update(info.get("seconds", {}))
        self._epoch_started = time.perf_counter()
        self._started = self._epoch_started - self.clock.seconds.pop("total", 0.0)
        self._reported = dict(self.clock.seconds)

    def close(self) -> None:
        self.metrics.close()

    def seconds(self) -> dict[str, float]:
        """Wall-clock by part, interrupted stretches included."""
        return dict(self.clock.seconds) | {"total": time.perf_counter() - self._started}

    def end_epoch(
        self, row: dict, state: LearnerState, collector: Collector | None, *, last: bool
    ) -> dict:
        """A row of metrics and, when it is due, a checkpoint; returns the row as written."""
        now, seconds = time.perf_counter(), self.clock.seconds
        row |= {f"time/{name}": v - self._reported.get(name, 0.0) for name, v in seconds.items()}
        row["time/epoch"] = now - self._epoch_started
        if row["stage"] == "online":
            steps = self.setup.config.online.steps_per_epoch
            row["time/steps_per_second"] = steps / row["time/epoch"]
        self._reported, self._epoch_started = dict(seconds), now
        length = self.metrics.write(row)
        if self.tensorboard is not None:
            self.tensorboard.write(row, step=row["updates"])
        if last or row["epoch"] % self.setup.config.checkpoint_every == 0:
            self._save(row, state, collector, length)
        return row

    def _save(
        self, row: dict, state: LearnerState, collector: Collector | None, metrics_bytes: int
    ) -> None:
        name = f"{row['stage']}-epoch-{row['epoch']:06d}"
        if row.get("eval/return", -np.inf) > self.best["return"]:
            self.best = {"name": name, "return": row["eval/return"]}
        episode, arrays = ({}, {}) if collector is None else _pack(collector.snapshot())
        info = self._identity() | {
            "stage": row["stage"],
            "epoch": row["epoch"],
            "metrics_bytes": metrics_bytes,
            "best": self.best,
            "seconds": self.seconds(),
            "episode": episode,
        }
        save_checkpoint(self.checkpoints, name, state, arrays=arrays, info=info)
        prune(self.checkpoints, keep=KEEP, best=self.best["name"])
        self.save_policy(state)

    def _identity(self) -> dict:
        return {"dataset_sha256": _sha256(self.setup), "moore": __version__}

    def save_hand_over(self, state: LearnerState) -> None:
        """What an online stage starts from, kept for as many of them as are wanted."""
        if not (self.checkpoints / HAND_OVER).exists():
            parts = handed_over(self.setup.learner, state)
            save_checkpoint(self.checkpoints, HAND_OVER, parts, arrays={}, info=self._identity())
        self.save_policy(state)

    def save_policy(self, state: LearnerState) -> None:
        """The newest policy, for `load_policy`."""
        setup = self.setup
        save_policy(self.folder / "policy", setup.policy(setup.learner.policy(state)))


def _sha256(setup: Setup) -> str:
    """Of the log; of nothing where there is none."""
    return "" if setup.dataset is None else setup.dataset.sha256


def handed_over(learner: Learner, state: LearnerState) -> dict:
    """What goes from one stage to the next (line 4), the randomness, and the policy that acts."""
    names = ("agent", "model", "key", "penalty_coef")
    return {name: getattr(state, name) for name in names} | {"acting": learner.policy(state)}


def load_hand_over(setup: Setup, source: Path) -> dict:
    """Agent, models, randomness and the acting policy at the end of that run's offline stage.

    Raises:
        InputError: it has none, or one of another configuration or log.
    """
    learner = setup.learner
    template = eqx.filter_eval_shape(lambda key: handed_over(learner, learner.init(key)), setup.key)
    try:
        checkpoint = load_checkpoint(source / "checkpoints" / HAND_OVER, template)
    except DamagedCheckpoint as damage:
        raise InputError(f"{shown(source)} has no finished offline stage: {damage}.") from None
    _check_log(checkpoint, setup, source)
    return checkpoint.state


def newest_checkpoint(setup: Setup, folder: Path, report: Reporter) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if the run had none yet.

    Raises:
        InputError: there are some and none can be read, or they are of another log.
    """
    candidates = newest_first(folder / "checkpoints")
    for path in candidates:
        template = _template(setup, online=path.name.startswith("online"))
        try:
            checkpoint = load_checkpoint(path, template)
        except DamagedCheckpoint as damage:
            report.say(f"{path.name} is damaged ({damage}); trying the one before it.")
            continue
        _check_log(checkpoint, setup, folder)
        return checkpoint
    if candidates:
        raise InputError(f"no checkpoint of {shown(folder)} can be read; the run must start anew.")
    return None


def newest_epoch(folder: Path) -> int:
    """The epoch of a run's newest checkpoint that is not cut short; -1 if there is none."""
    for path in newest_first(folder / "checkpoints"):
        try:
            return read_manifest(path)["info"]["epoch"]
        except DamagedCheckpoint:
            continue
    return -1


def _check_log(checkpoint: Checkpoint, setup: Setup, folder: Path) -> None:
    begun_with = checkpoint.info["dataset_sha256"]
    if begun_with != _sha256(setup):
        raise InputError(
            f"{setup.config.dataset or 'no log'} is not the data set that "
            f"{shown(folder)} was begun with (its SHA-256 was {begun_with[:12]}...)."
        )


def _template(setup: Setup, *, online: bool):
    """Shapes of the state, without its memory."""

    def shapes(key):
        state = setup.learner.init(key)
        return setup.learner.hand_over(state) if online else state

    return eqx.filter_eval_shape(shapes, setup.key)


def _pack(snapshot: Snapshot) -> tuple[dict, dict[str, np.ndarray]]:
    """A running episode as JSON and arrays."""
    episode = {
        "number": snapshot.episode,
        "return": snapshot.episode_return,
        "finished": list(snapshot.finished_returns),
    }
    return episode, {"episode_actions": snapshot.actions, "episode_obs": snapshot.obs}


def unpack(checkpoint: Checkpoint) -> Snapshot:
    """The episode that was running at the checkpoint."""
    episode = checkpoint.info["episode"]
    return Snapshot(
        episode=episode["number"],
        actions=checkpoint.arrays["episode_actions"],
        obs=checkpoint.arrays["episode_obs"],
        episode_return=episode["return"],
        finished_returns=tuple(episode["finished"]),
    )


def offline_rows(source: Path) -> str:
    """The offline part of a run's metrics, so that the report of a run begun from it is whole."""
    try:
        lines = (source / "metrics.jsonl").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if json.loads(line)["stage"] == "offline")
    except (OSError, ValueError, KeyError):
        raise InputError(f"{shown(source)} is not a run whose offline stage is done.") from None
