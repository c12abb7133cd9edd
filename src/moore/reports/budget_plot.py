"""The picture of a dip budget: what could still be lost, and what trials brought."""

import matplotlib
from matplotlib.figure import Figure

from moore.numbers import is_finite
from moore.reports.panels import MetricRows, epoch_axis, line, new_figure, with_places
from moore.reports.plot_style import BLUE, GREEN, INK, PURPLE, STYLE, VERMILION, heading


def budget_curves(rows: MetricRows) -> Figure:
    """The margin above the line of the promise, and the trials, promotions and demotions so far."""
    rows = with_places([row for row in rows if is_finite(row.get("budget/margin"))])
    with matplotlib.rc_context(STYLE):
        fig, (margin, level, counts) = new_figure(3)
        line(margin, rows, key="budget/margin", color=BLUE, label="could be lost")
        line(margin, rows, key="budget/affordable", color=PURPLE, label="for certain")
        line(margin, rows, key="budget/spent", color=VERMILION, label="lost in trials")
        margin.axhline(0, color=INK, ls="--", lw=0.9)
        heading(margin, "reward above the line of the promise")
        line(level, rows, key="budget/gain", color=GREEN)
        level.axhline(0, color=INK, ls="--", lw=0.9)
        heading(level, "an episode of the acting policy − of the reference")
        for name, color in (("trials", BLUE), ("promoted", GREEN), ("demoted", VERMILION)):
            line(counts, rows, key=f"budget/{name}", color=color, label=name)
        if any(row.get("budget/explored") for row in rows):
            line(counts, rows, key="budget/explored", color=PURPLE, label="explored")
        heading(counts, "trials, promotions and demotions so far")
        for axes in (margin, level):
            epoch_axis(axes, rows, label=False)
        epoch_axis(counts, rows)
        for axes in (margin, counts):
            axes.legend(loc="upper left", fontsize="small", frameon=False)
    return fig
