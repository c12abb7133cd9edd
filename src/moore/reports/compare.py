"""Compares many runs by their transfer metrics, per task and variant and pooled over tasks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moore.evaluation.stats import iqm, probability_of_improvement

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


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: folder of the run.
        task: environment and log.
        variant: the name to compare by, which is the scheme, or the algorithm if that fixes the
            scheme.
        seed: seed of the run.
        transfer: the metrics of the transfer that are numbers.
        rows: rows of metrics.jsonl, reduced to their numbers.
        reference: returns of random and expert; may be None.
    """

    folder: Path
    task: str
    variant: str
    seed: int
    transfer: dict
    rows: list[dict]
    reference: dict | None


def compare(runs: Sequence[Finished]) -> dict:
    """Everything that `moore compare` shows, JSON-able.

    Returns:
        tasks, variants: names, in the order of the runs.
        cells: a list of {task, variant, seeds, values, estimates}, where `values` has every seed's
            metrics and `estimates` their IQM with a 95% interval.
        pooled: for each variant the estimates over all tasks, on scores where these exist.
        improvement: for each pair of variants P(first beats second) in final score, with interval;
            a variant is left out if one of its seeds has no final return.
        missing: every [task, variant, seed] that lacks a run although others have this seed.
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
    """IQM and interval over tasks and seeds, as a dictionary; None if a seed lacks the number."""
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
    """P(first beats second) for each pair of variants, on the tasks that both have."""
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
