"""Begins a run: checks the arguments, and makes its folder."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

from moore.config import Config, read_toml
from moore.data.dataset import Dataset
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import locked, short_path, whole_path, write_whole, writing
from moore.jax_settings import plain_jax
from moore.runs.budgeting import check_budget
from moore.runs.changes import kept
from moore.runs.execution import RunResult, Until, execute
from moore.runs.mirror import Mirror, brought
from moore.runs.plan import Plan, Stages, functions, is_free, read_plan
from moore.runs.reading import load_hand_over, offline_rows
from moore.runs.sections import run_toml, used_settings
from moore.runs.setup import Setup, prepare
from moore.runs.signals import Stop
from moore.runs.units import read_units, write_units
from moore.runs.world import check_same_bounds
from moore.sinks.trackers import check_installed, tracker_names


@dataclass(frozen=True)
class ReadyRun:
    """A run that only has to begin.

    Attributes:
        setup: its parts.
        folder: the folder that it will write, which is free.
        start: the run that its online stage starts from; None if there is none.
        split_seed: seed of the log's holdout, see `prepare`.
    """

    setup: Setup
    folder: Path
    start: Path | None
    split_seed: int | None


@plain_jax()
def get_ready(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    out: str | Path | None = None,
    stages: Stages = "both",
    start_from: str | Path | None = None,
) -> ReadyRun:
    """Does all that `run` does before it writes anything; takes the same arguments.

    Raises:
        InputError: what would also stop the run before its training.
    """
    _check_asked(config, stages, start_from)
    check_installed(tracker_names(config.trackers))
    start = None if start_from is None else whole_path(brought(start_from))
    out = None if out is None else whole_path(brought(out))
    split_seed = None if start is None else _split_seed(start)
    units = None if start is None else read_units(start, config)
    if out is not None:
        _check_free(out)  # this comes before an environment is made
    # Before an environment may change the working folder.
    runs = whole_path("runs") if out is None else out.parent
    setup = prepare(
        used_settings(config),  # the configuration that the folder will hold
        dataset=dataset,
        env=env,
        system=system,
        split_seed=split_seed,
        units=units,
        acts=stages != "offline",
    )
    check_budget(setup)
    if stages != "both" and not setup.learner.algorithm.uses_log:
        raise InputError(
            f"{config.algorithm} has no offline stage of its own; train it with moore run."
        )
    folder = out if out is not None else runs / _default_name(setup.config)
    _check_free(folder)
    if start is not None:
        check_same_bounds(start, setup.world.bounds)
        load_hand_over(setup, start)  # an error comes before anything is written
        offline_rows(start)
    return ReadyRun(setup, folder, start, split_seed)


def _check_asked(config: Config, stages: Stages, start_from: str | Path | None) -> None:
    """Refuses what a program may have mixed up, before anything is read."""
    if not isinstance(config, Config):
        given = repr(config) if isinstance(config, str) else f"a {type(config).__name__}"
        raise InputError(
            f"config is {given}; expected settings, such as moore.preset('quickstart')."
        )
    if stages not in get_args(Stages):
        raise InputError(f"stages is {stages!r}; expected one of {', '.join(get_args(Stages))}.")
    if (stages == "online") != (start_from is not None):
        raise InputError(
            "stages='online' and start_from=RUN belong together: RUN is a run whose offline stage "
            "is done."
        )


def begin(
    config: Config,
    stop: Stop,
    *,
    dataset: Dataset | str | Path | None,
    env: EnvSource | None,
    system: EnvSource | None,
    out: str | Path | None,
    stages: Stages,
    start_from: str | Path | None,
    until: Until | None,
    mirror: Mirror | None,
    quiet: bool,
) -> RunResult:
    """As `run` in `moore.runs.run`, with signals that ask to stop and the copy in a store."""
    ready = get_ready(
        config, dataset=dataset, env=env, system=system, out=out, stages=stages,
        start_from=start_from,
    )  # fmt: skip
    setup, folder = ready.setup, ready.folder
    with writing(folder):
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _check_free(folder)  # another process may have begun a run in this folder meanwhile
        write_whole(folder / "config.toml", run_toml(setup.config))
        write_units(folder, setup.units, setup.config)
        given = functions(env, system)
        plan = Plan(stages, ready.start, ready.split_seed, given, kept(setup.config))
        plan.write(folder)  # written last: from here on the folder is a run
        return execute(
            setup, folder, plan, None, until=until, stop=stop, mirror=mirror, quiet=quiet
        )


def _check_free(folder: Path) -> None:
    with writing(folder):  # a name may be too long
        free = is_free(folder)
    if not free:
        raise InputError(
            f"{short_path(folder)} already exists and is not empty; a run is never overwritten. "
            "Choose another --out, or go on with --resume."
        )


def _split_seed(start: Path) -> int | None:
    """Seed of the first run of the chain that this run starts from; None if there is none."""
    try:
        inherited = read_plan(start).split_seed
        return read_toml(start / "config.toml").seed if inherited is None else inherited
    except InputError:
        return None  # `load_hand_over` reports what is missing


def _default_name(config: Config) -> str:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    env = config.env_id.replace("/", "-").replace(":", "-")
    return f"{env}__{config.algorithm}__{config.seed}__{stamp}"
