"""Colours and style of all figures, and a figure as inline SVG."""

import io
import re

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with every common form of colour blindness.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK = "#24292f"
# For many curves in one figure.
COLORS = (BLUE, VERMILION, GREEN, PURPLE, "#e69f00", "#56b4e9", INK)
_PALETTE = {"blue": BLUE, "vermilion": VERMILION, "green": GREEN, "purple": PURPLE}
_COLORED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE = matplotlib.RcParams(
    {
        **dict.fromkeys((*_COLORED, "grid.color"), INK),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
        **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
        **{"axes.grid": True, "grid.alpha": 0.13, "grid.linewidth": 0.6},
        **{"font.size": 8.5, "lines.linewidth": 1.6, "legend.handlelength": 1.4},
        **{"svg.fonttype": "none", "svg.hashsalt": "moore"},
    }
)


def heading(axes: Axes, text: str) -> None:
    """A title above a panel, at its left end."""
    axes.set_title(text, loc="left", fontsize="medium")


def legend_above(fig: Figure, axes: Axes) -> None:
    """The names of a panel's curves, above all panels."""
    fig.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)


def figure_svg(fig: Figure) -> str:
    """The figure as one `<svg>` element, the same text for the same figure.

    Ink becomes `currentColor` and each data colour a CSS variable (`--blue`, ...) with the colour
    itself as fallback, so that the page decides between light, dark and print.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        fig.savefig(buffer, format="svg", metadata={"Date": None})
    svg = re.sub(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>", "", buffer.getvalue())
    # Groups' names (axes_1, ...) are never referenced and would repeat on a page of figures.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace(INK, "currentColor")
    for color in _PALETTE.values():
        svg = svg.replace(color, css_color(color))
    return svg.strip()


def css_color(color: str) -> str:
    """A colour of a figure as the page has it: `currentColor` or a variable with a fallback."""
    names = {value: name for name, value in _PALETTE.items()}
    return "currentColor" if color == INK else f"var(--{names[color]}, {color})"
