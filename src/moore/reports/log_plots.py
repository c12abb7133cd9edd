"""The distributions of a log as matplotlib figures, for the page of `moore inspect`."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moore.reports.plot_style import BLUE, GREEN, INK, PURPLE, STYLE, VERMILION

_THIRD, _HALF, _WIDE = 3.1, 4.6, 9.6  # inches: the widths of cards
_COLUMNS, _MOST_PANELS = 6, 36


def returns_along(summary: dict) -> Figure:
    """Mean return of groups of consecutive episodes, with a band from the worst to the best.

    Args:
        summary: must have `returns_along`; `reference` gives the second axis (score).
    """
    groups = summary["returns_along"]
    x, mean, low, high = (
        [group[key] + (key == "episode") for group in groups]
        for key in ("episode", "mean", "min", "max")
    )
    with matplotlib.rc_context(STYLE):
        fig, axes = _figure(_WIDE, 2.7)
        if len(groups) < summary["episodes"]:
            axes.fill_between(x, low, high, color=BLUE, alpha=0.16, lw=0)
        axes.plot(x, mean, color=BLUE, marker="o", ms=2.4)
        axes.set_xlabel("episode, in the order of the log")
        axes.set_ylabel("return")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlim(0, max(x, default=1) + 1)
        if reference := summary["reference"]:
            random, percent = reference["random"], (reference["expert"] - reference["random"]) / 100
            to_score = (lambda y: (y - random) / percent, lambda score: random + score * percent)
            axes.secondary_yaxis("right", functions=to_score).set_ylabel("normalised score")
    return fig


def return_histogram(summary: dict) -> Figure:
    """Histogram of the episodes' returns, with their mean."""
    return _one(summary["return_histogram"], BLUE, "return of an episode", "episodes", summary)


def length_histogram(summary: dict) -> Figure:
    """Histogram of the episodes' lengths in steps."""
    return _one(summary["length_histogram"], GREEN, "steps of an episode", "episodes", None)


def reward_histogram(summary: dict) -> Figure:
    """Histogram of the rows' rewards, with logarithmic counts to show outliers."""
    with matplotlib.rc_context(STYLE):
        fig, axes = _figure(_THIRD, 2.2)
        _bars(axes, summary["histograms"]["reward"], VERMILION)
        axes.set_yscale("log")
        axes.set_xlabel("reward of a step")
        axes.set_ylabel("sampled rows")
    return fig


def observation_histograms(summary: dict) -> Figure:
    """One panel for each of the first 36 dimensions."""
    return _panels(summary["histograms"]["obs"], PURPLE, bounds=None)


def action_histograms(summary: dict) -> Figure:
    """One panel for each dimension, with dotted lines at the bounds."""
    bounds = list(zip(summary["action_low"], summary["action_high"], strict=True))
    return _panels(summary["histograms"]["action"], BLUE, bounds=bounds)


def replay_errors(replay: dict) -> Figure:
    """Distributions of the errors of next observation and reward, on a logarithmic axis."""
    with matplotlib.rc_context(STYLE):
        fig, axes = _figure(_HALF, 2.6)
        series = (("next observation", "obs", BLUE), ("reward", "reward", VERMILION))
        for label, key, color in series:
            h = replay[key]["log10_histogram"]
            share = np.array(h["counts"]) / max(1, sum(h["counts"]))
            axes.stairs(share, 10 ** np.array(h["edges"]), color=color, label=label, lw=1.4)
        axes.axvline(1e-3, color=INK, ls=":", lw=1)
        axes.set_xscale("log")
        axes.set_xlabel("error, as a share of a typical change")
        axes.set_ylabel("share of the rows")
        fig.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def replay_dimensions(replay: dict) -> Figure:
    """For each observation dimension, the error that 99% of the rows stay below."""
    errors = np.maximum(replay["obs_p99_per_dim"], 1e-9)
    with matplotlib.rc_context(STYLE):
        fig, axes = _figure(_HALF, 2.6)
        axes.plot(np.arange(len(errors)), errors, ls="none", marker="o", ms=4, color=BLUE)
        axes.axhline(1e-3, color=INK, ls=":", lw=1)
        axes.set_yscale("log")
        axes.set_ylim(min(1e-7, errors.min()) / 2, max(1e-2, errors.max()) * 2)
        axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set_xlabel("observation dimension")
        axes.set_ylabel("99% of the errors below")
    return fig


def _one(histogram: dict, color: str, xlabel: str, ylabel: str, summary: dict | None) -> Figure:
    with matplotlib.rc_context(STYLE):
        fig, axes = _figure(_THIRD, 2.2)
        _bars(axes, histogram, color)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if summary is not None and summary["episode_return"] is not None:
            axes.axvline(summary["episode_return"]["mean"], color=INK, ls=":", lw=1)
    return fig


def _panels(histograms: list[dict], color: str, bounds: list[tuple] | None) -> Figure:
    shown = histograms[:_MOST_PANELS]
    columns = min(_COLUMNS, max(1, len(shown)))
    lines = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE | {"font.size": 7.5}):
        fig = Figure(figsize=(_WIDE, 0.2 + 1.15 * lines), layout="constrained")
        for i, histogram in enumerate(shown):
            axes = fig.add_subplot(lines, columns, i + 1)
            _bars(axes, histogram, color)
            axes.set_yticks([])
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.set_title(f"{i}", loc="left", fontsize="medium", pad=2)
            for bound in bounds[i] if bounds else ():
                axes.axvline(bound, color=INK, ls=":", lw=0.9)
    return fig


def _bars(axes: Axes, histogram: dict, color: str) -> None:
    edges, counts = histogram["edges"], histogram["counts"]
    if len(edges) == len(counts) + 1 and sum(counts):
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.75)
        axes.grid(axis="x", visible=False)
    else:
        axes.text(0.5, 0.5, "no values", ha="center", transform=axes.transAxes)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.add_subplot()
