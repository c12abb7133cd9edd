"""What a run will take: time and memory, from a miniature of it on this machine."""

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.make import EnvSource
from moore.jax_settings import plain_jax
from moore.planning.calibration import Costs, Miniature
from moore.planning.memory import memory_of
from moore.planning.work import (
    Work,
    ends_sooner,
    evaluations,
    offline_work,
    online_work,
    rehearsal_work,
    with_fewest_epochs,
)
from moore.runs.plan import Stages
from moore.runs.sections import used_settings
from moore.runs.setup import Setup, prepare
from moore.runs.world import World
from moore.stages.learner import Learner

# Steps of an environment that tell what one of them takes.
_ENV_STEPS = 100


@dataclass(frozen=True)
class RunPart:
    """A part of a run.

    Attributes:
        stage: "once", "offline" or "online".
        name: name of the part.
        seconds: what all of it takes, at most.
    """

    stage: str
    name: str
    seconds: float


@dataclass(frozen=True)
class RunEstimate:
    """What a run takes on this machine, at most.

    Attributes:
        parts: where the time goes.
        spared: seconds of these that fall away if the offline stage ends as soon as it may.
        memory: bytes; None where the system does not tell what a process has.
        notes: sentences that say what may be less.
        calibration: seconds that it took to find out.
    """

    parts: tuple[RunPart, ...]
    spared: float
    memory: int | None
    notes: tuple[str, ...]
    calibration: float

    def seconds(self, *stages: str) -> float:
        """Seconds of these stages; of all without any."""
        return _total(part for part in self.parts if not stages or part.stage in stages)

    def as_json(self) -> dict:
        """As nested tables."""
        stages = {stage: self.seconds(stage) for stage in ("once", "offline", "online")}
        return asdict(self) | {"seconds": stages | {"total": self.seconds()}}


@plain_jax()
def estimate_run(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    stages: Stages = "both",
) -> RunEstimate:
    """Estimates a run without beginning it; the arguments are those of `moore.run`.

    Raises:
        InputError: `moore.run` would refuse the arguments.
    """
    begin = time.perf_counter()
    acts = stages != "offline"
    setup = prepare(used_settings(config), dataset=dataset, env=env, acts=acts)
    return estimate_prepared(setup, stages, begin)


@plain_jax()
def estimate_prepared(setup: Setup, stages: Stages, begin: float) -> RunEstimate:
    """Estimates a run that is prepared.

    Args:
        setup: its parts.
        stages: the stages that it would go through.
        begin: when its preparation began, by `time.perf_counter`.
    """
    prepared = time.perf_counter() - begin
    costs = Miniature(setup).costs()
    config, learner = setup.config, setup.learner
    offline = stages != "online" and learner.algorithm.uses_log
    online = stages != "offline"
    parts = [
        RunPart("once", "read and check the log", prepared),
        RunPart("once", "compile the programs", costs.starting),
    ]
    spared = 0.0
    if offline:
        most = offline_parts(learner, costs)
        parts += most
        spared = _total(most) - _total(offline_parts(with_fewest_epochs(learner), costs))
    if online:
        epochs = config.online.epochs
        parts += priced("online", online_work(learner, epochs), costs.online)
        parts.append(RunPart("online", "rehearsals", rehearsal_seconds(learner, epochs, costs)))
    notes = ends_sooner(config, offline=offline, has_models=learner.models is not None)
    if config.evaluation.episodes:
        step = seconds_of_a_step(setup.world)
        count = evaluations(setup, offline=offline, online=online)
        episodes = config.evaluation.episodes * setup.world.limit.steps
        parts.append(
            RunPart("online" if online else "offline", "evaluate", count * episodes * step)
        )
        if online and not setup.live:
            steps = config.online.epochs * config.online.steps_per_epoch
            parts.append(RunPart("online", "steps in the system", steps * step))
    if online and setup.live:
        notes.append("The time that the live system takes for its steps is not counted.")
    known = tuple(part for part in parts if part.seconds)
    memory = memory_of(costs, learner)
    return RunEstimate(known, spared, memory, tuple(notes), time.perf_counter() - begin)


# What people call the parts.
_NAMES = {
    "fit": "fit the models", "clone": "clone the log", "imagine": "imagine", "gate": "the gate",
    "update": "updates of the agent", "diagnose": "diagnostics", "act": "act",
    "observe": "take in steps", "refit": "refit the models",
}  # fmt: skip


def priced(stage: str, work: Work, costs: Mapping[str, float]) -> list[RunPart]:
    """The parts of a stage; those that nothing was measured of take no time."""
    return [
        RunPart(stage, _NAMES[name], count * costs[name])
        for name, count in work.items()
        if name in costs
    ]


def offline_parts(learner: Learner, costs: Costs) -> list[RunPart]:
    """The parts of the offline stage; at its end the agent of the online stage learns."""
    parts = priced("offline", offline_work(learner), costs.offline)
    if updates := learner.config.offline.log_updates:
        seconds = updates * costs.online["update"]
        parts.append(RunPart("offline", "updates of the online agent on the log", seconds))
    return parts


def rehearsal_seconds(learner: Learner, epochs: int, costs: Costs) -> float:
    """What the rehearsals in so many online epochs take."""
    return _total(priced("online", rehearsal_work(learner, epochs), costs.offline))


def _total(parts: Iterable[RunPart]) -> float:
    return sum((part.seconds for part in parts), 0.0)


def seconds_of_a_step(world: World) -> float:
    """How many seconds a step of an environment of evaluation takes, measured here."""
    with contextlib.closing(world.make_env()) as env:
        env.reset(seed=0)
        action = np.zeros(world.bounds.low.size, np.float32)
        begin = time.perf_counter()
        for _ in range(_ENV_STEPS):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return (time.perf_counter() - begin) / _ENV_STEPS
