"""Draws the pictures of the paper's figures again, from the numbers in docs/results.

    python tools/plot_figures.py --out docs/results

writes fig1-quick.png and so on, as `moore reproduce` does, each with a title that says what is to
be seen. `moore reproduce` itself draws from the folders of runs, which are not kept.
"""

import argparse
from collections import defaultdict
from pathlib import Path

from matplotlib.figure import Figure

from handover_runs import number, table
from moore.evaluation.scores import reference_scores
from moore.reports.compare import Finished, compare
from moore.reports.figure import draw_figure
from moore.reports.uncertainty import PREDICTED, PRINTED, THEOREM, draw_uncertainty

# What is to be seen; the tables beside the pictures have the numbers.
TITLES = {
    "fig1-quick": (
        "moore_robust starts where the others end; what starts lower climbs, some after a dip\n"
        "(two small tasks; mean of 5 seeds)"
    ),
    "fig1-laptop": (
        "On MuJoCo logs moore and iql swing by thousands, awac on Hopper alone (one run each)"
    ),
    "fig2-quick": (
        "On Pendulum half-half and online-only sampling drop and stay low; moore and uniform are"
        " alike\n(mean of 8 seeds)"
    ),
    "fig2-laptop": (
        "No sampling scheme is smooth on these MuJoCo logs\n"
        "(mean of two runs on Hopper, one run on HalfCheetah)"
    ),
    "fig3-quick": (
        "From alpha 0.1 to 4 all end alike on Pendulum; alpha 10 dips and is slowest\n"
        "(mean of 8 seeds)"
    ),
    "fig4-quick": (
        "The models' uncertainty falls by more than half online, and how they expect the return to"
        " drop\nsays little of how it drops (two small tasks; 8 seeds)"
    ),
    "fig4-laptop": (
        "On MuJoCo logs the models' uncertainty falls more slowly, and how they expect the return"
        " to drop\nsays little of how it drops (two runs on Hopper, one on HalfCheetah)"
    ),
}


# Environment steps of an online epoch.
STEPS = {"quick": 500, "laptop": 1000}
NAMES = ("task", "variant", "seed")
# Metrics of Fig. 4, and their columns.
LOGGED = {
    key: key.replace("/", "_") for key in ("model/uncertainty_mean", PRINTED, THEOREM, PREDICTED)
}


def runs(name: str) -> list[Finished]:
    """The runs of a figure, with the numbers that the picture shows."""
    rows = defaultdict(list)
    for row in table(f"{name}-curves.csv"):
        rows[tuple(row[key] for key in NAMES)].append(_epoch(row, STEPS[name.split("-")[1]]))
    return [_run(row, rows[tuple(row[key] for key in NAMES)]) for row in table(f"{name}.csv")]


def _epoch(row: dict[str, str], steps: int) -> dict:
    """A row of metrics.jsonl."""
    epoch = int(row["epoch"])
    found = {"stage": "online", "epoch": epoch, "env_steps": steps * epoch}
    found["eval/return"] = float(row["eval_return"])
    acting = row["acting_return"]
    found |= {key: number(row[name]) for key, name in LOGGED.items() if row.get(name)}
    return found | ({"online/episode_returns": [float(acting)]} if acting else {})


def _run(row: dict[str, str], epochs: list[dict]) -> Finished:
    metrics = {name: number(value) for name, value in row.items() if name not in NAMES and value}
    reference = reference_scores(row["task"].split(" ")[0])
    return Finished(
        folder=Path(),
        task=row["task"],
        variant=row["variant"],
        seed=int(row["seed"]),
        transfer=metrics,
        rows=epochs,
        reference=None if reference is None else vars(reference),
    )


def draw(name: str) -> Figure:
    found = runs(name)
    figure = name.split("-")[0]
    if figure == "fig4":
        return draw_uncertainty(found, compare(found), title=TITLES[name])
    return draw_figure(figure, found, compare(found), ordered=figure == "fig3", title=TITLES[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    args = parser.parse_args()
    for name in TITLES:
        draw(name).savefig(args.out / f"{name}.png", dpi=150, facecolor="white")


if __name__ == "__main__":
    main()
