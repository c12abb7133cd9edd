"""The few settings that may change when a run is resumed; all others must stay the same."""

import dataclasses
import json
from pathlib import Path

from moore.config import Config, flat, from_dict, read_toml
from moore.errors import InputError
from moore.files import short_path
from moore.runs.folder import check_is_there
from moore.runs.plan import Plan
from moore.runs.sections import run_dict, unused_sections

# No result of finished epochs depends on these settings.
CHANGEABLE = (
    "online.epochs", "online.max_bad_readings", "checkpoint_every", "track", "tensorboard",
)  # fmt: skip


def kept(config: Config) -> dict:
    """The settings that the run uses, as plans and checkpoints store them (in JSON)."""
    return json.loads(json.dumps(run_dict(config)))


def settings_of(folder: Path) -> Config:
    """The configuration in a run's folder.

    Raises:
        InputError: there is none, or this version cannot read it.
    """
    path = folder / "config.toml"
    check_is_there(path)
    try:
        return read_toml(path)
    except InputError as error:
        told = str(path) in str(error)
        raise InputError(str(error) if told else f"{path}: {error}") from None


def changed(begun: dict, now: Config) -> list[str]:
    """The settings that differ from those at the beginning of the run, except those that may.

    Sections that the run does not use are not compared; folders of earlier versions hold them too.

    Args:
        begun: settings at the beginning, from `kept`.
        now: configuration in config.toml.
    """
    first = from_dict(begun)
    before, after = (flat(dataclasses.asdict(config)) for config in (first, now))
    passed_over = {*CHANGEABLE, *unused_sections(first)}
    return [
        f"{name} is {after[name]} and was {before[name]}"
        for name in after
        if not {name, name.partition(".")[0]} & passed_over and after[name] != before[name]
    ]


def check_kept(begun: dict | None, now: Config, folder: Path) -> None:
    """Raises InputError, which names the settings, if config.toml was edited since the start."""
    try:
        others = [] if begun is None else changed(begun, now)
    except InputError as error:
        raise InputError(f"{short_path(folder)} was begun by another version: {error}") from None
    if others:
        more = f" (and {len(others) - 3} more)" if len(others) > 3 else ""
        raise InputError(
            f"{short_path(folder)}/config.toml was edited since the run was begun: "
            f"{'; '.join(others[:3])}{more}. A run keeps its settings (but for "
            f"{', '.join(CHANGEABLE)}): put them back, or begin another run with these."
        )


def altered(
    config: Config,
    plan: Plan,
    folder: Path,
    *,
    epochs: int | None,
    max_bad_readings: int | None,
    checkpoint_every: int | None,
    track: tuple[str, ...] | None,
    tensorboard: bool | None,
) -> Config:
    """The configuration with which a run is resumed.

    Raises:
        InputError: fewer online epochs are asked for than the run has, or it has no online stage.
    """
    if epochs is not None:
        if plan.stages == "offline":
            raise InputError(
                f"--online.epochs: {short_path(folder)} is an offline stage alone; "
                f"moore online --from {short_path(folder)} begins its online stage."
            )
        if epochs < config.online.epochs:
            raise InputError(
                f"--online.epochs is {epochs}; {short_path(folder)} has {config.online.epochs}, "
                "and a run can only be made longer."
            )
        config = dataclasses.replace(
            config, online=dataclasses.replace(config.online, epochs=epochs)
        )
    if max_bad_readings is not None:
        online = dataclasses.replace(config.online, max_bad_readings=max_bad_readings)
        config = dataclasses.replace(config, online=online)
    if checkpoint_every is not None:
        config = dataclasses.replace(config, checkpoint_every=checkpoint_every)
    if track is not None:
        config = dataclasses.replace(config, track=track)
    if tensorboard is not None:
        config = dataclasses.replace(config, tensorboard=tensorboard)
    return config
