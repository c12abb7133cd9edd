"""Tables beside those of dips, with the columns of beside.py: hand-over, Fig. 1, quickstart."""

from collections.abc import Sequence

import numpy as np

import beside
from handover_runs import (
    ALGORITHMS,
    EPOCHS,
    LOGGED,
    WORTHLESS,
    Curves,
    curves_of,
    newest_clones,
    number,
    online_returns,
    rows_of,
)
from tables_algorithms import FROM_SCRATCH, LAPTOP, variants
from tables_handover import OTHER_LOGS, SOMETHING_LOGS, TITLES, log_title
from tables_schemes import CLONE, HALFCHEETAH, HOPPER, INVERTED, PENDULUM, clones
from tables_searches import LONG, long_run
from text import markdown

ALL = tuple(LOGGED)


def _clone(log: str, epochs: int = EPOCHS) -> dict:
    """Metrics of the clone of a log's better part, if it acts unchanged."""
    return beside.measured(beside.still(newest_clones()[log], epochs), log)


def _row(title: str, *before: str, runs: Sequence[dict], still: bool = False) -> list[str]:
    cells = beside.over_seeds(runs)
    return [title, *before, *(beside.unchanging(cells) if still else cells)]


def _of(log: str, run: str, seed: str = "0") -> dict:
    """Over the epochs that every run has."""
    return beside.measured(curves_of(log, run, seed), log)


def _over_logs(run: str, logs: Sequence[str]) -> list[dict]:
    return [_of(log, run) for log in logs]


def _unchanging_rows() -> list[list[str]]:
    """The hand-overs of both algorithms, and the clones, over the logs that have them."""
    rows = []
    for run in ALGORITHMS:
        held = [beside.measured(beside.frozen(curves_of(log, run)), log) for log in ALL]
        title = f"the hand-over of {TITLES[run]}, frozen"
        rows.append(_row(title, str(len(held)), runs=held, still=True))
    cloned = [_clone(log) for log in ALL if log in newest_clones()]
    return [*rows, _row(CLONE, str(len(cloned)), runs=cloned, still=True)]


def readme_beside() -> str:
    rows = [
        _row(TITLES[run], str(len(ALL)), runs=_over_logs(run, ALL)) for run in ALGORITHMS
    ]  # fmt: skip
    return markdown(("", "logs", *beside.HEAD), [*rows, *_unchanging_rows()])


def logs_iqm_beside() -> str:
    groups = {"": ALL, **SOMETHING_LOGS, **OTHER_LOGS}
    rows = [
        _row(TITLES[run] + text, str(len(logs)), runs=_over_logs(run, logs))
        for text, logs in groups.items()
        for run in ALGORITHMS
    ]
    return markdown(("", "logs", *beside.HEAD), [*rows, *_unchanging_rows()])


def logs_beside() -> str:
    """A row a run."""
    rows = []
    for log in LOGGED:
        runs = {run: online_returns().get((log, run), {}) for run in TITLES}
        for seed in sorted({seed for seeds in runs.values() for seed in seeds}):
            for run in (run for run in TITLES if seed in runs[run]):
                title = f"{log_title(log)} {seed}, {TITLES[run]}"
                rows.append(_row(title, runs=[_of(log, run, seed)]))
        for run in ALGORITHMS:
            held = beside.measured(beside.frozen(curves_of(log, run)), log)
            title = f"{log_title(log)} 0, the hand-over of `{run}`, frozen"
            rows.append(_row(title, runs=[held], still=True))
        if log in newest_clones():
            rows.append(_row(f"{log_title(log)}, a clone", runs=[_clone(log)], still=True))
    return markdown(("", *beside.HEAD), rows)


def online_long_beside() -> str:
    rows = []
    for title, log, coefficient, seed in LONG:
        run = long_run(coefficient)
        rows.append(_row(title, seed, runs=[_of(log, run, seed)]))
        held = beside.measured(beside.frozen(curves_of(log, run, seed)), log)
        rows.append(_row("its hand-over, frozen", seed, runs=[held], still=True))
    for log in ("hopper-medium", "halfcheetah-medium"):
        rows.append(_row(f"{log_title(log)}, a clone", "", runs=[_clone(log)], still=True))
    return markdown(("", "seed", *beside.HEAD), rows)


def _quick(task: str) -> str:
    """Fig. 1 on one small task, with five seeds."""
    rows, name = [], "fig1-quick-curves.csv"
    for variant in variants(task):
        runs = beside.curves_in(name, task=task, variant=variant)
        rows.append(_row(f"`{variant}`", runs=[beside.measured(run, task) for run in runs]))
    for variant in ("moore:1", "moore_robust"):
        held = map(beside.frozen, beside.curves_in(name, task=task, variant=variant))
        title = f"the hand-over of `{variant}`, frozen"
        rows.append(_row(title, runs=[beside.measured(run, task) for run in held], still=True))
    cloned = [beside.measured(beside.still(level, 10), task) for level in clones(task, 5)]
    rows.append(_row(CLONE, runs=cloned, still=True))
    return markdown(("IQM [95% interval] of 5 seeds", *beside.HEAD), rows)


