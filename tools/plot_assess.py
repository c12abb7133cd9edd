"""Estimates of `moore assess` against the truth: docs/images/assess-check.png.

python tools/plot_assess.py
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from handover_runs import number, rows_of
from moore.reports.plot_style import BLUE, GREEN, INK, STYLE, VERMILION
from tables_assess import CSV, ESTIMATORS, TASKS

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "assess-check.png"
COLORS = {"yes": GREEN, "unknown": BLUE, "no": VERMILION}
TITLE = "The models rank policies as the simulator does, fitted Q evaluation less. Colour: verdict"
WORDS = {"yes": "yes", "unknown": "not known", "no": "no"}


def draw() -> Figure:
    """A panel for each task and estimator: the truth, the estimate with its 90% interval."""
    tasks = [task for task in TASKS if rows_of(CSV, task=task)]
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        fig = Figure(figsize=(8.4, 3.3 * len(tasks)), layout="constrained")
        grid = fig.subplots(len(tasks), len(ESTIMATORS), squeeze=False)
        for line, task in zip(grid, tasks, strict=True):
            for axes, (name, title) in zip(line, ESTIMATORS.items(), strict=True):
                _panel(axes, rows_of(CSV, task=task), name)
                axes.set_title(f"{TASKS[task]}: {title}", loc="left", fontsize="medium")
                axes.set_xlabel("what the policy earns in the simulator")
                axes.set_ylabel("estimate, 90% interval")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=4, title=TITLE)
    return fig


def _panel(axes, rows: list[dict], name: str) -> None:
    known = [row for row in rows if row[f"{name}_value"]]
    truths = [number(row["truth"]) for row in rows]
    ends = [min(truths), max(truths)]
    axes.plot(ends, ends, color=INK, lw=0.8, label="exact")
    for answer, color in COLORS.items():
        said = [row for row in known if row["verdict"] == answer]
        truth, value, low, high = (
            np.asarray([number(row[column]) for row in said])
            for column in ("truth", f"{name}_value", f"{name}_low", f"{name}_high")
        )
        bars = np.stack([value - low, high - value])
        axes.errorbar(truth, value, bars, fmt="o", ms=3.5, lw=0.8, color=color,
                      label=WORDS[answer])  # fmt: skip


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=130)
    print(PICTURE)
