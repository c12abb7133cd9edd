"""`moore compare --html`: the tables, every seed's point, and the curves."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from moore.reports.compare import METRICS, Finished
from moore.reports.compare_text import NOTES, TITLES, interval
from moore.reports.page import render, write_page
from moore.reports.plot_style import STYLE, figure_svg
from moore.reports.variants import draw_curves, draw_points, variant_colors


def write_compare_page(path: str | Path, runs: Sequence[Finished], result: dict) -> Path:
    """Writes the page.

    Args:
        path: path of the page; an existing file is replaced.
        runs: the result of `read_runs`.
        result: the result of `compare`.
    """
    tasks = [
        {
            "name": task,
            "cells": [c for c in [*result["cells"], *result["unchanging"]] if c["task"] == task],
            "evaluated": Markup(figure_svg(curves(runs, task, acting=False))),
            "acting": Markup(figure_svg(curves(runs, task, acting=True))),
            "points": Markup(figure_svg(points(runs, result, task))),
        }
        for task in result["tasks"]
    ]
    titles = [TITLES[metric] for metric in METRICS]
    html = render(
        "compare_template.html",
        tasks=tasks,
        result=result,
        metrics=list(METRICS),
        titles=titles,
        interval=interval,
        notes=NOTES,
    )
    return write_page(Path(path), html)


def curves(runs: Sequence[Finished], task: str, *, acting: bool) -> Figure:
    """Returns over online epochs (0 is the hand-over), as means of variants.

    Args:
        runs: all runs; those of the task are drawn.
        task: name of the task.
        acting: draw the acting policy's episodes instead of the evaluations.
    """
    mine = [run for run in runs if run.task == task]
    colors = variant_colors(runs)
    with matplotlib.rc_context(STYLE):
        height = 2.7 + 0.17 * math.ceil(len(colors) / 4)
        figure = Figure(figsize=(4.6, height), layout="constrained")
        axes = figure.subplots()
        draw_curves(axes, mine, colors, acting=acting)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def points(runs: Sequence[Finished], result: dict, task: str) -> Figure:
    """Dip share, acting dip share and gain, with a point for each seed and a bar for the IQM."""
    cells = [cell for cell in result["cells"] if cell["task"] == task]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.36 * len(cells)), layout="constrained")
        metrics = ("dip_share", "behaviour_dip_share", "gain")
        draw_points(list(figure.subplots(1, 3)), cells, metrics, variant_colors(runs))
    return figure
