"""Reads the checkpoints of a run that is resumed, or that another run starts from."""

import dataclasses
import json
from pathlib import Path

import equinox as eqx

from moore.config import Config, from_dict
from moore.errors import InputError
from moore.files import short_path
from moore.runs.changes import check_kept
from moore.runs.checkpoint import (
    Checkpoint,
    DamagedCheckpoint,
    load_checkpoint,
    newest_first,
    read_manifest,
)
from moore.runs.run_files import HAND_OVER, handed_over
from moore.runs.setup import Setup
from moore.runs.world import World
from moore.sinks.console import Reporter
from moore.sinks.json_lines import why_unknown
from moore.stages import epoch_diagnostics
from moore.stages.learner import Learner
from moore.stages.lengthen import lengthened

# Entries of a checkpoint's information, and their types; see `RunFiles`.
_FACTS = {
    "stage": str, "epoch": int, "config": dict, "metrics": dict, "best": dict, "seconds": dict,
    "dataset_sha256": str,
}  # fmt: skip


def newest_checkpoint(
    setup: Setup, folder: Path, config: Config, report: Reporter
) -> Checkpoint | None:
    """The newest checkpoint that is undamaged and has its metrics; None if there is none yet.

    Those of the online stage are tried first, then the hand-over, then the offline stage.

    Args:
        setup: parts of the run as it is to go on.
        folder: folder of the run.
        config: configuration in config.toml.
        report: function that is told which checkpoints are skipped.

    Raises:
        InputError: none of the checkpoints can be read, or they belong to another log or other
            settings.
    """
    epochs = newest_first(folder / "checkpoints")
    online = [path for path in epochs if path.name.startswith("online")]
    between = folder / "checkpoints" / HAND_OVER
    candidates = [*online, *([between] if between.is_dir() else []), *epochs[len(online) :]]
    why = ""
    for path in candidates:
        try:
            checkpoint = _load(setup, folder, config, path)
        except DamagedCheckpoint as damage:
            why = str(damage)
            report.say(f"{path.name} cannot be used ({why}); trying the one before it.")
            continue
        _check_log(checkpoint, setup, folder)
        check_environment(checkpoint.info, setup.world, folder)
        return checkpoint
    if candidates:
        raise InputError(
            f"no checkpoint of {short_path(folder)} can be read ({why}): put back a copy of the "
            "folder, or begin the run anew."
        )
    return None


def _load(setup: Setup, folder: Path, config: Config, path: Path) -> Checkpoint:
    info = _facts(path)
    if why := why_unknown(folder / "metrics.jsonl", info["metrics"]):
        raise DamagedCheckpoint(why)
    check_kept(info["config"], config, folder)
    if info["stage"] == HAND_OVER:
        return load_checkpoint(path, _hand_over_template(setup))
    learner = sized(setup.learner, from_dict(info["config"]).online.epochs)
    online = info["stage"] == "online"

    def shapes(key, learner: Learner = learner):
        state = learner.init(key)
        state = learner.hand_over(state) if online else state
        if "part" not in info:
            return state
        return {"learner": state, "before": epoch_diagnostics.policy_in_models(learner, state)}

    checkpoint = load_checkpoint(path, eqx.filter_eval_shape(shapes, setup.key))
    if not online or learner.config.online.epochs == setup.learner.config.online.epochs:
        return checkpoint
    state = checkpoint.state
    if "part" in info:
        state = state | {"learner": lengthened(setup.learner, state["learner"])}
    else:
        state = lengthened(setup.learner, state)
    return dataclasses.replace(checkpoint, state=state)


def _facts(path: Path) -> dict:
    """The information of the manifest, with types checked."""
    info = read_manifest(path).get("info")
    if not isinstance(info, dict):
        raise DamagedCheckpoint(f"its manifest has no '{next(iter(_FACTS))}'")
    for name, kind in _FACTS.items():
        if type(info.get(name)) is not kind:
            raise DamagedCheckpoint(f"its manifest has no '{name}'")
    return info


def sized(learner: Learner, epochs: int) -> Learner:
    """The learner of a run with this number of online epochs."""
    online = dataclasses.replace(learner.config.online, epochs=epochs)
    return learner.changed(config=dataclasses.replace(learner.config, online=online))


def newest_epoch(folder: Path) -> int:
    """Epoch of the run's newest undamaged checkpoint; -1 if there is none."""
    for path in newest_first(folder / "checkpoints"):
        try:
            info = _facts(path)
        except DamagedCheckpoint:
            continue
        if not why_unknown(folder / "metrics.jsonl", info["metrics"]):
            return info["epoch"]
    return -1


def load_hand_over(setup: Setup, source: Path) -> dict:
    """Agent, models, random key and acting policy at the end of that run's offline stage.

    Raises:
        InputError: the run has none, or one of another configuration or log.
    """
    try:
        _facts(source / "checkpoints" / HAND_OVER)
        checkpoint = load_checkpoint(source / "checkpoints" / HAND_OVER, _hand_over_template(setup))
    except DamagedCheckpoint as damage:
        raise InputError(f"{source} has no finished offline stage: {damage}.") from None
    _check_log(checkpoint, setup, source)
    return checkpoint.state


def _hand_over_template(setup: Setup):
    learner = setup.learner
    return eqx.filter_eval_shape(lambda key: handed_over(learner, learner.init(key)), setup.key)


def _check_log(checkpoint: Checkpoint, setup: Setup, folder: Path) -> None:
    """Raises InputError unless the log has the bytes and the rows that the run was begun with."""
    info, name = checkpoint.info, setup.config.dataset or "no log"
    now = "" if setup.dataset is None else setup.dataset.sha256
    if info["dataset_sha256"] != now:
        raise InputError(
            f"{name} is not the data set that {short_path(folder)} was begun with (its SHA-256 was "
            f"{info['dataset_sha256'][:12]}...). Put that log back, or say with --dataset where it "
            "is; to train on another log, begin another run."
        )
    if info.get("dataset_rows", setup.sum_of_rows) != setup.sum_of_rows:
        raise InputError(
            f"{name} has the hash of the data set that {short_path(folder)} was begun with, but "
            "other rows: its arrays were changed after it was loaded, its environment ends "
            "episodes after another number of steps, or this version reads it in another way. "
            "Give it as it was, or begin another run."
        )


def check_environment(info: dict, world: World, folder: Path) -> None:
    """Raises InputError if the environment has another id or another step limit than before."""
    before, now = info.get("environment", ""), world.registered
    if before and now and before != now:
        raise InputError(
            f"{short_path(folder)} was begun in {before}, not in {now}; a run goes on where it was "
            "begun: leave --env-id out, or begin another run."
        )
    steps, source = info.get("step_limit", (None, ""))
    if {source, world.limit.source} <= {"own", "given"} and steps != world.limit.steps:
        raise InputError(
            f"{short_path(folder)} was begun in an environment whose episodes end after {steps} "
            f"steps; now they end after {world.limit.steps}. Give the environment as it was, or "
            "begin another run."
        )


def offline_rows(source: Path) -> list[dict]:
    """Metrics of a run's offline stage, for the report of a run that starts from it.

    Raises:
        InputError: the offline stage is not done, or its metrics were altered.
    """
    try:
        mark = _facts(source / "checkpoints" / HAND_OVER)["metrics"]
        if why := why_unknown(source / "metrics.jsonl", mark):
            raise InputError(f"{source} cannot be begun from: {why}.")
        lines = (source / "metrics.jsonl").read_bytes()[: mark["bytes"]].decode().splitlines()
        return [row for row in map(json.loads, lines) if row["stage"] == "offline"]
    except (OSError, ValueError, KeyError, DamagedCheckpoint) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source} is not a run whose offline stage is done.") from None
