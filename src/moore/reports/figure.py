"""The picture of a figure of the paper, with curves, dips and final returns of every run."""

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from moore.reports.compare import Finished
from moore.reports.plot_style import COLORS, INK, STYLE
from moore.reports.published import (
    draw_published,
    draw_references,
    reference_labels,
    reference_names,
)
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
    Published curves of others take their places in a group, and lie behind the runs.
    Where every variant has one run, dips and final returns are left to the tables.

    Args:
        figure: name of the figure; fig1 has what others have published, where it is known.
        runs: all runs to show.
        result: the result of `compare`.
        ordered: the variants have an order, such as that of alpha, which the colours show.
        title: what is to be seen, as a sentence above the figure.
    """
    tasks = result["tasks"]
    colors = variant_colors(runs, ordered=ordered)
    groups = {task: _task_groups(runs, task, others=figure == "fig1") for task in tasks}
    shown = POINTS if _has_seeds(runs) else ()
    widths = [3, 3, *(2 for _ in shown)]
    counts = [len(groups[task]) for task in tasks]
    height = max(3.1 if max(counts) == 1 else 2.2, (0.8 + 0.19 * len(colors)) / min(counts))
    panels: list[Axes] = []
    marks: list[Line2D] = []
    row = 0
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(10.4, 0.7 + height * sum(counts)), layout="constrained")
        grid = fig.add_gridspec(sum(counts), len(widths), width_ratios=widths)
        for task, count in zip(tasks, counts, strict=True):
            mine = [run for run in runs if run.task == task]
            rows = slice(row, row := row + count)
            pairs = _curves(fig, grid[rows, :2], mine, groups[task], colors)
            for part, pair in enumerate(pairs, start=1):
                name = task if count == 1 else f"{task} ({part} of {count})"
                pair[0].set_title(name, loc="left", fontsize="medium")
                for axes in pair if shown else ():  # the panels are narrow
                    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
            panels += [evaluated for evaluated, _ in pairs]
            cells = [cell for cell in result["cells"] if cell["task"] == task]
            points = [fig.add_subplot(grid[rows, 2 + i]) for i in range(len(shown))]
            if shown:
                draw_points(points, cells, shown, colors)
            if figure == "fig1":
                marks = _marks(pairs, mine, groups[task], colors) or marks
        _legend(fig, panels, list(colors), marks, title, points=bool(shown))
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
            if row < len(groups) - 1:  # the panels of a task share the axis of the last one
                axes.set_xlabel("")
        draw_references(
            pair[0],
            runs,
            [name for name in reference_labels() if reference_labels()[name] in names],
        )
        pairs.append(pair)
    return pairs


def _marks(
    pairs: list[list[Axes]], runs: list[Finished], groups: list[list[str]], colors: Colors
) -> list[Line2D]:
    """Draws the published marks of each group; returns those for the legend."""
    marks: list[Line2D] = []
    for (evaluated, _), names in zip(pairs, groups, strict=True):
        shown = {name: colors[name] for name in names if name in colors}
        marks = draw_published(evaluated, runs, shown) or marks
    return marks


def _task_groups(runs: Sequence[Finished], task: str, *, others: bool) -> list[list[str]]:
    """What each panel of a task shows: variants, and labels of published curves of others."""
    names = list(dict.fromkeys(run.variant for run in runs if run.task == task))
    if others:
        names += [reference_labels()[name] for name in reference_names(task)]
    if len(names) <= MOST_CURVES:
        return [names]
    first, *rest = names
    count = math.ceil(len(rest) / (MOST_CURVES - 1))
    return [[first, *map(str, part)] for part in np.array_split(rest, count)]


def _legend(
    fig: Figure,
    panels: Sequence[Axes],
    names: list[str],
    marks: list[Line2D],
    title: str,
    *,
    points: bool,
) -> None:
    """Draws the legend, the title above: variants in order, curves of others, what marks are."""
    found: dict[str, Artist] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True)) | found
    shown: dict[str, Artist | tuple[Artist, ...]] = {
        name: found[name] for name in (*names, *reference_labels().values()) if name in found
    }
    if marks:
        shown["other published points (D4RL v0); ▷ after 250,000 steps"] = tuple(marks)
    if points:
        shown["a seed"] = Line2D([], [], color=INK, lw=0, marker="o", ms=3.5, mew=0, alpha=0.6)
        bar = Line2D([], [], color=INK, lw=1.2, marker="|", ms=7, mew=1.6)
        shown["interquartile mean, 95% interval"] = bar
    many = len(names) > len(COLORS)
    # Axes.legend says that a handle may be a tuple, but Figure.legend's stub does not.
    fig.legend(  # type: ignore[call-overload]
        list(shown.values()),
        list(shown),
        loc="outside upper center",
        ncols=6 if many else 4 if marks else 7,
        handlelength=2.6 if many else None,
        handler_map={tuple: HandlerTuple(ndivide=None)},
        title=title or None,
        title_fontsize="large",
    )
