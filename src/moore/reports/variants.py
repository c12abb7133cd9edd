"""Panels that compare variants of a run: curves over steps, and points for seeds."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from moore.numbers import is_finite
from moore.reports.compare import Finished
from moore.reports.panels import finite_values
from moore.reports.plot_style import COLORS, INK

Colors = Mapping[str, object]

# Metrics that have a panel of points: its title, what the numbers are, whether they begin at 0.
_PANELS = {
    "dip_share": ("evaluated dip", "of hand-over's worth", True),
    "behaviour_dip_share": ("acting dip", "of hand-over's worth", True),
    "final": ("final return", "mean of the last 5", False),
    "gain": ("gain", "final less hand-over", False),
}

_MORE_COLORS = ("#999933", "#882255", "#999999", "#a6761d", "#ff5ca8", "#44aa99", "#332288",
                "#a50026", "#117733")  # fmt: skip
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))


def variant_colors(runs: Sequence[Finished], *, ordered: bool = False) -> Colors:
    """A colour for each variant; colours come again where there are more than 16.

    Args:
        runs: runs in the order of their variants.
        ordered: the variants lie on a scale, so their colours do too; if false, the colours are
            chosen to be distinct.
    """
    names = list(dict.fromkeys(run.variant for run in runs))
    if ordered:
        scale = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.92, len(names)))
        return dict(zip(names, map(tuple, scale), strict=True))
    palette = COLORS if len(names) <= len(COLORS) else (*COLORS, *_MORE_COLORS)
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


def _line_styles(colors: Colors) -> dict[str, dict]:
    """The line style of each variant; dashes and a thick first line if colours do not suffice."""
    if not any(color in _MORE_COLORS for color in colors.values()):
        return {name: {"lw": 1.9} for name in colors}
    styles = {
        name: {"lw": 1.3, "ls": _DASHES[place // len(COLORS) % len(_DASHES)], "zorder": 2}
        for place, name in enumerate(colors)
    }
    styles[next(iter(colors))] |= {"lw": 2.2, "zorder": 3}
    return styles


def epoch_returns(run: Finished, *, acting: bool) -> tuple[np.ndarray, np.ndarray]:
    """The epochs of the online stage that have returns, and their mean returns.

    Args:
        run: the run.
        acting: take the acting policy's episodes instead of the evaluations.
    """
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


def epoch_steps(runs: Sequence[Finished]) -> dict[int, float] | None:
    """Environment steps at the end of each online epoch, as a mean over the runs.

    None if an epoch of a run has none logged.
    """
    found: dict[int, list[float]] = {}
    for row in (row for run in runs for row in run.rows if row.get("stage") == "online"):
        steps = row.get("env_steps", 0 if row["epoch"] == 0 else None)
        if not is_finite(steps):
            return None
        found.setdefault(row["epoch"], []).append(steps)
    return {epoch: float(np.mean(steps)) for epoch, steps in found.items()}


def step_axis(axes: Axes, *, steps: bool) -> None:
    """The horizontal axis of what is drawn over the online stage."""
    label = "steps online (0: the hand-over)" if steps else "online epoch (0: the hand-over)"
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(5 if steps else 8, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def draw_curves(axes: Axes, runs: Sequence[Finished], colors: Colors, *, acting: bool) -> None:
    """Draws the mean over the seeds of each variant; of one or two variants also the range.

    The horizontal axis has steps in the environment, or epochs where steps were not logged.
    With more variants than usual colours, dashes distinguish them as well.

    Args:
        axes: axes to draw on.
        runs: runs of one task.
        colors: colours by variant.
        acting: draw the acting policy's episodes instead of the evaluations.
    """
    styles, logged = _line_styles(colors), epoch_steps(runs) is not None
    for variant, color in colors.items():
        mine = [run for run in runs if run.variant == variant]
        seeds = [epoch_returns(run, acting=acting) for run in mine]
        if not seeds:
            continue
        epochs = np.unique(np.concatenate([x for x, _ in seeds]))
        values = [[y[x == e][0] for x, y in seeds if (x == e).any()] for e in epochs]
        means = [np.mean(found) for found in values]
        steps = epoch_steps(mine) if logged else None
        places = [steps[epoch] for epoch in epochs] if steps else epochs
        if len(colors) <= 2 and len(seeds) > 1:
            low, high = ([pick(found) for found in values] for pick in (min, max))
            axes.fill_between(places, low, high, color=color, alpha=0.12, lw=0)
        axes.plot(places, means, color=color, label=variant, **styles[variant])
    axes.set_ylabel("acting return" if acting else "evaluated return")
    step_axis(axes, steps=logged)


def draw_points(
    panels: Sequence[Axes], cells: Sequence[dict], metrics: Sequence[str], colors: Colors
) -> None:
    """Draws a point for each seed, and below them the IQM with its interval.

    Args:
        panels: axes to draw on, one for each metric; the first one names the variants.
        cells: cells of one task, from the result of `compare`.
        metrics: names among dip_share, behaviour_dip_share, final and gain.
        colors: colours by variant.
    """
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_metric(axes, cells, metric, colors)
        axes.set_yticks(range(len(cells)), [])
    panels[0].set_yticks(range(len(cells)), [cell["variant"] for cell in cells])


def _draw_metric(axes: Axes, cells: Sequence[dict], metric: str, colors: Colors) -> None:
    for place, cell in enumerate(cells):
        values = [value for value in cell["values"][metric] if value is not None]
        color = colors[cell["variant"]]
        axes.plot(values, [place] * len(values), "o", color=color, ms=3.5, alpha=0.6, mew=0)
        found = cell["estimates"][metric]
        if found and found["low"] is not None:
            axes.plot([found["low"], found["high"]], [place + 0.28] * 2, color=INK, lw=1.2)
        if found:
            axes.plot(found["value"], place + 0.28, "|", color=INK, ms=7, mew=1.6)
    axes.set_ylim(len(cells) - 0.4, -0.6)
    title, unit, from_zero = _PANELS[metric]
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(3))
    if from_zero:
        high = axes.get_xlim()[1]
        axes.set_xlim(-0.05 * high, high)
