"""The files that a run writes while it goes on: metrics, checkpoints, the policy."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import PyTree

from moore.config import Config
from moore.envs.collector import Collector, RunningEpisode
from moore.errors import WriteError
from moore.runs.checkpoint import Checkpoint, is_whole, prune, save_checkpoint
from moore.runs.folder import read_metrics
from moore.runs.mirror import Mirror
from moore.runs.policy import load_policy, save_policy
from moore.runs.setup import Setup
from moore.sinks.console import ConsoleSink, Reporter
from moore.sinks.json_lines import MetricsFile
from moore.sinks.sink import Label, Sink
from moore.sinks.trackers import open_trackers, tracker_names
from moore.stages.choosing import Chooser
from moore.stages.epoch import Epoch
from moore.stages.learner import Learner, LearnerState
from moore.tables import flat
from moore.version import __version__

HAND_OVER = "hand-over"
# Folder of the clone of the log, a saved policy.
CLONE = "clone"


@dataclass(frozen=True)
class Acting:
    """What a checkpoint holds about acting: the running episode, and who may act."""

    collector: Collector
    chooser: Chooser

    def pack(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The content as JSON and arrays."""
        episode, arrays = _pack(self.collector.running_episode())
        choice, policies = self.chooser.pack()
        return {"episode": episode, "choice": choice}, arrays | policies


# Number of checkpoints that are kept: the newest, and one more in case it is damaged.
KEEP = 2


class RunFiles:
    """The files of one run folder.

    It also keeps what is not learned but must survive if the run is killed: the length of the
    metrics file, the best evaluation, and the time of each part.
    """

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        config: dict,
        checkpoint: Checkpoint | None,
        report: Reporter,
        mirror: Mirror | None = None,
    ):
        """Opens the files as they were at a checkpoint; empty for a new run.

        `config`: settings of the run, which every checkpoint holds as well. `mirror`: where the
        folder is copied to after each checkpoint.

        Raises:
            InputError: the disk refuses.
        """
        info = {} if checkpoint is None else checkpoint.info
        self.setup, self.folder, self.config = setup, folder, config
        self.checkpoints = folder / "checkpoints"
        self._mirror, self._say = mirror, report.say
        keep_bytes = info.get("metrics", {}).get("bytes", 0)
        self.metrics = MetricsFile(folder / "metrics.jsonl", keep_bytes=keep_bytes)
        names = tracker_names(setup.config.trackers)
        rows = read_metrics(folder / "metrics.jsonl") if names else []
        label = _label(setup.config, config)
        trackers = open_trackers(names, folder, label, rows, report.say)
        self.sinks: list[Sink] = [ConsoleSink(report), *trackers]
        self.best = info.get("best", {"name": None, "return": -np.inf})
        # Checkpoints that are known to be undamaged, because this process has read or written them.
        self._whole = [] if checkpoint is None else [checkpoint.path.name]
        self.clock = setup.learner.clock
        self.clock.seconds.update(info.get("seconds", {}))
        self._epoch_started = time.perf_counter() - info.get("epoch_seconds", 0.0)
        self._started = time.perf_counter() - self.clock.seconds.pop("total", 0.0)
        self._reported = info.get("reported", dict(self.clock.seconds))

    def close(self) -> None:
        self.metrics.close()
        for sink in self.sinks:
            sink.close()

    def write(self, row: dict) -> None:
        """Writes a row that ends no epoch of this run: the hand-over, or a row of another run."""
        self.metrics.write(row)
        self._tell(row)

    def _tell(self, row: dict) -> None:
        for sink in self.sinks:
            sink.write(row)

    def seconds(self) -> dict[str, float]:
        """Wall-clock time by part, including the time before interruptions."""
        return dict(self.clock.seconds) | {"total": time.perf_counter() - self._started}

    def end_epoch(
        self,
        row: dict,
        state: LearnerState,
        acting: Acting | None,
        *,
        last: bool,
        stopping: bool = False,
    ) -> None:
        """Writes a row of metrics, a checkpoint if it is due, and then the row to all other sinks.

        `stopping`: the run is about to stop, so a checkpoint is made even if it is not due.
        """
        now, seconds = time.perf_counter(), self.clock.seconds
        row |= {f"time/{name}": v - self._reported.get(name, 0.0) for name, v in seconds.items()}
        row["time/epoch"] = now - self._epoch_started
        if row["stage"] == "online":
            steps = self.setup.config.online.steps_per_epoch
            row["time/steps_per_second"] = steps / row["time/epoch"]
        self._reported, self._epoch_started = dict(seconds), now
        self.metrics.write(row)
        due = last or row["epoch"] % self.setup.config.checkpoint_every == 0
        if due or stopping:
            self._save_epoch(row, state, acting, due=due)
        self._tell(row)  # this comes after the checkpoint, so that a slow service cannot delay it

    def _save_epoch(
        self, row: dict, state: LearnerState, acting: Acting | None, *, due: bool
    ) -> None:
        name = f"{row['stage']}-epoch-{row['epoch']:06d}"
        earned = row.get("eval/return")
        # The choice of the best must not depend on where the run was stopped.
        if due and earned is not None and earned > self.best["return"]:
            self.best = {"name": name, "return": earned}
        info, arrays = ({}, {}) if acting is None else acting.pack()
        info |= {"stage": row["stage"], "epoch": row["epoch"]}
        self._save(name, state, arrays, info)
        self.save_policy(state)
        self._publish()

    def save_part(self, epoch: Epoch, state: LearnerState, before: PyTree, acting: Acting) -> None:
        """Saves the epoch under way: its transitions, and what it has learned and measured so far.

        `before`: policy and models at the end of the previous epoch, see `policy_in_models`.
        """
        done = epoch.number - 1
        info, arrays = acting.pack()
        facts, measured = epoch.pack()
        info |= {"stage": "online", "epoch": done, "part": facts}
        parts = {"learner": state, "before": before}
        name = f"online-epoch-{done:06d}-step-{epoch.observed:06d}"
        self._save(name, parts, arrays | measured, info)
        self._publish()

    def _publish(self) -> None:
        """Copies what is new to the store, if there is one; while it cannot be reached, it waits.

        The end of the run copies what is missing, or fails.
        """
        try:
            if self._mirror is not None:
                self._mirror.push()
        except WriteError as error:
            self._say(f"note: {error}")

    def _save(self, name: str, state: PyTree, arrays: dict, info: dict) -> None:
        save_checkpoint(self.checkpoints, name, state, arrays=arrays, info=self._facts() | info)
        self._whole = [*(old for old in self._whole if old != name), name]
        if len(kept := self._whole[-KEEP:]) == KEEP:
            prune(self.checkpoints, keep={*kept, self.best["name"] or ""})

    def _facts(self) -> dict:
        """The information of every checkpoint besides the state."""
        now = time.perf_counter()
        return {
            "dataset_sha256": _sha256(self.setup),
            "dataset_rows": self.setup.sum_of_rows,
            "environment": self.setup.world.registered,
            "moore": __version__,
            "step_limit": [self.setup.world.limit.steps, self.setup.world.limit.source],
            "config": self.config,
            "metrics": self.metrics.mark,
            "best": self.best,
            "seconds": self.seconds(),
            "epoch_seconds": now - self._epoch_started,
            "reported": self._reported,
        }

    def save_hand_over(self, state: LearnerState) -> None:
        """Saves the hand-over, from which any number of online stages can start."""
        if not is_whole(self.checkpoints / HAND_OVER):
            parts = handed_over(self.setup.learner, state)
            info = self._facts() | {"stage": HAND_OVER, "epoch": 0}
            save_checkpoint(self.checkpoints, HAND_OVER, parts, arrays={}, info=info)
        self.save_policy(state)
        self._publish()

    def save_policy(self, state: LearnerState) -> None:
        """Saves the newest policy for `load_policy`.

        Raises:
            InputError: the disk refuses.
        """
        setup = self.setup
        save_policy(self.folder / "policy", setup.policy(setup.learner.policy(state)))

    def save_clone(self, state: LearnerState) -> None:
        """Saves the clone of the log, which acts now, for sessions beside it."""
        setup = self.setup
        save_policy(self.folder / CLONE, setup.policy(setup.learner.policy(state)))

    def take_clone(self, run: Path) -> None:
        """Saves the clone of the run whose offline stage this one goes on from, if it has one."""
        if (run / CLONE).is_dir():
            save_policy(self.folder / CLONE, load_policy(run / CLONE))


