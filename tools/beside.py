"""The columns that stand beside every dip, so that a policy which never changes cannot win by it.

They are points of a score that has 0 for a random policy and 100 for an expert, and so is not the
run's own. The CSVs have the mean of the acting episodes of an epoch and not each episode.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from handover_runs import LOGGED, Curves, estimate, number, reference_for, rows_of, transfer
from moore.evaluation.scores import ReferenceScores
from moore.evaluation.stats import iqm
from moore.formats.load import load_dataset
from text import fixed, interval, listed

# Title -> metric of `transfer_metrics`, digits behind the point.
COLUMNS = {
    "gain": ("gain_score", 1),
    "dip": ("dip_score", 1),
    "area below the hand-over": ("dip_area_score", 1),
    "acting: lowest epoch": ("behaviour_worst_episode_score", 0),
    "lost against the log": ("lost_score", 0),
}
HEAD = tuple(COLUMNS)
LUCK = "acting: lowest epoch"  # what a policy that never changes has by luck


@cache
def scale(task: str) -> tuple[ReferenceScores, float]:
    """Returns of a random policy and an expert, and what an episode of the log earns.

    Args:
        task: environment and log as the CSVs name them, or the name of a MuJoCo log.
    """
    log = task.split()[-1]
    if log.startswith("builtin:"):
        named = "quick/" + log.removeprefix("builtin:").removesuffix("-medium")
        logged = float(rows_of("clone-quick.csv", task=named)[0]["log_return"])
        return load_dataset(log).reference, logged
    first, *others = log.split("+")
    log = "-".join([first, *(other.rsplit("-", 1)[1] for other in others)])
    return reference_for(log), float(LOGGED[log])


def measured(curves: Curves, task: str) -> dict:
    """The transfer metrics of a run.

    Where no acting episode ended in an epoch, it has lost as much as the other epochs in the mean.
    """
    metrics = transfer(curves, *scale(task))
    acting = curves["acting"][1:]
    every = len(acting) / max(np.isfinite(acting).sum(), 1)
    return metrics | {"lost_score": every * metrics["behaviour_loss_score"]}


def still(level: float, epochs: int, acted: float | None = None) -> Curves:
    """Curves of a policy that never changes; `acted`: what it earns with its noise."""
    levels = {"evaluated": level, "acting": level if acted is None else acted}
    return {name: np.full(epochs + 1, value) for name, value in levels.items()}


def frozen(curves: Curves) -> Curves:
    """The curves of a run as they would be if its hand-over never changed."""
    start, acted = curves["evaluated"][0], curves["acting"][0]
    return still(start, len(curves["evaluated"]) - 1, acted)


def curves_in(name: str, **wanted: str) -> list[Curves]:
    """Evaluated and acting returns from the hand-over on, of each seed in a CSV of curves."""
    found: dict[str, Curves] = {}
    for row in rows_of(name, **wanted):
        curves = found.setdefault(row["seed"], {"evaluated": [], "acting": []})
        curves["evaluated"].append(float(row["eval_return"]))
        curves["acting"].append(number(row["acting_return"]))
    return [{key: np.asarray(v) for key, v in curves.items()} for curves in found.values()]


def over_seeds(runs: Sequence[dict]) -> list[str]:
    """A cell a column: the number of one run, or interquartile mean and interval of several."""
    return [_cell([run[metric] for run in runs], digits) for metric, digits in COLUMNS.values()]


def each_seed(runs: Sequence[dict]) -> list[str]:
    """A cell a column, with the number of every run."""
    return [
        listed([run[metric] for run in runs], form(digits)) for metric, digits in COLUMNS.values()
    ]


def unchanging(cells: Sequence[str]) -> list[str]:
    """The same cells, those that luck decides marked."""
    return [
        f"{cell}, and luck" if title == LUCK else cell
        for title, cell in zip(HEAD, cells, strict=True)
    ]


def gain_and_dip(rows: Curves, task: str) -> tuple[np.ndarray, np.ndarray]:
    """In points, of runs of which a CSV has no curves but offline, final and dip_share."""
    reference, _ = scale(task)
    gap = reference.expert - reference.random
    worth = np.abs(rows["offline"] - reference.random)
    gain, dip = rows["final"] - rows["offline"], rows["dip_share"] * worth
    return 100.0 * gain / gap, 100.0 * dip / gap


def form(digits: int) -> Callable[[float], str]:
    """How points are printed: with so many digits, and what never was as a plain 0."""
    return lambda value: fixed(value, digits if abs(value) > 1e-9 else 0)


def _cell(values: Sequence[float], digits: int) -> str:
    if len(values) == 1 or np.allclose(values, 0.0, atol=1e-9):  # what never was has no interval
        return form(digits)(values[0])
    return interval(estimate(iqm, np.asarray(values, float)), form(digits))
