"""Draws the pictures of docs/handover.md from the numbers in docs/results.

    python tools/plot_handover.py --out docs/images

writes handover-mujoco.png, the paper's algorithm and `moore_robust` over the hand-over on eight
logs, and handover-factors.png and handover-factors-mujoco.png, what each option does alone on a
quick task and on MuJoCo logs, a point a seed. The numbers in the documents' text and tables are
made by tools/results.py.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from handover_runs import (
    LOGGED,
    by_option,
    by_swing,
    first_epochs,
    online_returns,
    table,
)
from moore.reports.plot_style import BLUE, INK, STYLE, VERMILION

COLORS = {"moore": VERMILION, "moore_robust": BLUE}
STEPS = 1000  # in the environment, of an online epoch
DIPS = {"dip_share": "evaluated dip share", "behaviour_dip_share": "acting dip share"}


def draw_logs(returns) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True)
    for axes, (log, logged) in zip(panels.flat, LOGGED.items(), strict=True):
        axes.axhline(logged, color=INK, lw=0.8, ls=":", label="the log's mean")
        for algorithm, color in COLORS.items():
            for curves in map(first_epochs, returns.get((log, algorithm), {}).values()):
                steps = STEPS * np.arange(len(curves["evaluated"]))
                axes.plot(steps, curves["evaluated"], color=color, label=algorithm)
                axes.plot(steps, curves["acting"], ".", color=color, ms=5, alpha=0.7)
        axes.set_title(log, loc="left", fontsize="medium")
        axes.update_datalim([(0, 0)])
        axes.autoscale_view()
    for axes in panels[-1]:
        axes.set_xlabel("steps online (0: the hand-over)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    handles = dict(zip(*reversed(figure.axes[2].get_legend_handles_labels()), strict=True))
    title = "moore_robust starts higher on most logs and hardly falls; moore falls, and climbs"
    _titled(figure, title, handles, ncols=3)
    figure.supylabel("return: evaluated (a line a run), acting (dots)", fontsize="medium")
    return figure


def _titled(figure: Figure, title: str, handles: dict[str, object], *, ncols: int) -> None:
    """A legend above the panels, and over it what is to be seen, as a sentence."""
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=ncols,
        title=title, title_fontsize="large",
    )  # fmt: skip


def _mean() -> Line2D:
    return Line2D([], [], color=VERMILION, marker="|", ls="", ms=10, mew=2)


def _as_it_is() -> Line2D:
    return Line2D([], [], color=INK, lw=0.8, ls=":")


def draw_options(panels, options, columns: dict[str, str], *, coloured: bool = False) -> None:
    """A row an option: a point a seed, and their mean; a panel a column. Coloured: by the seed."""
    for axes, (name, title) in zip(panels, columns.items(), strict=True):
        axes.axvline(np.nanmean(options["as it is"][name]), color=INK, lw=0.8, ls=":")
        for place, values in enumerate(options.values()):
            colors = [f"C{int(seed)}" if coloured else BLUE for seed in values["seed"]]
            places = np.full(len(colors), place)
            axes.scatter(values[name], places, c=colors, s=12, alpha=0.7 if coloured else 0.4)
            axes.plot(np.nanmean(values[name]), place, "|", color=VERMILION, ms=10, mew=2)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_yticks(range(len(options)), list(options))
        axes.set_ylim(len(options) - 0.4, -0.6)


def draw_factors(options) -> Figure:
    """On the quick task."""
    figure = Figure(figsize=(10, 0.23 * len(options) + 0.8), layout="constrained")
    columns = {"offline": "hand-over, of 1000", **DIPS, "auc": "area under the curve"}
    draw_options(figure.subplots(1, 4, sharey=True), options, columns)
    handles = {
        "a seed": Line2D([], [], color=BLUE, marker="o", ls="", ms=3.5, alpha=0.4),
        "mean of the seeds": _mean(),
        "mean without an option": _as_it_is(),
    }
    title = "Seeds differ more than options do (quick InvertedPendulum, eight seeds an option)"
    _titled(figure, title, handles, ncols=3)
    return figure


def draw_logged_factors(by_log: dict[str, dict]) -> Figure:
    """On MuJoCo logs, a row of panels each."""
    rows = [len(options) for options in by_log.values()]
    figure = Figure(figsize=(10, 0.25 * sum(rows) + 1.8), layout="constrained")
    grid = figure.subplots(len(by_log), 3, sharey="row", squeeze=False, height_ratios=rows)
    for panels, (log, options) in zip(grid, by_log.items(), strict=True):
        columns = {**DIPS, "auc": "mean of the evaluations"}
        draw_options(panels, options, columns, coloured=True)
        for axes, title in zip(panels, columns.values(), strict=True):
            axes.set_title("", loc="left")
            axes.set_xlabel(title)
        panels[0].set_title(log.removeprefix("laptop/"), loc="left", fontsize="medium")
    seeds = {
        f"seed {seed}": Line2D([], [], color=f"C{seed}", marker="o", ls="", ms=3.5)
        for seed in range(3)
    }
    handles = seeds | {"mean": _mean(), "mean as it is": _as_it_is()}
    title = "On Hopper no option is told from none; on HalfCheetah a warmer policy dips more"
    _titled(figure, title, handles, ncols=5)
    return figure


def draw_swing(swings: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":", label="equal")
    for place, (kind, pairs) in enumerate(swings.items()):
        small = not kind.startswith("MuJoCo")
        style = {"ms": 4 if small else 7, "mew": 0, "alpha": 0.5 if small else 0.9}
        color = BLUE if kind.endswith(("a gate", "moore_robust")) else VERMILION
        x, y = pairs[:, 0], np.minimum(pairs[:, 1], 1.1)
        axes.plot(x, y, "os^D"[place % 4], color=color, label=kind, **style)
    axes.set_xlabel("how far the last ten offline epochs swung, share")
    axes.set_ylabel("evaluated dip share (above 1.1: at 1.1)")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    title = "Where returns swung before the hand-over, dips are deeper, but loosely"
    _titled(figure, title, handles, ncols=2)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    args = parser.parse_args()
    returns = online_returns()
    quick, *laptop = dict.fromkeys(row["preset"] for row in table("handover-factors.csv"))
    options, by_log = by_option(quick), {preset: by_option(preset) for preset in laptop}
    swings = by_swing()
    with matplotlib.rc_context(STYLE):
        pictures = {
            "mujoco": draw_logs(returns),
            "factors": draw_factors(options),
            "factors-mujoco": draw_logged_factors(by_log),
            "swing": draw_swing(swings),
        }
        for name, figure in pictures.items():
            figure.savefig(args.out / f"handover-{name}.png", dpi=150, facecolor="white")


if __name__ == "__main__":
    main()
