"""Finished runs, read from their folders for reports that compare them."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

from moore.config import flat, read_toml
from moore.errors import InputError, near_folder
from moore.numbers import without_nulls
from moore.reports.compare import Finished
from moore.reports.headline import known_reference
from moore.reports.unchanging import unchanging
from moore.runs.changes import settings_of
from moore.runs.folder import read_metrics, read_summary
from moore.runs.sections import used_settings


def read_runs(folders: Sequence[str | Path], *, by: Sequence[str] = ()) -> list[Finished]:
    """Reads finished runs; a folder that holds run folders stands for all of them.

    Args:
        folders: folders of runs or sweeps.
        by: settings that tell variants apart besides algorithm and scheme, such as
            `online.updates_per_step`.

    Raises:
        InputError: there is no run, or a run has no transfer to compare.
    """
    found = []
    for folder in map(Path, folders):
        runs = [folder] if (folder / "summary.json").exists() else _runs_below(folder)
        if not folder.exists():
            raise InputError(f"there is no folder {folder}{near_folder(folder)}")
        if not runs:
            raise InputError(
                f"{folder} is no finished run (it has no summary.json) and holds none with "
                "an online stage that was evaluated."
            )
        found += [_read(run, by) for run in runs]
    twice = _twice([(run.task, run.variant, run.seed) for run in found])
    if twice:
        task, variant, seed = twice
        raise InputError(
            f"{variant} on {task} has seed {seed} twice; give each run once, or tell the variants "
            "apart with --by SETTING."
        )
    return found


# Settings in which runs of one variant may differ: none of their results depends on these, apart
# from the seed; a log may have been moved, and is told by its hash.
_MAY_DIFFER = ("seed", "dataset", "checkpoint_every", "track", "tensorboard")


# Settings by which runs of one task measure other things, whatever their variants are.
_MEASURED = (
    "env_args",
    "episode_steps",
    "max_rows",
    "fraction",
    "online.epochs",
    "online.steps_per_epoch",
    "evaluation.episodes",
)


def unlike(runs: Sequence[Finished], *, by: Sequence[str] = ()) -> list[str]:
    """Notes on runs that stand side by side, but have other settings or another log.

    Args:
        runs: the runs, from `read_runs`.
        by: settings that tell variants apart, in which these may differ.
    """
    notes = []
    for task in dict.fromkeys(run.task for run in runs):
        of_task = [run for run in runs if run.task == task]
        hashes = {(read_summary(run.folder).get("dataset") or {}).get("sha256") for run in of_task}
        if len(hashes - {None}) > 1:
            notes.append(
                f"the runs on {task} have learned from different logs with the same name; compare "
                "the runs of one log at a time."
            )
        settings = {run.folder: _settings(run.folder) for run in of_task}
        told = set(by)
        for variant in dict.fromkeys(run.variant for run in of_task):
            same = [settings[run.folder] for run in of_task if run.variant == variant]
            if names := _differing(same):
                told |= set(names)
                notes.append(_seeds_differ(f"the runs of {variant} on {task}", names))
        if names := [name for name in _differing(settings.values(), _MEASURED) if name not in told]:
            notes.append(
                f"the runs on {task} differ in {', '.join(names)}, so that what they show was not "
                "measured alike."
            )
    return notes


def _seeds_differ(who: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more settings" if len(names) > 3 else ""
    return (
        f"{who} differ in {', '.join(names[:3])}{more}, and are taken for seeds of one variant; "
        f"--by {','.join(names[:3])} tells them apart."
    )


def _settings(folder: Path) -> dict[str, object]:
    """The settings that the run uses, by their names; empty if this version cannot read them."""
    try:
        return flat(dataclasses.asdict(used_settings(settings_of(folder))))
    except InputError:
        return {}


def _differing(settings: Iterable[dict[str, object]], of: Sequence[str] | None = None) -> list[str]:
    """The settings that are not the same in all of these tables; of these names, if any is given.

    Tables that are empty are left out, and so are the settings that may differ.
    """
    known = [table for table in settings if table]
    names = of if of is not None else [name for name in (known[0] if known else ())]
    return [
        name
        for name in names
        if name not in _MAY_DIFFER and any(table.get(name) != known[0].get(name) for table in known)
    ]


def _runs_below(folder: Path) -> list[Path]:
    """Folders of finished runs with an online stage, in the order of their names."""
    runs = sorted(path.parent for path in folder.glob("**/summary.json"))
    return [run for run in runs if "transfer" in read_summary(run)]


def _twice(keys: list[tuple]) -> tuple | None:
    seen = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None


def _read(folder: Path, by: Sequence[str]) -> Finished:
    summary = without_nulls(read_summary(folder))
    if not summary.get("transfer"):
        what = "was not evaluated" if "acting" in summary else "has no online stage"
        if summary.get("not_finite"):
            what = "has evaluations that are not finite"
        raise InputError(f"{folder} {what}, so there is no transfer to compare.")
    needed = ("env_id", "algorithm", "scheme", "seed")
    missing = [name for name in needed if name not in summary]
    missing += [name for name in ("offline", "final") if summary["transfer"].get(name) is None]
    if missing:
        raise InputError(f"{folder}/summary.json is damaged: it has no '{missing[0]}'.")
    log = summary.get("dataset") or {}
    task = summary["env_id"] + (f" {_short(log['name'])}" if log.get("name") else "")
    variant = summary["scheme"] if summary["algorithm"] == "moore" else summary["algorithm"]
    variant = " ".join([variant, *(f"{name}={_setting(folder, name)}" for name in by)])
    rows = without_nulls(read_metrics(folder / "metrics.jsonl"))
    rows = [row for row in rows if "epoch" in row]
    ends, steps = (rows[-1] if rows else {}).get("env_steps"), summary.get("env_steps")
    if None not in (ends, steps) and ends != steps:
        raise InputError(
            f"{folder}/metrics.jsonl ends after {ends:,} steps, and summary.json tells of "
            f"{steps:,}; copy the folder again, so that both are of one run."
        )
    return Finished(
        folder=folder,
        task=task,
        variant=variant,
        seed=summary["seed"],
        transfer=summary["transfer"],
        rows=rows,
        reference=known_reference(summary),
        unchanging=unchanging(summary, rows),
    )


def _short(name: str) -> str:
    """Names of the log's files, without folders and suffixes."""
    parts = [part.strip() for part in name.split(",")]
    return "+".join(p if ":" in p else Path(p).stem for p in parts)


def _setting(folder: Path, name: str) -> object:
    settings = flat(dataclasses.asdict(read_toml(folder / "config.toml")))
    if name not in settings:
        raise InputError(f"{folder}: config.toml has no setting '{name}'.")
    return settings[name]
