"""Estimates of `moore assess` against the truth: docs/images/assess-check.png.

python tools/plot_assess.py
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from handover_runs import number, rows_of
from moore.reports.plot_style import BLUE, GREEN, INK, STYLE, VERMILION
from tables_assess import CSV, ESTIMATORS, TASKS, truth_of

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "assess-check.png"
COLORS = {"yes": GREEN, "unknown": BLUE, "no": VERMILION}
TITLE = "The models rank policies as the simulator does, fitted Q evaluation less"
# What the colours are, before their names in the legend.
ASKED = "may it be deployed? {}"
WORDS = {"yes": "yes", "unknown": "not known", "no": "no"}


def draw() -> Figure:
    """A panel for each task and estimator that speaks: the truth, the estimate, its interval."""
    panels = [
        (task, name) for task in TASKS for name in ESTIMATORS
        if any(row[f"{name}_value"] for row in rows_of(CSV, task=task))
    ]  # fmt: skip
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        lines = -(-len(panels) // 2)
        fig = Figure(figsize=(8.4, 3.3 * lines), layout="constrained")
        grid = fig.subplots(lines, 2, squeeze=False)
        for axes, (task, name) in zip(grid.flat, panels, strict=True):
            _panel(axes, rows_of(CSV, task=task), name)
            axes.set_title(f"{TASKS[task]}: {ESTIMATORS[name]}", loc="left", fontsize="medium")
            axes.set_xlabel("what the policy earns in the simulator")
            axes.set_ylabel("estimate, 90% interval")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=4, title=TITLE)
    return fig


def _panel(axes, rows: list[dict], name: str) -> None:
    known = [row for row in rows if row[f"{name}_value"]]
    truths = [number(row[truth_of(name)]) for row in rows]
    ends = [min(truths), max(truths)]
    axes.plot(ends, ends, color=INK, lw=0.8, label="exact")
    for answer, color in COLORS.items():
        said = [row for row in known if row["verdict"] == answer]
        truth, value, low, high = (
            np.asarray([number(row[column]) for row in said])
            for column in (truth_of(name), f"{name}_value", f"{name}_low", f"{name}_high")
        )
        bars = np.stack([value - low, high - value])
        axes.errorbar(truth, value, bars, fmt="o", ms=3.5, lw=0.8, color=color,
                      label=ASKED.format(WORDS[answer]))  # fmt: skip


if __name__ == "__main__":
    draw().savefig(PICTURE, dpi=130)
    print(PICTURE)
