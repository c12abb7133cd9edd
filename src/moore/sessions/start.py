"""Where a session starts: a finished run, read without its environment."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.bounds import Bounds
from moore.envs.limits import ASSUMED_STEPS, StepLimit
from moore.errors import InputError
from moore.files import short_path
from moore.runs.budgeting import make_chooser
from moore.runs.changes import check_kept, settings_of
from moore.runs.checkpoint import DamagedCheckpoint, newest_first, read_manifest
from moore.runs.folder import read_metrics
from moore.runs.hand_over import ACCEPT, ACCEPT_FIRST, check_hand_over, hand_over
from moore.runs.plan import read_plan
from moore.runs.policy_file import bounds_of, facts_of, read_files, telling_damage
from moore.runs.reading import load_hand_over, newest_checkpoint
from moore.runs.run_files import HAND_OVER, from_hand_over
from moore.runs.setup import Setup, prepare
from moore.runs.units import read_units
from moore.runs.world import World
from moore.sinks.console import Reporter
from moore.stages.epoch import Epoch, unpack_epoch
from moore.stages.online_learning import OnlineLearning


@dataclass(frozen=True)
class Start:
    """A run that a session goes on from.

    Attributes:
        setup: the parts of the run.
        learning: its online stage, at the beginning or where the run has stopped.
    """

    setup: Setup
    learning: OnlineLearning


def setup_of(run: Path, dataset: Dataset | str | Path | None) -> Setup:
    """The parts of a run, without an environment and without rehearsals.

    A rehearsal takes minutes, and a caller of `learn` asks for seconds.

    Raises:
        InputError: there is no run, or its log is not there.
    """
    config, plan = settings_of(run), read_plan(run)
    check_kept(plan.config, config, run)
    online = dataclasses.replace(config.online, rehearsal_epochs=0)
    return prepare(
        dataclasses.replace(config, online=online),
        dataset=dataset,
        split_seed=plan.split_seed,
        units=read_units(run, config),
        world=_world(run, config),
    )


def _world(run: Path, config: Config) -> World:
    """What a run's files say about its environment."""
    folder, about, _ = read_files(run)
    with telling_damage(folder):
        obs_dim, env_id = facts_of(about)
        bounds = Bounds(*bounds_of(about))
    limit = _step_limit(run, config)
    return World(None, None, env_id, bounds, obs_dim, limit, config.online.max_bad_readings)


def _step_limit(run: Path, config: Config) -> StepLimit:
    checkpoints = run / "checkpoints"
    for path in (*newest_first(checkpoints), checkpoints / HAND_OVER):
        try:
            steps, source = read_manifest(path)["info"]["step_limit"]
        except (DamagedCheckpoint, KeyError, TypeError, ValueError):
            continue  # runs of earlier versions did not write it down
        return StepLimit(int(steps), str(source))
    return StepLimit(config.episode_steps or ASSUMED_STEPS, "given")


def begin(
    run: Path,
    *,
    dataset: Dataset | str | Path | None,
    at: str,
    accept: tuple[str, ...],
) -> Start:
    """The online stage of a run, with which a session goes on.

    Args:
        run: folder of the run.
        dataset: its log, if the file has moved or it was given as an object.
        at: "newest", or "hand-over" for the end of the offline stage.
        accept: ("hand-over",) to act although something speaks against the policy.

    Raises:
        InputError: the offline stage is not done, or something speaks against its policy.
    """
    if at not in ("newest", "hand-over"):
        raise InputError(f"at is {at!r}; expected 'newest' or 'hand-over'.")
    setup = setup_of(run, dataset)
    learner = setup.learner
    found = None
    if at == "newest":
        quiet = Reporter(quiet=True)
        found = newest_checkpoint(setup, run, settings_of(run), quiet)
        if found is None or found.info["stage"] == "offline":
            raise InputError(
                f"{short_path(run)} has not finished its offline stage; go on with it first: "
                f"moore run --resume {short_path(run)}."
            )
    if found is None or found.info["stage"] == HAND_OVER:
        _check(run, setup, accept)
        parts = load_hand_over(setup, run)
        state = learner.hand_over(from_hand_over(learner, learner.init(setup.key), parts))
        return Start(setup, OnlineLearning(learner, state, make_chooser(setup, state, {}, {})))
    state, epoch = found.state, None
    if "part" in found.info:
        state, epoch = state["learner"], unpack_epoch(found.info["part"], found.arrays)
    chooser = make_chooser(setup, state, found.info["choice"], found.arrays)
    if epoch is None:
        state, epoch = learner.summarise_data(state), Epoch(found.info["epoch"] + 1)
    learning = OnlineLearning(learner, state, chooser, epoch=epoch)
    learning.abandon()  # the episode of the run goes on nowhere
    return Start(setup, learning)


def check_seed(seed: object) -> None:
    """Raises InputError unless it is a seed, or None."""
    is_whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
    if seed is not None and not (is_whole and 0 <= seed < 2**63):  # type: ignore[operator]
        raise InputError(f"seed is {seed!r}; expected a whole number from 0 to 2**63 - 1.")


def check_accepted(accept: object) -> None:
    """Raises InputError unless these are names of what a session may accept."""
    known = (ACCEPT, ACCEPT_FIRST)
    given = isinstance(accept, tuple | list)
    if not given or not all(name in known for name in accept):  # type: ignore[attr-defined]
        raise InputError(
            f"accept is {accept!r}; expected a tuple of names, of which a session knows "
            f"{', '.join(known)}."
        )


def _check(run: Path, setup: Setup, accept: tuple[str, ...]) -> None:
    """Raises InputError if the policy must not act in a live system."""
    found = hand_over(read_metrics(run / "metrics.jsonl"), setup.dataset)
    accepted = ACCEPT in (*accept, *setup.config.accept)
    try:
        check_hand_over(found, setup.world, accepted=accepted, is_live=True)
    except InputError as error:
        raise InputError(
            f"{error} In a session: Session.from_run(..., accept=('{ACCEPT}',))."
        ) from None
