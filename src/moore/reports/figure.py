"""The picture of a figure of the paper, with curves, dips and final returns of every run."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple

from moore.reports.compare import Finished
from moore.reports.plot_style import COLORS, STYLE
from moore.reports.published import draw_published
from moore.reports.variants import draw_curves, draw_points, variant_colors

POINTS = ("dip_share", "behaviour_dip_share", "final")


def draw_figure(
    figure: str, runs: Sequence[Finished], result: dict, *, ordered: bool = False
) -> Figure:
    """Draws one row for each task: evaluated and acting returns, dips and final returns.

    Args:
        figure: name of the figure; fig1 has hollow marks for tasks with published curves.
        runs: all runs to show.
        result: the result of `compare`.
        ordered: the variants have an order, such as that of alpha, which the colours show.
    """
    tasks = result["tasks"]
    colors = variant_colors(runs, ordered=ordered)
    widths = [3, 3, *(2 for _ in POINTS)]
    height = max(3.1, 0.8 + 0.19 * len(colors))
    marks: list = []
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(13.0, 0.5 + height * len(tasks)), layout="constrained")
        grid = fig.subplots(len(tasks), len(widths), squeeze=False, width_ratios=widths)
        for row, task in zip(grid, tasks, strict=True):
            mine = [run for run in runs if run.task == task]
            for axes, acting in zip(row[:2], (False, True), strict=True):
                draw_curves(axes, mine, colors, acting=acting)
            row[0].set_title(task, loc="left", fontsize="medium")
            cells = [cell for cell in result["cells"] if cell["task"] == task]
            draw_points(list(row[2:]), cells, POINTS, colors)
            if figure == "fig1":
                marks = draw_published(row[0], mine, colors) or marks
        _legend(fig, list(grid[:, 0]), list(colors), marks)
    return fig


def _legend(fig: Figure, panels: Sequence[Axes], names: list[str], marks: list) -> None:
    """Draws the legend: the variants of all panels in order, then the hollow marks."""
    found: dict[str, object] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True)) | found
    handles = {name: found[name] for name in names if name in found}
    if marks:
        handles["published (D4RL v0); ▷ after 250,000 steps"] = tuple(marks)
    many = len(names) > len(COLORS)
    fig.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=6 if many else 7,
        handlelength=2.6 if many else None,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )
