"""Many runs side by side: transfer metrics per task and variant, and pooled over tasks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moore.config import flat, read_toml
from moore.errors import InputError
from moore.evaluation.stats import iqm, probability_of_improvement
from moore.numbers import without_nulls
from moore.reports.plots import known_reference
from moore.reports.reading import read_metrics, read_summary

# Metrics of `transfer`: the one for pooling over tasks where scores exist, whether more is better.
METRICS: dict[str, tuple[str, bool]] = {
    "offline": ("offline_score", True),
    "dip_share": ("dip_share", False),
    "behaviour_dip_share": ("behaviour_dip_share", False),
    "final": ("final_score", True),
    "gain": ("gain_score", True),
    "auc": ("auc_score", True),
    "epochs_to_threshold": ("epochs_to_threshold", False),
}


# What tells a run from the others.
_IDENTITY = ("env_id", "algorithm", "scheme", "seed")


@dataclass(frozen=True)
class Finished:
    """A run that is over.

    Attributes:
        folder: of the run.
        task: environment and log.
        variant: what is compared: the scheme, or the algorithm where it fixes the scheme.
        seed: of the run.
        transfer: the metrics of the transfer that are numbers.
        rows: of metrics.jsonl, each with what was logged as a number.
        reference: returns of random and expert, or None.
    """

    folder: Path
    task: str
    variant: str
    seed: int
    transfer: dict
    rows: list[dict]
    reference: dict | None


def read_runs(folders: Sequence[str | Path], *, by: Sequence[str] = ()) -> list[Finished]:
    """Runs by their folders; a folder that holds run folders stands for all of them.

    Args:
        folders: of runs or sweeps.
        by: settings that tell variants apart beside algorithm and scheme, such as
            `online.updates_per_step`.

    Raises:
        InputError: nothing there, or a run without a transfer.
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


def _runs_below(folder: Path) -> list[Path]:
    """Finished runs with an online stage, in the order of their names."""
    runs = sorted(path.parent for path in folder.glob("**/summary.json"))
    return [run for run in runs if "transfer" in read_summary(run)]


def _twice(keys: list[tuple]) -> tuple | None:
    seen = set()
    return next((key for key in keys if key in seen or seen.add(key)), None)


def _read(folder: Path, by: Sequence[str]) -> Finished:
    summary = without_nulls(read_summary(folder))
    if not summary.get("transfer"):
        what = "was not evaluated" if "acting" in summary else "has no online stage"
        if summary.get("not_finite"):
            what = "has evaluations that are no finite numbers"
        raise InputError(f"{folder} {what}, so there is no transfer to compare.")
    needed = ("env_id", "algorithm", "scheme", "seed", "reference")
    missing = [name for name in needed if name not in summary]
    missing += [name for name in ("offline", "final") if summary["transfer"].get(name) is None]
    if missing:
        raise InputError(f"{folder}/summary.json is damaged: it has no '{missing[0]}'.")
    log = summary.get("dataset") or {}
    task = summary["env_id"] + (f" {_short(log['name'])}" if log.get("name") else "")
    variant = summary["scheme"] if summary["algorithm"] == "moore" else summary["algorithm"]
    variant = " ".join([variant, *(f"{name}={_setting(folder, name)}" for name in by)])
    rows = without_nulls(read_metrics(folder / "metrics.jsonl"))
    return Finished(
        folder=folder,
        task=task,
        variant=variant,
        seed=summary["seed"],
        transfer=summary["transfer"],
        rows=[row for row in rows if "epoch" in row],
        reference=known_reference(summary),
    )


def _short(name: str) -> str:
    """The names of the log's files, without folders and suffixes."""
    parts = [part.strip() for part in name.split(",")]
    return "+".join(p if ":" in p else Path(p).stem for p in parts)


def _setting(folder: Path, name: str) -> object:
    settings = flat(dataclasses.asdict(read_toml(folder / "config.toml")))
    if name not in settings:
        raise InputError(f"{folder}: config.toml has no setting '{name}'.")
    return settings[name]


def compare(runs: Sequence[Finished]) -> dict:
    """Everything that `moore compare` shows, JSON-able.

    Returns:
        tasks, variants: names, in the order of the runs.
        cells: a list of {task, variant, seeds, values, estimates}, where `values` has every seed's
            metrics and `estimates` their IQM with a 95% interval.
        pooled: for each variant the estimates over all tasks, on scores where these exist.
        improvement: for each pair of variants P(first beats second) in final score, with interval;
            without those of a variant where a seed has no final return.
        missing: [task, variant, seed] that another variant or task has.
    """
    tasks, variants = _unique(r.task for r in runs), _unique(r.variant for r in runs)
    cells = {}
    for run in runs:
        cells.setdefault((run.task, run.variant), []).append(run)
    shown = [
        {
            "task": task,
            "variant": variant,
            "seeds": [run.seed for run in found],
            "values": {m: [run.transfer.get(m) for run in found] for m in METRICS},
            "estimates": {m: estimate([[run.transfer.get(m) for run in found]]) for m in METRICS},
        }
        for (task, variant), found in sorted(
            cells.items(), key=lambda item: (tasks.index(item[0][0]), variants.index(item[0][1]))
        )
    ]
    return {
        "tasks": tasks,
        "variants": variants,
        "cells": shown,
        "pooled": {variant: _pooled(cells, tasks, variant) for variant in variants},
        "improvement": _improvement(cells, tasks, variants),
        "missing": _missing(cells, tasks, variants),
    }


def _unique(names) -> list[str]:
    return list(dict.fromkeys(names))


def estimate(scores: Sequence[list]) -> dict | None:
    """IQM and interval of tasks' seeds, as a dictionary; None where a seed has no such number."""
    if not scores or any(value is None for task in scores for value in task):
        return None
    return dataclasses.asdict(iqm(_arrays(scores)))


def _pooled(cells: dict, tasks: list[str], variant: str) -> dict:
    found = [cells[task, variant] for task in tasks if (task, variant) in cells]
    return {
        metric: estimate([[run.transfer.get(score) for run in task] for task in found])
        for metric, (score, _) in METRICS.items()
    }


def _improvement(cells: dict, tasks: list[str], variants: list[str]) -> list[dict]:
    """Of each variant over each other one, on the tasks that both have."""
    pairs = []
    for first in variants:
        for second in variants:
            both = [t for t in tasks if (t, first) in cells and (t, second) in cells]
            if first == second or not both:
                continue
            ours, theirs = (
                [[run.transfer.get("final") for run in cells[task, name]] for task in both]
                for name in (first, second)
            )
            if any(final is None for task in [*ours, *theirs] for final in task):
                continue
            better = probability_of_improvement(*map(_arrays, (ours, theirs)))
            pairs.append({"first": first, "second": second, **dataclasses.asdict(better)})
    return pairs


def _arrays(scores: list[list]) -> list[np.ndarray]:
    return [np.asarray(task, float) for task in scores]


def _missing(cells: dict, tasks: list[str], variants: list[str]) -> list[list]:
    seeds = sorted({run.seed for found in cells.values() for run in found})
    have = {(task, name, run.seed) for (task, name), found in cells.items() for run in found}
    return [
        [task, name, seed]
        for task in tasks
        for name in variants
        for seed in seeds
        if (task, name, seed) not in have
    ]