def fig1_pendulum_beside() -> str:
    return _quick(PENDULUM)


def fig1_inverted_beside() -> str:
    return _quick(INVERTED)


def fig1_laptop_beside() -> str:
    rows, name = [], "fig1-laptop-curves.csv"
    for task, variant, title in LAPTOP:
        (run,) = beside.curves_in(name, task=task, variant=variant, seed="0")
        cells = beside.over_seeds([beside.measured(run, task)])
        if variant in FROM_SCRATCH:  # nothing was handed over, so there is nothing to lie below
            cells[1:3] = "", ""
        rows.append([title, *cells])
    for task, title in ((HOPPER, "Hopper"), (HALFCHEETAH, "HalfCheetah")):
        (run,) = beside.curves_in(name, task=task, variant="moore:1", seed="0")
        held, cloned = beside.measured(beside.frozen(run), task), _clone(task.split()[1], 10)
        hand_over = f"{title}, the hand-over of `moore`, frozen"
        rows.append(_row(hand_over, runs=[held], still=True))
        rows.append(_row(f"{title}, {CLONE}", runs=[cloned], still=True))
    return markdown(("seed 0", *beside.HEAD), rows)


def _told(name: str, seed: str) -> Curves:
    """The curves of one seed in a CSV that has both stages."""
    rows = rows_of(name, seed=seed, stage="online")
    columns = {"evaluated": "evaluated", "acting": "acting"}
    return {
        key: np.asarray([number(row[column]) for row in rows]) for key, column in columns.items()
    }


QUICKSTARTS = {
    "`moore_safe`": "quickstart-safe.csv",
    "`moore_robust`": "quickstart-robust.csv",
    "`moore`": "quickstart.csv",
}


def quickstart_beside() -> str:
    """The quickstart's task is Pendulum, with longer epochs than Fig. 1."""
    rows, still = [], []
    for title, name in QUICKSTARTS.items():
        seeds = dict.fromkeys(row["seed"] for row in rows_of(name))
        runs = [_told(name, seed) for seed in seeds]
        count = str(len(runs))
        rows.append(_row(title, count, runs=[beside.measured(run, PENDULUM) for run in runs]))
        held = [beside.measured(beside.frozen(run), PENDULUM) for run in runs]
        still.append(_row(f"the hand-over of {title}, frozen", count, runs=held, still=True))
    cloned = [beside.measured(beside.still(level, 6), PENDULUM) for level in clones(PENDULUM, 8)]
    still.append(_row(CLONE, str(len(cloned)), runs=cloned, still=True))
    return markdown(("IQM [95% interval] over the seeds", "seeds", *beside.HEAD), [*rows, *still])


def first_logs_beside() -> str:
    """The first whole runs on MuJoCo logs."""
    rows = []
    for log in ("hopper-medium-replay", "halfcheetah-medium-replay"):
        run, title = _told(f"{log}.csv", "0"), log_title(log)
        held, epochs = beside.frozen(run), len(run["evaluated"]) - 1
        rows.append(_row(f"{title}, `moore`", runs=[beside.measured(run, log)]))
        hand_over = beside.measured(held, log)
        rows.append(_row(f"{title}, its hand-over, frozen", runs=[hand_over], still=True))
        rows.append(_row(f"{title}, {CLONE}", runs=[_clone(log, epochs)], still=True))
    return markdown(("seed 0", *beside.HEAD), rows)


def numbers() -> dict[str, str]:
    """Dips of `moore` by the score: where its hand-over is worth little, and the deepest."""
    dips = {log: _of(log, "moore")["dip_score"] for log in ALL}
    deepest = max(dips, key=dips.get)
    return {
        "worthless-points": " and ".join(beside.form(1)(dips[log]) for log in WORTHLESS),
        "deepest-points": f"{beside.form(1)(dips[deepest])} on {log_title(deepest)}",
    }


TABLES = {
    "readme-beside": readme_beside,
    "logs-iqm-beside": logs_iqm_beside,
    "logs-beside": logs_beside,
    "online-long-beside": online_long_beside,
    "fig1-pendulum-beside": fig1_pendulum_beside,
    "fig1-inverted-beside": fig1_inverted_beside,
    "fig1-laptop-beside": fig1_laptop_beside,
    "quickstart-beside": quickstart_beside,
    "first-logs-beside": first_logs_beside,
}
