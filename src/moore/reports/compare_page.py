"""`moore compare --html`: the tables, every seed's point, and the curves."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moore.reports.compare import METRICS, Finished
from moore.reports.compare_text import TITLES, interval
from moore.reports.page import render, write_page
from moore.reports.plots import BLUE, COLORS, INK, STYLE, figure_svg, finite_values


def write_compare_page(path: str | Path, runs: Sequence[Finished], result: dict) -> Path:
    """Writes the page.

    Args:
        path: of the page; replaced if it is there.
        runs: from `read_runs`.
        result: from `compare`.
    """
    tasks = [
        {
            "name": task,
            "cells": [cell for cell in result["cells"] if cell["task"] == task],
            "evaluated": Markup(figure_svg(curves(runs, task, acting=False))),
            "acting": Markup(figure_svg(curves(runs, task, acting=True))),
            "points": Markup(figure_svg(points(result, task))),
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
    )
    return write_page(Path(path), html)


def curves(runs: Sequence[Finished], task: str, *, acting: bool) -> Figure:
    """Return over online epochs, 0 the hand-over: every seed, and the mean of each variant.

    Args:
        runs: all; those of the task are drawn.
        task: its name.
        acting: the acting policy's episodes, else the evaluations.
    """
    mine = [run for run in runs if run.task == task]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.subplots()
        for color, variant in zip(_colors(runs), _variants(runs), strict=True):
            seeds = [_curve(run, acting) for run in mine if run.variant == variant]
            for x, y in seeds:
                axes.plot(x, y, color=color, lw=0.6, alpha=0.35)
            if seeds:
                x, y = _mean(seeds)
                axes.plot(x, y, color=color, lw=1.9, label=variant)
        _finish(axes, "acting return" if acting else "evaluated return")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def points(result: dict, task: str) -> Figure:
    """Dip share, acting dip share and gain: a point a seed, IQM and interval as a bar."""
    shown = ("dip_share", "behaviour_dip_share", "gain")
    cells = [cell for cell in result["cells"] if cell["task"] == task]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.9 + 0.28 * len(cells)), layout="constrained")
        panels = figure.subplots(1, len(shown), sharey=True)
        for axes, metric in zip(panels, shown, strict=True):
            for place, cell in enumerate(cells):
                values = [v for v in cell["values"][metric] if v is not None]
                axes.plot(values, [place] * len(values), "o", color=BLUE, ms=3, alpha=0.5, mew=0)
                found = cell["estimates"][metric]
                if found and found["low"] is not None:
                    axes.plot([found["low"], found["high"]], [place, place], color=INK, lw=1.2)
                    axes.plot(found["value"], place, "|", color=INK, ms=9, mew=1.6)
            axes.set_title(TITLES[metric], loc="left", fontsize="medium")
        panels[0].set_yticks(range(len(cells)), [cell["variant"] for cell in cells])
        panels[0].invert_yaxis()
    return figure


def _variants(runs: Sequence[Finished]) -> list[str]:
    return list(dict.fromkeys(run.variant for run in runs))


def _colors(runs: Sequence[Finished]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(_variants(runs)))]


def _curve(run: Finished, acting: bool) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and returns of the online stage, without those that have none."""
    pairs = []
    for row in run.rows:
        if row.get("stage") != "online":
            continue
        if acting:
            episodes = finite_values(row, "online/episode_returns")
            value = float(np.mean(episodes)) if episodes else None
        else:
            value = row.get("eval/return")
        if value is not None:
            pairs.append((row["epoch"], value))
    x, y = zip(*pairs, strict=True) if pairs else ((), ())
    return np.asarray(x, float), np.asarray(y, float)


def _mean(seeds: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Over the seeds that have a value at an epoch."""
    epochs = np.unique(np.concatenate([x for x, _ in seeds]))
    means = [
        np.mean([y[x == epoch][0] for x, y in seeds if (x == epoch).any()]) for epoch in epochs
    ]
    return epochs, np.asarray(means)


def _finish(axes: Axes, label: str) -> None:
    axes.set_xlabel("online epoch (0: the hand-over)")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
