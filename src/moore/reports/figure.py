"""The picture of a figure of the paper, with curves, dips and final returns of every run."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.legend_handler import HandlerTuple

from moore.reports.compare import Finished
from moore.reports.plot_style import COLORS, STYLE
from moore.reports.published import draw_published
from moore.reports.variants import Colors, draw_curves, draw_points, variant_colors

POINTS = ("dip_share", "behaviour_dip_share", "final")


# A panel has no more curves than this.
MOST_CURVES = 6


def draw_figure(
    figure: str,
    runs: Sequence[Finished],
    result: dict,
    *,
    ordered: bool = False,
    title: str = "",
) -> Figure:
    """Draws for each task: evaluated and acting returns, dips and final returns.

    Curves of many variants are drawn in groups, one below the other, each with the first variant.
    Where every variant has one run, dips and final returns are left to the tables.

    Args:
        figure: name of the figure; fig1 has hollow marks for tasks with published curves.
        runs: all runs to show.
        result: the result of `compare`.
        ordered: the variants have an order, such as that of alpha, which the colours show.
        title: what is to be seen, as a sentence above the figure.
    """
    tasks = result["tasks"]
    colors = variant_colors(runs, ordered=ordered)
    groups = _groups(list(colors))
    shown = POINTS if _has_seeds(runs) else ()
    widths = [3, 3, *(2 for _ in shown)]
    height = max(3.1 if len(groups) == 1 else 2.2 * len(groups), 0.8 + 0.19 * len(colors))
    panels, marks = [], []
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(13.0, 0.7 + height * len(tasks)), layout="constrained")
        grid = fig.add_gridspec(len(tasks) * len(groups), len(widths), width_ratios=widths)
        for place, task in enumerate(tasks):
            mine = [run for run in runs if run.task == task]
            rows = slice(place * len(groups), (place + 1) * len(groups))
            pairs = _curves(fig, grid[rows, :2], mine, groups, colors)
            pairs[0][0].set_title(task, loc="left", fontsize="medium")
            panels += [evaluated for evaluated, _ in pairs]
            cells = [cell for cell in result["cells"] if cell["task"] == task]
            points = [fig.add_subplot(grid[rows, 2 + i]) for i in range(len(shown))]
            if shown:
                draw_points(points, cells, shown, colors)
            if figure == "fig1":
                marks = _marks(pairs, mine, groups, colors) or marks
        _legend(fig, panels, list(colors), marks, title)
    return fig


def _has_seeds(runs: Sequence[Finished]) -> bool:
    """Whether a variant has several runs on a task: a single one has no interval to be drawn."""
    return len({(run.task, run.variant) for run in runs}) < len(runs)


def _curves(
    fig: Figure, place: SubplotSpec, runs: list[Finished], groups: list[list[str]], colors: Colors
) -> list[list[Axes]]:
    """Panels of evaluated and acting returns of one task, a pair a group, on the same scales."""
    pairs: list[list[Axes]] = []
    grid = place.subgridspec(len(groups), 2)
    for row, names in enumerate(groups):
        above = pairs[0] if pairs else (None, None)
        pair = [fig.add_subplot(grid[row, i], sharey=above[i]) for i in (0, 1)]
        shown = [run for run in runs if run.variant in names]
        for axes, acting in zip(pair, (False, True), strict=True):
            draw_curves(axes, shown, colors, acting=acting)
        pairs.append(pair)
    return pairs


def _marks(
    pairs: list[list[Axes]], runs: list[Finished], groups: list[list[str]], colors: Colors
) -> list:
    """Draws the published marks of each group; returns those for the legend."""
    marks: list = []
    for (evaluated, _), names in zip(pairs, groups, strict=True):
        shown = {name: colors[name] for name in names}
        marks = draw_published(evaluated, runs, shown) or marks
    return marks


def _groups(names: list[str]) -> list[list[str]]:
    """The variants of each panel: all of them if they are few, else the first one in each."""
    if len(names) <= MOST_CURVES:
        return [names]
    first, *others = names
    count = math.ceil(len(others) / (MOST_CURVES - 1))
    return [[first, *map(str, part)] for part in np.array_split(others, count)]


def _legend(fig: Figure, panels: Sequence[Axes], names: list[str], marks: list, title: str) -> None:
    """Draws the title and below it the legend: the variants in order, then the hollow marks."""
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
        title=title or None,
        title_fontsize="large",
    )
