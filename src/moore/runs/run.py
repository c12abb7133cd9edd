"""Begins or resumes a run: checks the arguments and makes or reads its folder."""

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from moore.config import Config, read_toml
from moore.data.dataset import Dataset
from moore.data.names import at_home, split_names
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import locked, short_path, whole_path, write_whole, writing
from moore.jax_settings import plain_jax
from moore.runs.changes import altered, check_kept, kept, settings_of
from moore.runs.execution import RunResult, Until, execute
from moore.runs.mirror import Mirror, brought, is_url
from moore.runs.plan import Plan, Stages, functions, how_to_resume, is_free, read_plan
from moore.runs.reading import load_hand_over, newest_checkpoint, offline_rows
from moore.runs.sections import run_toml, used_settings
from moore.runs.setup import Setup, prepare
from moore.runs.signals import Stop, listening
from moore.runs.units import read_units, write_units
from moore.runs.world import check_same_bounds
from moore.sinks.console import Reporter
from moore.sinks.trackers import check_installed, tracker_names


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
    """Trains a policy: offline stage, hand-over, online stage, report.

    Args:
        config: all settings that the result depends on.
        dataset: the log; by default the configuration's.
        env: id of the environment, or a function that makes one. Every evaluation episode has an
            environment of its own. By default the configuration's.
        system: the live system, as an id or a function. Only the acting policy uses it, from the
            hand-over on; it is made once before, to check that it fits. By default an environment
            of `env`.
        out: a new folder; by default `runs/{env}__{algorithm}__{seed}__{time}`. Or a URL that
            fsspec knows, see `moore.runs.mirror`.
        stages: both stages, or only one; "online" needs `start_from`.
        start_from: run with a finished offline stage, from which the online stage starts.
        until: function of the metrics and the state of every online epoch; if it returns True the
            run ends after this epoch.
        quiet: print nothing.

    Raises:
        InputError: the arguments do not fit together; this is found before training starts.

    Examples:
        >>> result = run(preset("quickstart"), out="runs/first")  # doctest: +SKIP
        >>> result.summary["transfer"]["gain"]  # doctest: +SKIP
    """
    with _obeying_signals() as stop, _mirrored(out) as mirror:
        return _begin(
            config, stop, dataset=dataset, env=env, system=system, out=out, stages=stages,
            start_from=start_from, until=until, mirror=mirror, quiet=quiet,
        )  # fmt: skip


def _begin(
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
    """As `run`."""
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


@dataclasses.dataclass(frozen=True)
class Ready:
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
) -> Ready:
    """Does all that `run` does before it writes anything; takes the same arguments.

    Raises:
        InputError: what would also stop the run before its training.
    """
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
    return Ready(setup, folder, start, split_seed)


@contextlib.contextmanager
def _mirrored(place: str | Path | None) -> Iterator[Mirror | None]:
    """The copy of a run in a store, which in the end has all that the run has written."""
    if not is_url(place):
        yield None
        return
    mirror = Mirror(str(place))
    yield mirror
    mirror.push()


@contextlib.contextmanager
def _obeying_signals() -> Iterator[Stop]:
    """Listens to signals, and turns an exit of the environment into an error."""
    with listening() as stop:
        try:
            yield stop
        except SystemExit as end:
            raise InputError(
                f"the environment (or a function that was given) ended the program itself: "
                f"SystemExit({end.code!r}). It must not call exit(); let it raise an error, or end "
                "the episode."
            ) from end


@plain_jax()
def resume(
    folder: str | Path,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    until: Until | None = None,
    epochs: int | None = None,
    checkpoint_every: int | None = None,
    track: tuple[str, ...] | None = None,
    tensorboard: bool | None = None,
    quiet: bool = False,
) -> RunResult:
    """Resumes a run from its last checkpoint, bit for bit on CPU.

    Args:
        folder: folder of the run, or its URL.
        dataset: the log, if its file has moved or it was given as an object.
        env: the environment, if it was given as a function.
        system: the live system, if one was given. Its running episode cannot be replayed, so a new
            one begins; the same holds for `env` if nothing is evaluated.
        until: as in `run`.
        epochs: larger number of online epochs, also for a finished run. The buffers grow, so the
            run can differ from one that had this length from the start.
        checkpoint_every, track, tensorboard: new values of these settings from now on.
        quiet: print nothing.

    Raises:
        InputError: there is no run, the log, the version or the settings are other ones, no
            checkpoint can be read, or an environment or system is missing that was given before.
    """
    with _obeying_signals() as stop, _mirrored(folder) as mirror:
        place = whole_path(folder) if mirror is None else mirror.pull()
        return _go_on(
            place, stop, dataset=dataset, env=env, system=system, until=until, mirror=mirror,
            quiet=quiet,
            changes={"epochs": epochs, "checkpoint_every": checkpoint_every,
                     "track": track, "tensorboard": tensorboard},
        )  # fmt: skip


def _go_on(
    folder: Path,
    stop: Stop,
    *,
    dataset: Dataset | str | Path | None,
    env: EnvSource | None,
    system: EnvSource | None,
    until: Until | None,
    mirror: Mirror | None,
    quiet: bool,
    changes: dict,
) -> RunResult:
    """As `resume`."""
    config, plan = settings_of(folder), read_plan(folder)
    check_kept(plan.config, config, folder)
    config = altered(config, plan, folder, **changes)
    check_installed(tracker_names(config.trackers))
    if missing := [name for name in plan.given if {"env": env, "system": system}[name] is None]:
        raise InputError(
            f"{short_path(folder)} was given its {' and its '.join(missing)} in Python, and goes "
            f"on with the same: {how_to_resume(folder, plan, until=until)}."
        )
    if dataset is None:
        _check_log_is_there(config.dataset, folder)
    with locked(folder):
        setup = prepare(
            config,
            dataset=dataset,
            env=env,
            system=system,
            split_seed=plan.split_seed,
            units=read_units(folder, config),
            acts=plan.stages != "offline",
            fresh=False,
        )
        check_same_bounds(folder, setup.world.bounds)
        checkpoint = newest_checkpoint(setup, folder, config, Reporter(quiet=quiet))
        given = tuple(dict.fromkeys([*plan.given, *functions(env, system)]))
        now = dataclasses.replace(plan, given=given, config=kept(config))
        if config.online.epochs != (plan.config or {}).get("online", {}).get("epochs"):
            (folder / "summary.json").unlink(missing_ok=True)  # the run is not finished any more
        if now != plan:
            write_whole(folder / "config.toml", run_toml(config))
            now.write(folder)
        return execute(
            setup, folder, now, checkpoint, until=until, stop=stop, mirror=mirror, quiet=quiet
        )


def _check_log_is_there(dataset: str, folder: Path) -> None:
    """Raises InputError if the log of a run is a file or folder that does not exist any more."""
    for name in split_names(dataset) if dataset else []:
        pattern = name.startswith(("minari:", "builtin:")) or "*" in name
        if not pattern and not at_home(name).exists():
            raise InputError(
                f"{short_path(folder)} was begun with the log {name}, which is not there (a path "
                "that is not whole counts from the folder in which the command was given): put it "
                "back, or say with --dataset where it is."
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
