"""The pictures of `moore assess`: intervals, distances from the log, and courses of an episode."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from moore.reports.plot_style import BLUE, GREEN, INK, STYLE, VERMILION

_COLORS = {"old": INK, "clone": GREEN, "new": BLUE}
_LINES = {
    "the log": INK, "old, in the models": GREEN, "new, in the models": BLUE, "new policy": BLUE
}  # fmt: skip
# Distances beyond this many times the usual one are drawn at it.
_FAR = 4.0


def intervals(result: dict) -> Figure:
    """Every estimate with its interval; the dotted line is what the old controller earns."""
    rows = [("old", "old controller: the log", result["old"])]
    for who, title in (("clone", "clone"), ("new", "new policy")):
        rows += [(who, f"{title}: {name}", found["value"]) for name, found in result[who].items()]
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(6.2, 0.7 + 0.34 * len(rows)), layout="constrained")
        axes = fig.add_subplot()
        for place, (who, _, found) in enumerate(rows):
            if found["value"] is None:
                axes.annotate("refused", (0.5, place), xycoords=("axes fraction", "data"),
                              ha="center", va="center")  # fmt: skip
                continue
            axes.plot([found["low"], found["high"]], [place, place], color=_COLORS[who], lw=2.4)
            axes.plot(found["value"], place, "o", color=_COLORS[who], ms=5)
        if result["old"]["value"] is not None:
            axes.axvline(result["old"]["value"], color=INK, ls=":", lw=1)
        axes.set_yticks(range(len(rows)), [title for _, title, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("return of an episode, 90% interval")
    return fig


def distances(found: Mapping[str, np.ndarray]) -> Figure:
    """How far states are from the log: its own, and those that the models expect."""
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = fig.add_subplot()
        edges = np.linspace(0.0, _FAR, 33)
        for name, values in found.items():
            if len(values):
                shares = np.histogram(np.minimum(values, _FAR - 1e-6), edges)[0] / len(values)
                axes.stairs(shares, edges, color=_LINES[name], label=name, lw=1.4)
        axes.axvline(1.0, color=VERMILION, ls=":", lw=1)
        axes.set_xlabel("distance to the nearest logged state; 1: 99% of the log are nearer")
        axes.set_ylabel("share of the states")
        fig.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def courses(found: Mapping[str, np.ndarray]) -> Figure:
    """What was earned up to each step, on average."""
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(4.6, 2.7), layout="constrained")
        axes = fig.add_subplot()
        for name, values in found.items():
            axes.plot(np.arange(1, len(values) + 1), values, color=_LINES[name], label=name)
        axes.set_xlabel("step of the episode")
        axes.set_ylabel("earned so far")
        fig.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig
