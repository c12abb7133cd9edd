"""Draws several runs of one task over one another, and writes the numbers behind the picture.

    python examples/plot_runs.py runs/quickstart-* --out docs/images/quickstart-seeds

writes quickstart-seeds.png and quickstart-seeds.csv: evaluated and acting returns of every seed.
A single run is drawn as in its report, with a legend.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from moore.reports.headline import return_curve
from moore.runs.folder import read_metrics


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


def draw(runs: list[list[dict]]) -> Figure:
    """Offline epochs left of the dotted line at 0, online epochs right of it; a colour a seed."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for number, rows in enumerate(runs):
        offline = [row for row in rows if row["stage"] == "offline"]
        online = [row for row in rows if row["stage"] == "online"]
        x = [row["epoch"] - len(offline) for row in offline] + [row["epoch"] for row in online]
        y = [row["evaluated"] for row in offline + online]
        left.plot(x, y, color=f"C{number}", lw=1.4, label=f"seed {rows[0]['seed']}")
        acted = [row for row in online if row["acting"] is not None]
        right.plot(
            [row["epoch"] for row in acted],
            [row["acting"] for row in acted],
            color=f"C{number}",
            lw=1.4,
            marker="o",
            ms=3,
        )
    left.set(title="evaluated, without noise", xlabel="epoch", ylabel="return")
    right.set(title="acted, mean an epoch", xlabel="online epoch")
    for axes in (left, right):
        axes.axvline(0, ls=":", color="0.4", lw=1)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="without a suffix")
    args = parser.parse_args()
    runs = [curves(folder) for folder in args.runs]
    if len(args.runs) == 1:
        summary = json.loads((args.runs[0] / "summary.json").read_text())
        figure = return_curve(read_metrics(args.runs[0] / "metrics.jsonl"), summary)
        figure.set_size_inches(5.2, 3.5)
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    else:
        figure = draw(runs)
    figure.savefig(args.out.with_suffix(".png"), dpi=150)
    with open(args.out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(runs[0][0]))
        writer.writeheader()
        for rows in runs:
            writer.writerows(rows)


if __name__ == "__main__":
    main()
