"""What a budget of hours buys on a system of which there is a log: `moore plan`."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from moore.config import Config, EvaluationConfig
from moore.data.dataset import Dataset
from moore.data.intervals import MORE, row_seconds, span
from moore.envs.plant_spec import PlantSpec
from moore.errors import InputError
from moore.jax_settings import plain_jax
from moore.planning.calibration import Miniature
from moore.planning.estimate import RunPart, offline_parts, priced
from moore.planning.memory import memory_of
from moore.planning.trials import Promotion, Systems
from moore.planning.work import ends_sooner, online_work
from moore.runs.sections import used_settings
from moore.runs.setup import Setup, prepare

# Epochs that are waited for, and gains of a policy that is tried.
MILESTONES, GAINS = (25, 100), (0.1, 0.25, 0.5)
HOURS_OF_A_DAY = 24.0
_DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Live:
    """The system, and what may be spent on it.

    Attributes:
        steps_per_day: control steps of the live system in a day, over all days of the year.
        hours: hours of computation a day that learning may take.
        share: the dip budget; 0: no trials are counted.
    """

    steps_per_day: float
    hours: float
    share: float = 0.05

    def __post_init__(self):
        if not 0 < self.steps_per_day < 1e12:
            raise InputError(
                f"--steps-per-day is {self.steps_per_day:g}; expected how many control steps the "
                "system makes in a day, such as 86400 for one a second."
            )
        if not 0 < self.hours <= HOURS_OF_A_DAY:
            raise InputError(
                f"--hours is {self.hours:g}; expected hours of computation a day, more than 0 and "
                "at most 24."
            )
        if not 0 <= self.share < 1:
            raise InputError(f"--dip-budget is {self.share:g}; expected 0 or more, and below 1.")


@dataclass(frozen=True)
class PlannedTrials:
    """What the dip budget allows.

    Attributes:
        per_day: trials a day, if every challenger earns half of what the log's controller does.
        promotions: how many episodes it takes until a better policy is promoted.
        why_not: why nothing can be said; empty otherwise.
    """

    per_day: float | None = None
    promotions: tuple[Promotion, ...] = ()
    why_not: str = ""


@dataclass(frozen=True)
class LivePlan:
    """What the budget buys.

    Attributes:
        log: name, rows, complete episodes, their mean length and return.
        live: the system and the budget.
        algorithm: that of the settings.
        steps_per_epoch: live steps of an online epoch.
        starting, offline: seconds of the offline stage: what is done once, and parts, at most.
        epoch: seconds of computation of an online epoch, at most.
        epochs_by_steps, epochs_by_hours: epochs a day that the live steps are enough for, and that
            fit into the hours.
        days: for a number of epochs, the days until they are done.
        episodes_per_day: episodes of the live system in a day, if they are as long as the log's.
        trials: what the dip budget allows.
        memory: bytes; None where the system does not tell.
        notes: what may be less, or goes wrong.
        calibration: seconds that it took to find out.
    """

    log: Mapping[str, Any]
    live: Live
    algorithm: str
    steps_per_epoch: int
    starting: float
    offline: tuple[RunPart, ...]
    epoch: float
    epochs_by_steps: float
    epochs_by_hours: float
    days: Mapping[int, float]
    episodes_per_day: float
    trials: PlannedTrials
    memory: int | None
    notes: tuple[str, ...]
    calibration: float

    @property
    def epochs_per_day(self) -> float:
        """Epochs of steps a day that are also learned from."""
        return min(self.epochs_by_steps, self.epochs_by_hours)

    @property
    def offline_seconds(self) -> float:
        """Seconds of the offline stage, at most."""
        return self.starting + sum(part.seconds for part in self.offline)

    def as_json(self) -> dict:
        """As nested tables."""
        more = {"epochs_per_day": self.epochs_per_day, "offline_seconds": self.offline_seconds}
        return asdict(self) | more


@plain_jax()
def plan_live(log: Dataset, live: Live, config: Config) -> LivePlan:
    """Plans the learning of a session on a live system.

    Args:
        log: the log of the system.
        live: the system and the budget.
        config: settings; evaluations and diagnostics are left out.

    Raises:
        InputError: the log cannot be learned from, or the algorithm learns nothing from logs.
    """
    begin = time.perf_counter()
    setup = _setup(log, config)
    prepared = time.perf_counter() - begin
    costs, learner = Miniature(setup).costs(), setup.learner
    online = setup.config.online
    epoch = sum(part.seconds for part in priced("online", online_work(learner, 1), costs.online))
    by_steps = live.steps_per_day / online.steps_per_epoch
    by_hours = 3600.0 * live.hours / epoch
    steps = setup.world.limit.steps
    lengths = log.episode_lengths
    episodes = live.steps_per_day / float(lengths.mean() if lengths.size else steps)
    return LivePlan(
        log=_about(log),
        live=live,
        algorithm=setup.config.algorithm,
        steps_per_epoch=online.steps_per_epoch,
        starting=prepared + costs.starting,
        offline=tuple(offline_parts(learner, costs)),
        epoch=epoch,
        epochs_by_steps=by_steps,
        epochs_by_hours=by_hours,
        days={count: count / min(by_steps, by_hours) for count in MILESTONES},
        episodes_per_day=episodes,
        trials=_trials(log, steps, live.share, episodes),
        memory=memory_of(costs, learner),
        notes=(*_rate(log, live), *_notes(setup, by_steps=by_steps, by_hours=by_hours)),
        calibration=time.perf_counter() - begin,
    )


def _setup(log: Dataset, config: Config) -> Setup:
    """The parts of a run on this log, of whose system nothing else is known."""
    low, high = log.action.min(axis=0), log.action.max(axis=0)
    plant = PlantSpec(log.obs_dim, low.tolist(), high.tolist(), config.episode_steps)
    config = dataclasses.replace(
        config,
        env_id="",
        # No environment has a name here; which rule ends an episode makes no difference in time.
        termination="learned" if config.termination == "learned" else "never",
        diagnostics=False,
        evaluation=EvaluationConfig(episodes=0),
    )
    setup = prepare(used_settings(config), dataset=log, env=plant, acts=False)
    if not setup.learner.algorithm.uses_log:
        raise InputError(
            f"{config.algorithm} learns nothing from a log, so there is nothing to plan; choose "
            "an algorithm that does, such as --algorithm moore_robust."
        )
    return setup


def _about(log: Dataset) -> dict[str, Any]:
    count = len(log.episode_returns)
    return {
        "name": log.name,
        "rows": log.total,
        "episodes": count,
        "mean_steps": float(log.episode_lengths.mean()) if count else None,
        "mean_return": float(log.episode_returns.mean()) if count else None,
    }


def _trials(log: Dataset, steps: int, share: float, episodes_per_day: float) -> PlannedTrials:
    """What the budget allows, or why nothing can be said."""
    if not share:
        return PlannedTrials(why_not="Without a dip budget there are no trials.")
    try:
        systems = Systems(log, steps, share)
    except InputError as error:
        return PlannedTrials(why_not=str(error))
    per_day = systems.trials_per_episode() * episodes_per_day
    return PlannedTrials(per_day, tuple(systems.promotion(gain) for gain in GAINS))


def _rate(log: Dataset, live: Live) -> list[str]:
    """A note, if a day has no room for as many steps at the intervals of the log."""
    seconds = row_seconds(log.metadata)
    if seconds is None or live.steps_per_day * seconds < MORE * _DAY:
        return []
    return [
        f"The log has a row every {span(seconds)}, which makes {_DAY / seconds:,.0f} steps a day, "
        f"not {live.steps_per_day:,.0f}: a policy that is asked more often than its log was "
        "written knows another system. Give a log of the live system's interval, or its steps."
    ]


def _notes(setup: Setup, *, by_steps: float, by_hours: float) -> list[str]:
    found = list(setup.notes)
    if by_steps > by_hours:
        found.append(
            "The system makes more steps than can be learned from in these hours, so learning "
            "falls behind: allow more hours, or make fewer updates a step in a config.toml."
        )
    has_models = setup.learner.models is not None
    return found + ends_sooner(setup.config, offline=True, has_models=has_models)
