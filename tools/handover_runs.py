"""The runs over a hand-over, from docs/results: curves, transfer metrics, options, swings."""

import csv
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.evaluation.stats import Estimate, mean
from moore.evaluation.transfer import swing_share, transfer_metrics

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
# What an episode of the log earns in the mean (`moore inspect`).
LOGGED = {
    "hopper-random": 17,
    "hopper-medium": 1374,
    "hopper-medium-replay": 643,
    "hopper-medium-expert": 1729,
    "halfcheetah-random": -311,
    "halfcheetah-medium": 5088,
    "halfcheetah-medium-replay": 2422,
    "halfcheetah-medium-expert": 7507,
}
# Logs that settings of `moore_robust` were looked for on, some of them on seed 0.
DEVELOPMENT = ("hopper-medium", "hopper-medium-replay", "halfcheetah-medium")
# Here the paper's algorithm hands over a policy that is worth next to nothing.
WORTHLESS = ("halfcheetah-medium", "halfcheetah-medium-expert")
ALGORITHMS = ("moore", "moore_robust")
EPOCHS = 8  # that every run has

Curves = dict[str, np.ndarray]


@cache
def table(name: str) -> list[dict]:
    """The rows of a CSV of docs/results, by its head."""
    with open(RESULTS / name, newline="") as file:
        return list(csv.DictReader(file))


def rows_of(name: str, **wanted: str) -> list[dict]:
    """The rows of a CSV that have these values in these columns."""
    return [row for row in table(name) if wanted.items() <= row.items()]


def number(text: str) -> float:
    """An empty cell has no number."""
    return float(text) if text else np.nan


@cache
def online_returns() -> dict[tuple[str, str], dict[str, Curves]]:
    """(log, run) -> seed -> evaluated and acting returns of all online epochs; 0: hand-over."""
    rows = [
        (row["log"], row["run"], row["seed"], row["eval_return"], row["acting_return"])
        for row in rows_of("handover-mujoco.csv", stage="online")
    ]
    # Fig. 2's runs are those of the paper's algorithm on the medium-replay logs.
    rows += [
        (row["task"].split()[1], "moore", row["seed"], row["eval_return"], row["acting_return"])
        for row in rows_of("fig2-laptop-curves.csv", variant="moore:1")
    ]
    found = defaultdict(lambda: defaultdict(lambda: {"evaluated": [], "acting": []}))
    for log, run, seed, evaluated, acting in rows:
        curves = found[log, run][seed]
        curves["evaluated"].append(float(evaluated))
        curves["acting"].append(number(acting))
    return {
        key: {seed: {k: np.asarray(v) for k, v in c.items()} for seed, c in sorted(seeds.items())}
        for key, seeds in found.items()
    }


def first_epochs(curves: Curves, epochs: int = EPOCHS) -> Curves:
    """The hand-over and so many epochs after it."""
    return {name: values[: epochs + 1] for name, values in curves.items()}


def curves_of(log: str, run: str, seed: str = "0") -> Curves:
    """Over the epochs that every run has."""
    return first_epochs(online_returns()[log, run][seed])


def offline_returns(log: str, run: str, seed: str) -> np.ndarray:
    """Evaluations of the offline stage, epoch by epoch; empty where they are not in the table."""
    rows = rows_of("handover-mujoco.csv", log=log, run=run, seed=seed, stage="offline")
    return np.asarray([float(row["eval_return"]) for row in rows if row["eval_return"]])


def reference_for(log: str) -> ReferenceScores:
    robots = {"hopper": "Hopper-v5", "walker2d": "Walker2d-v5", "halfcheetah": "HalfCheetah-v5"}
    return reference_scores(robots[log.partition("-")[0].lower()])


def swing(log: str, run: str, seed: str) -> float | None:
    """Of a run's last offline epochs; None where their evaluations are not in the table."""
    return swing_share(offline_returns(log, run, seed), reference_for(log).random)


