"""Compares many runs by their transfer metrics, per task and variant and pooled over tasks.

Beside them stand policies that never change: *frozen*, the one that was handed over, and *clone*,
that of the log's better part, where a run has one. A metric that these win says little by itself.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moore.evaluation.stats import iqm, probability_of_improvement

# Metrics of `transfer`: the one for pooling over tasks where scores exist, whether more is better.
METRICS: dict[str, tuple[str, bool]] = {
    "offline": ("offline_score", True),
    "dip_share": ("dip_share", False),
    "dip_by_yardstick": ("dip_by_yardstick", False),
    "dip_area": ("dip_area_score", False),
    "final": ("final_score", True),
    "gain": ("gain_score", True),
    "auc": ("auc_score", True),
    "epochs_to_threshold": ("epochs_to_threshold", False),
    "behaviour_dip_share": ("behaviour_dip_share", False),
    "behaviour_dip_by_yardstick": ("behaviour_dip_by_yardstick", False),
    "behaviour_worst_episode": ("behaviour_worst_episode_score", True),
    "behaviour_loss": ("behaviour_loss_score", False),
    "behaviour_loss_peak": ("behaviour_loss_peak_score", False),
}
# Those that say what the live system earned, as opposed to evaluations beside it.
ACTING = tuple(name for name in METRICS if name.startswith("behaviour"))
EVALUATED = tuple(name for name in METRICS if name not in ACTING)


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
        unchanging: "frozen" and, where there is one, "clone": the metrics that a policy would
            have that acts unchanged.
    """

    folder: Path
    task: str
    variant: str
    seed: int
    transfer: dict
    rows: list[dict]
    reference: dict | None
    unchanging: Mapping[str, dict] = field(default_factory=dict)


def compare(runs: Sequence[Finished]) -> dict:
    """Everything that `moore compare` shows, JSON-able.

    Returns:
        tasks, variants: names, in the order of the runs.
        cells: a list of {task, variant, seeds, values, estimates}, where `values` has every seed's
            metrics and `estimates` their IQM with a 95% interval.
        unchanging: such cells of the policies that never change. Their `variant` is that of the
            runs with ", frozen" or ", clone". Variants that begin with the same policies, because
            they share an offline stage, have one cell, under the first one's name.
        pooled: for each variant the estimates over all tasks, on scores where these exist.
        pooled_unchanging: the same for the policies that never change.
        improvement: for each pair of variants P(first beats second) in final score, with interval;
            a variant is left out if one of its seeds has no final return.
        missing: every [task, variant, seed] that lacks a run although others have this seed.
    """
    tasks, variants = _unique(r.task for r in runs), _unique(r.variant for r in runs)
    cells = _grouped(runs)
    still = _grouped(_distinct(runs))
    return {
        "tasks": tasks,
        "variants": variants,
        "cells": _shown(cells, tasks, variants),
        "unchanging": _shown(still, tasks, _unique(name for _, name in still)),
        "pooled": {variant: _pooled(cells, tasks, variant) for variant in variants},
        "pooled_unchanging": {
            name: _pooled(still, tasks, name) for name in _unique(name for _, name in still)
        },
        "improvement": _improvement(cells, tasks, variants),
        "missing": _missing(cells, tasks, variants),
    }


def _grouped(runs: Sequence[Finished]) -> dict[tuple[str, str], list[Finished]]:
    cells: dict[tuple[str, str], list[Finished]] = {}
    for run in runs:
        cells.setdefault((run.task, run.variant), []).append(run)
    return cells


def _shown(cells: dict, tasks: list[str], variants: list[str]) -> list[dict]:
    """The cells in the order of tasks and variants."""
    return [
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


def _distinct(runs: Sequence[Finished]) -> list[Finished]:
    """The policies that never change as runs of their own, each group of equal ones once."""
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        for name, metrics in run.unchanging.items():
            still = dataclasses.replace(
                run, variant=f"{run.variant}, {name}", transfer=metrics, rows=[], unchanging={}
            )
            groups.setdefault(still.variant, []).append(still)
    known: dict[tuple, list[Finished]] = {}
    for name, group in groups.items():
        kind = name.rsplit(", ", 1)[1]
        levels = sorted((run.task, run.seed, run.transfer["offline"]) for run in group)
        known.setdefault((kind, *levels), group)
    return [run for group in known.values() for run in group]


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


def _arrays(scores: Sequence[list]) -> list[np.ndarray]:
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
