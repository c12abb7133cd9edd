"""The picture of docs/architecture.md: rooms in layers, arrows from a room to what it imports."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

Arrow = tuple[str, str]
_WIDTH, _BOX, _ROW = 10.0, (1.25, 0.5), 1.15
_STYLE = {"svg.hashsalt": "moore", "svg.fonttype": "none", "font.size": 11}
_INK, _FILL, _UP = "#33415c", "#e8eef7", "#c1121f"


def draw(
    layers: Sequence[Sequence[str]],
    arrows: Sequence[Arrow],
    upward: Sequence[Arrow],
    path: Path,
    description: str,
) -> None:
    """Writes the picture as SVG, and as PNG beside it.

    An arrow is left out where a longer way of arrows says the same, so that the lines can be
    followed; an upward one never is, and it is red.

    Args:
        layers: rooms from the top.
        arrows: all of them, from the room that imports.
        upward: those among them that do not go down.
        path: of the SVG.
        description: stands in the SVG.
    """
    places = {
        room: (_WIDTH * (i + 0.5) / len(layer), -_ROW * depth)
        for depth, layer in enumerate(layers)
        for i, room in enumerate(layer)
    }
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _ROW * len(layers)), layout="constrained")
        axes = figure.subplots()
        for arrow in without_shortcuts([arrow for arrow in arrows if arrow not in upward]):
            _draw_arrow(axes, places, arrow, color="#7d8aa5", width=1.0)
        for arrow in upward:
            _draw_arrow(axes, places, arrow, color=_UP, width=2.2)
        for room, (x, y) in places.items():
            _draw_room(axes, room, x, y)
        axes.set_xlim(0, _WIDTH)
        axes.set_ylim(-_ROW * (len(layers) - 1) - 0.5, 0.5)
        axes.axis("off")
        figure.savefig(path, metadata={"Date": None, "Description": description})
        figure.savefig(path.with_suffix(".png"), dpi=110, facecolor="white")


def without_shortcuts(arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows that no longer way says already; they must not go in a circle."""
    after: dict[str, set[str]] = {}
    for source, target in arrows:
        after.setdefault(source, set()).add(target)

    def reached(room: str) -> set[str]:
        return {room}.union(*(reached(other) for other in after.get(room, ())))

    return [
        (source, target)
        for source, target in arrows
        if not any(target in reached(other) for other in after[source] - {target})
    ]


def _draw_room(axes: Axes, room: str, x: float, y: float) -> None:
    width, height = _BOX
    corner = (x - width / 2, y - height / 2)
    box = FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.08", facecolor=_FILL,
        edgecolor=_INK, linewidth=1.0, zorder=3,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(x, y, room, ha="center", va="center", color=_INK, zorder=4)


def _draw_arrow(
    axes: Axes, places: dict[str, tuple[float, float]], arrow: Arrow, *, color: str, width: float
) -> None:
    (x, y), (to_x, to_y) = places[arrow[0]], places[arrow[1]]
    half = _BOX[1] / 2
    sign = 1 if to_y < y else -1
    lean = 0.25 * _BOX[0] * (1 if to_x > x else -1 if to_x < x else 0)
    layers = round(abs(to_y - y) / _ROW)
    # Long arrows bend outwards, past the rooms between.
    outwards = 1 if x + to_x < _WIDTH else -1
    bend = sign * outwards * 0.11 * (layers - 1)
    line = FancyArrowPatch(
        (x + lean, y - sign * half), (to_x - lean, to_y + sign * half), arrowstyle="-|>",
        connectionstyle=f"arc3,rad={min(0.3, max(-0.3, bend))}", mutation_scale=11, color=color,
        linewidth=width, shrinkA=0, shrinkB=0, zorder=2,
    )  # fmt: skip
    axes.add_patch(line)
