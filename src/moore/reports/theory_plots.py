"""The result of `moore theory` as a picture: the distribution of each statement's ratios."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from moore.errors import InputError
from moore.reports.plot_style import BLUE, GREEN, INK, PURPLE, STYLE, VERMILION
from moore.theory.survey import PRINTED, PRINTED_ABS, Row

# Ratios are drawn as powers of ten within these; what lies beyond is drawn at the ends.
_LOW, _HIGH, _BINS = -4, 2, 72
_FORMS = {PRINTED: PURPLE, PRINTED_ABS: BLUE}
_KEY = {"printed": PURPLE, "printed, with |V|": BLUE, "corrected": GREEN, "violated": VERMILION}


def draw_theory(rows: Sequence[Row], path: Path) -> None:
    """Draws the distribution of left over right for each statement and form, as PNG, SVG or PDF.

    Args:
        rows: the result of `moore.theory.survey.survey`. Identities are left out, and so are the
            rows with only the draws in which the policies differ, which look like those of all.

    Raises:
        InputError: the picture cannot be written.
    """
    shown = [row for row in rows if not (row.identity or row.subset)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 0.9 + 0.3 * len(shown)), layout="constrained")
        figure.set_facecolor("white")
        axes = figure.subplots()
        heights = _heights(shown)
        for row, height in zip(shown, heights, strict=True):
            _ridge(axes, row, height)
        _dress(axes, shown, heights)
        handles = [Patch(color=color, label=label) for label, color in _KEY.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(_KEY),
                      title="A bound is violated where its draws lie beyond 1")  # fmt: skip
        try:
            figure.savefig(path, dpi=150)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be written ({error}); name a .png") from None


def _heights(rows: Sequence[Row]) -> list[float]:
    """Heights of the baselines from the top down, with a gap where the statement changes."""
    heights, height = [], 0.0
    for before, row in zip([None, *rows], rows, strict=False):
        height -= 1.0 if before is None or before.name == row.name else 1.45
        heights.append(height)
    return heights


def _ridge(axes: Axes, row: Row, height: float) -> None:
    """Draws a histogram of the log ratio; violations have their own colour, and ticks below."""
    ratios = np.where(row.violated & (row.ratios <= 1), np.inf, row.ratios)
    places = np.log10(np.clip(ratios, 10.0**_LOW, 10.0**_HIGH))
    # An equality is 1 up to rounding: it belongs to the side on which the bound holds.
    places = np.where(row.violated, places, np.minimum(places, -1e-9))
    edges = np.linspace(_LOW, _HIGH, _BINS + 1)
    color = _FORMS.get(row.form, GREEN)
    # Roots: a bin of one draw must be seen beside the fullest one. The ends, which collect all
    # that lies beyond, may be cut off instead of setting the scale.
    counts = [np.histogram(places[kept], edges)[0] for kept in (~row.violated, row.violated)]
    scale = 0.75 / np.sqrt(max(1, *(count[1:-1].max() for count in counts)))
    for count, fill in zip(counts, (color, VERMILION), strict=True):
        tops = height + np.minimum(scale * np.sqrt(count), 0.9)
        axes.stairs(tops, edges, baseline=height, fill=True, color=fill, alpha=0.75, lw=0)
    axes.plot(places[row.violated], [height] * row.violated.sum(), "|", ms=4, color=VERMILION)
    text = f"{100 * row.violated.mean():.1f}%" if row.violated.any() else "0"
    ink = VERMILION if row.violated.any() else INK
    axes.text(_HIGH + 0.12, height + 0.1, text, color=ink, va="bottom")


def _dress(axes: Axes, rows: Sequence[Row], heights: Sequence[float]) -> None:
    """Draws names, the region in which a bound fails, and the axis of powers of ten."""
    axes.axvspan(0, _HIGH, color=VERMILION, alpha=0.06, lw=0)
    axes.axvline(0, color=INK, lw=0.8)
    labels = []
    for before, row in zip([None, *rows], rows, strict=False):
        first = before is None or before.name != row.name
        labels.append(f"{row.name}:  {row.form}" if first else row.form)
    axes.set_yticks([height + 0.3 for height in heights], labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    powers = range(_LOW, _HIGH + 1)
    ends = {_LOW: rf"$\leq 10^{{{_LOW}}}$", _HIGH: rf"$\geq 10^{_HIGH}$", 0: "1"}
    axes.set_xticks(powers, [ends.get(power, rf"$10^{{{power}}}$") for power in powers])
    axes.set_xlim(_LOW - 0.05, _HIGH + 0.55)
    axes.set_ylim(heights[-1] - 0.3, 0.4)
    axes.text(_HIGH + 0.12, 0.0, "violated", color=INK, va="center")
    axes.set_xlabel("left side / right side (beyond 1 the bound fails); height: root of the draws")
    axes.spines["left"].set_visible(False)