def _sha256(setup: Setup) -> str:
    """SHA-256 of the log; empty without one."""
    return "" if setup.dataset is None else setup.dataset.sha256


def _label(config: Config, settings: dict) -> Label:
    """Name of this run for trackers."""
    return Label(config.env_id, config.algorithm, f"seed-{config.seed}", flat(settings))


def handed_over(learner: Learner, state: LearnerState) -> dict:
    """What goes from one stage to the next (line 4), the random key, and the acting policy."""
    return {
        "agent": state.agent,
        "experience": learner.experience.pack_hand_over(state.experience),
        "key": state.key,
        "acting": learner.policy(state),
    }


def from_hand_over(learner: Learner, fresh: LearnerState, parts: dict) -> LearnerState:
    """The state at the end of an offline stage, from a fresh state and what was handed over."""
    gate = fresh.gate
    if gate is not None:
        gate = dataclasses.replace(gate, acting=parts["acting"])
    return dataclasses.replace(
        fresh,
        agent=parts["agent"],
        experience=learner.experience.unpack_hand_over(fresh.experience, parts["experience"]),
        key=parts["key"],
        gate=gate,
    )


def _pack(running: RunningEpisode) -> tuple[dict, dict[str, np.ndarray]]:
    """A running episode as JSON and arrays."""
    episode = {
        "number": running.episode,
        "return": running.episode_return,
        "finished": list(running.finished_returns),
    }
    return episode, {"episode_actions": running.actions, "episode_obs": running.obs}


def unpack(checkpoint: Checkpoint) -> RunningEpisode:
    """The episode that was running at a checkpoint."""
    episode = checkpoint.info["episode"]
    return RunningEpisode(
        episode=episode["number"],
        actions=checkpoint.arrays["episode_actions"],
        obs=checkpoint.arrays["episode_obs"],
        episode_return=episode["return"],
        finished_returns=tuple(episode["finished"]),
    )
