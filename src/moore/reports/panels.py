"""Panels whose horizontal axis counts the epochs of both stages, and what is drawn in them.

Online epochs count from 0, the hand-over, where the last offline epoch ends. The offline part takes
a third of the width, however many epochs it has.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moore.numbers import finite, is_finite, without_nulls
from moore.reports.plot_style import INK

MetricRows = Sequence[Mapping]


def last_epochs(rows: MetricRows) -> tuple[int | float, int | float, float]:
    """Last offline and online epoch, and the width of an offline epoch in online ones."""
    offline, online = (
        max(finite(row.get("epoch") for row in rows if row.get("stage") == stage), default=0)
        for stage in ("offline", "online")
    )
    return offline, online, 0.5 * online / offline if offline and online else 1.0


def with_places(rows: MetricRows) -> list[dict]:
    """The rows with `x`, their place on the axis that both stages share."""
    rows = list(map(without_nulls, rows))
    last, _, step = last_epochs(rows)
    place = {"offline": lambda epoch: (epoch - last) * step, "online": float}
    known = (row for row in rows if row.get("stage") in place and is_finite(row.get("epoch")))
    return [{**row, "x": place[row["stage"]](row["epoch"])} for row in known]


def epoch_axis(axes: Axes, rows: MetricRows, *, label: bool = True) -> None:
    """Ticks that count each stage's own epochs, and the dotted line of the hand-over."""
    if not axes.has_data():
        axes.text(0.5, 0.5, "not logged", ha="center", transform=axes.transAxes)
    last, last_online, step = last_epochs(rows)
    offline = whole_ticks(3 if label else 2, last)
    offline = offline[(offline > 0) & (offline <= 0.8 * last)]  # room for the hand-over's 0
    online = whole_ticks(4, last_online)
    online = online[(online >= 0) & (online <= last_online)]
    places = np.append((offline - last) * step, online)
    axes.set_xticks(places, [f"{epoch:.0f}" for epoch in np.append(offline, online)])
    axes.axvline(0, color=INK, ls=":", lw=1)
    if label:
        axes.set_xlabel("offline epoch  |  online epoch" if last else "online epoch")


def whole_ticks(most: int, last: int | float) -> np.ndarray:
    """About so many whole numbers from 0 on, as far as `last` and a little farther."""
    return np.asarray(MaxNLocator(most, integer=True).tick_values(0, max(last, 1)))


def new_figure(panels: int, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of the pages' width with so many panels."""
    lines = -(-panels // columns)
    fig = Figure(figsize=(4.6, max(2.9, 0.35 + 1.4 * lines)), layout="constrained")
    return fig, [fig.add_subplot(lines, columns, place + 1) for place in range(panels)]


def series(rows: MetricRows, *keys: str) -> np.ndarray:
    """Places and values [1 + keys, n] of the rows that have all keys."""
    kept = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    return np.array([[row[key] for row in kept] for key in ("x", *keys)], dtype=float)


def finite_values(row: Mapping, key: str) -> list[float]:
    """The finite numbers of a logged list; none if it is not logged."""
    return finite(row.get(key))


def line(axes: Axes, rows: MetricRows, *, key: str, color: str, label: str = "", style: str = "-"):
    """What is logged under `key`, as a line; with a marker each where there are few."""
    x, y = series(rows, key)
    if x.size:
        marker = "o" if style == "none" or (style == "-" and x.size <= 100) else None
        axes.plot(x, y, ls=style, color=color, marker=marker, ms=2.4, label=label)


def band(axes: Axes, rows: MetricRows, *, low: str, high: str, color: str) -> None:
    """The area between two logged numbers."""
    x, *ends = series(rows, low, high)
    if x.size:
        axes.fill_between(x, *ends, color=color, alpha=0.16, lw=0)