def transfer(curves: Curves, reference: ReferenceScores, logged: float | None = None) -> dict:
    """The transfer metrics of a run, with one acting episode an epoch: the mean of its episodes.

    An acting epoch in which no episode ended has no return. `logged` is the log's mean episode.
    """
    (start, *evaluated), (acting_start, *acting) = curves["evaluated"], curves["acting"]
    return transfer_metrics(
        start,
        evaluated,
        random_return=reference.random,
        reference=reference,
        behaviour_offline=acting_start,
        behaviour_returns=[[value] for value in acting if np.isfinite(value)],
        log_return=logged,
    )


def metrics_of(log: str, run: str, seed: str = "0") -> dict:
    """Transfer metrics over the epochs that every run has."""
    return transfer(curves_of(log, run, seed), reference_for(log))


def over_logs(run: str, metric: str, logs: tuple[str, ...] = tuple(LOGGED)) -> np.ndarray:
    """A metric of seed 0 of every log."""
    return np.asarray([metrics_of(log, run)[metric] for log in logs], float)


@cache
def by_option(preset: str) -> dict[str, Curves]:
    """Option -> column -> a number a seed, the seeds in order; of the runs of one preset."""
    found = defaultdict(list)
    for row in rows_of("handover-factors.csv", preset=preset):
        found[row["option"]].append(row)
    columns = ("seed", "offline", "dip_share", "behaviour_dip_share", "final", "auc")
    return {
        option: {name: np.asarray([number(row[name]) for row in rows]) for name in columns}
        for option, rows in found.items()
    }


def paired(option: Curves, plain: Curves, column: str = "dip_share") -> np.ndarray:
    """Differences of a column on the seeds of both."""
    _, here, there = np.intersect1d(option["seed"], plain["seed"], return_indices=True)
    return option[column][here] - plain[column][there]


def difference(option: Curves, plain: Curves, column: str = "dip_share") -> Estimate:
    """Mean difference of a column on the seeds of both."""
    return mean([paired(option, plain, column)])


def by_swing() -> dict[str, np.ndarray]:
    """Kind of run -> how far its last offline epochs swung and its dip share, a row a run."""
    found = defaultdict(list)
    for row in table("handover-factors.csv"):
        if row["swing_share"]:
            kind = "a gate" if "gate" in row["option"] else "no gate"
            kind = f"{row['preset']}, {kind}"
            found[kind].append((float(row["swing_share"]), float(row["dip_share"])))
    for (log, run), seeds in online_returns().items():
        for seed in seeds if run in ALGORITHMS else ():
            share = swing(log, run, seed)
            if share is not None:
                found[f"MuJoCo, {run}"].append((share, metrics_of(log, run, seed)["dip_share"]))
    return {kind: np.asarray(pairs) for kind, pairs in found.items()}


def quick_stages(gate: bool = False) -> np.ndarray:
    """Swing and mean dip share of the quick runs, a row an offline stage.

    Runs of the options that change the online stage alone share the offline stages of their seeds.
    """
    stages = defaultdict(list)
    for row in rows_of("handover-factors.csv", preset="quick/inverted-pendulum"):
        if row["swing_share"] and ("gate" in row["option"]) == gate:
            stage = row["seed"], row["offline"], row["swing_share"]
            stages[stage].append(float(row["dip_share"]))
    return np.asarray([(float(stage[2]), np.mean(dips)) for stage, dips in stages.items()])


def estimate(statistic: Callable, values: np.ndarray) -> Estimate:
    """Of numbers of one kind, such as a number a log."""
    return statistic([np.asarray(values, float)])


def newest_clones() -> dict[str, float]:
    """Log -> return of the clone of its better part, in the newest run that evaluated one."""
    rows = rows_of("safe-runs.csv")
    return {row["task"]: float(row["clone"]) for row in rows if row["clone"]}
