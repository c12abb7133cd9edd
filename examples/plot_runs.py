"""Draws several runs of one task over one another, and writes the numbers behind the picture.

    python examples/plot_runs.py runs/quickstart-* --out docs/images/quickstart-seeds \
        --title "All seeds climb"
    python examples/plot_runs.py docs/results/quickstart-safe.csv --out seeds --title "All climb"

writes quickstart-seeds.png and quickstart-seeds.csv: evaluated and acting returns of every seed.
From such a CSV the picture is drawn again. A single run is drawn as in its report, with a legend;
on a task of D4RL, published curves of others lie behind it.
"""

import argparse
import csv
import itertools
import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moore.evaluation.scores import reference_scores
from moore.reports.compare import Finished
from moore.reports.headline import return_curve
from moore.reports.plot_style import BLUE, STYLE, VERMILION
from moore.reports.published import draw_references, reference_names
from moore.runs.folder import read_metrics

TEXTS = ("env", "dataset", "scheme", "stage")


def curves(folder: Path) -> list[dict]:
    """One row an evaluated epoch: stage, epoch, evaluated return, acting return (mean, count)."""
    summary = json.loads((folder / "summary.json").read_text())
    result = []
    for row in read_metrics(folder / "metrics.jsonl"):
        if "eval/return" not in row:
            continue
        acting = row.get("online/episode_returns") or []
        result.append(
            {
                "env": summary["env_id"],
                "dataset": Path(summary["dataset"]["name"]).name,
                "scheme": summary["scheme"],
                "seed": summary["seed"],
                "stage": row["stage"],
                "epoch": row["epoch"],
                "env_steps": row["env_steps"],
                "evaluated": row["eval/return"],
                "evaluated_low": min(row["eval/returns"]),
                "evaluated_high": max(row["eval/returns"]),
                "acting": float(np.mean(acting)) if acting else None,
                "acting_episodes": len(acting),
            }
        )
    return result


def read(path: Path) -> list[list[dict]]:
    """The rows of each run of a CSV that this script has written."""
    with open(path, newline="") as file:
        rows = [
            {k: v if k in TEXTS else float(v) if v else None for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    return [list(run) for _, run in itertools.groupby(rows, lambda row: row["seed"])]


def draw(runs: list[list[dict]]) -> Figure:
    """Evaluated and acting returns over steps: the range of the seeds, their mean, the lowest."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    online = [[row for row in rows if row["stage"] == "online"] for rows in runs]
    lowest = min(online, key=lambda rows: rows[-1]["evaluated"])
    steps = [row["env_steps"] for row in lowest]
    for axes, key in zip(panels, ("evaluated", "acting"), strict=True):
        values = np.asarray([[row[key] for row in rows] for rows in online], float)
        axes.fill_between(
            steps, values.min(0), values.max(0), color=BLUE, alpha=0.16, lw=0, label="all seeds"
        )
        axes.plot(steps, values.mean(0), color=BLUE, label=f"mean of {len(runs)} seeds")
        label = f"seed {lowest[0]['seed']:.0f}, the lowest at the end"
        axes.plot(steps, [row[key] for row in lowest], color=VERMILION, label=label)
        axes.set_xlabel("steps online (0: the hand-over)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylabel(f"{key} return")
    return figure


def draw_one(rows: list[dict], metrics: list[dict], summary: dict) -> Figure:
    """A run as in its report, and what others have published on its task, behind it."""
    figure = return_curve(metrics, summary)
    figure.set_size_inches(5.2, 3.7)
    task = f"{rows[0]['env']} {rows[0]['dataset'].removesuffix('.hdf5')}"
    run = Finished(Path(), task, "", 0, {}, rows, summary.get("reference"))
    axes: Axes = figure.axes[0]
    low, high = axes.get_ylim()
    draw_references(axes, [run], names := reference_names(task))
    tops = [max(line.get_ydata()) for line in axes.get_lines()[-len(names) :]] if names else []
    axes.set_ylim(low, max([high, *(1.02 * top for top in tops)]))
    return figure


def as_logged(rows: list[dict]) -> tuple[list[dict], dict]:
    """The rows of a CSV as those of metrics.jsonl, and a summary."""
    metrics = [
        {
            "stage": row["stage"],
            "epoch": int(row["epoch"]),
            "env_steps": row["env_steps"],
            "eval/return": row["evaluated"],
            "eval/returns": [row["evaluated_low"], row["evaluated_high"]],
            "online/episode_returns": [] if row["acting"] is None else [row["acting"]],
        }
        for row in rows
    ]
    return metrics, {"reference": vars(reference_scores(rows[0]["env"]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs, or one CSV")
    parser.add_argument("--out", required=True, type=Path, help="without a suffix")
    parser.add_argument("--title", default=None, help="what is to be seen, as a sentence")
    args = parser.parse_args()
    again = args.runs[0].suffix == ".csv"
    runs = read(args.runs[0]) if again else [curves(folder) for folder in args.runs]
    with matplotlib.rc_context(STYLE):
        if len(runs) == 1 and again:
            figure = draw_one(runs[0], *as_logged(runs[0]))
        elif len(runs) == 1:
            summary = json.loads((args.runs[0] / "summary.json").read_text())
            figure = draw_one(runs[0], read_metrics(args.runs[0] / "metrics.jsonl"), summary)
        else:
            figure = draw(runs)
        shown = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
        figure.legend(
            list(shown.values()), list(shown), loc="outside upper center",
            ncols=2 if len(shown) > 4 else 3, title=args.title, title_fontsize="large",
        )  # fmt: skip
        figure.savefig(args.out.with_suffix(".png"), dpi=150, facecolor="white")
    if again:
        return
    with open(args.out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(runs[0][0]))
        writer.writeheader()
        for rows in runs:
            writer.writerows(rows)


if __name__ == "__main__":
    main()
