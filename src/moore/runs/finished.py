"""Finished runs, read from their folders for reports that compare them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from moore.config import flat, read_toml
from moore.errors import InputError
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


def unlike(runs: Sequence[Finished]) -> list[str]:
    """Notes on runs that count as seeds of one variant, but have other settings or another log."""
    groups: dict[tuple[str, str], list[Finished]] = {}
    for run in runs:
        groups.setdefault((run.task, run.variant), []).append(run)
    notes = []
    for (task, variant), same in groups.items():
        who = f"the runs of {variant} on {task}"
        hashes = {(read_summary(run.folder).get("dataset") or {}).get("sha256") for run in same}
        if len(hashes - {None}) > 1:
            notes.append(
                f"{who} have learned from different logs with the same name; compare the runs of "
                "one log at a time."
            )
        if names := _differing([_settings(run.folder) for run in same]):
            notes.append(
                f"{who} differ in {', '.join(names[:3])}"
                + (f" and {len(names) - 3} more settings" if len(names) > 3 else "")
                + f", and are taken for seeds of one variant; --by {','.join(names[:3])} tells "
                "them apart."
            )
    return notes


def _settings(folder: Path) -> dict[str, object]:
    """The settings that the run uses, by their names; empty if this version cannot read them."""
    try:
        return flat(dataclasses.asdict(used_settings(settings_of(folder))))
    except InputError:
        return {}


def _differing(settings: list[dict[str, object]]) -> list[str]:
    known = [table for table in settings if table]
    names = (name for name in (known[0] if known else ()) if name not in _MAY_DIFFER)
    return [name for name in names if any(table[name] != known[0][name] for table in known)]


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
