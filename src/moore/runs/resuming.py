"""Goes on with a run: checks that all is as it was, and reads its folder."""

import dataclasses
from pathlib import Path

from moore.data.dataset import Dataset
from moore.envs.make import EnvSource
from moore.errors import InputError
from moore.files import locked, short_path, write_whole
from moore.formats.names import at_home, split_names
from moore.runs.changes import altered, check_kept, kept, settings_of
from moore.runs.execution import RunResult, Until, execute
from moore.runs.mirror import Mirror
from moore.runs.plan import functions, how_to_resume, read_plan
from moore.runs.reading import newest_checkpoint
from moore.runs.sections import run_toml
from moore.runs.setup import prepare
from moore.runs.signals import Stop
from moore.runs.units import read_units
from moore.runs.world import check_same_bounds
from moore.sinks.console import Reporter
from moore.sinks.trackers import check_installed, tracker_names


def go_on(
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
    """As `resume` in `moore.runs.run`, for a folder of this machine; `changes` of `altered`."""
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
