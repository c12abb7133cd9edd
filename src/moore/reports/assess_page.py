"""One self-contained page about one assessment, for `moore assess`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from markupsafe import Markup

from moore.reports import assess_plots
from moore.reports.assess_text import estimate_rows
from moore.reports.page import render, write_page
from moore.reports.plot_style import figure_svg

_WORDS = {"fine": "nothing against it", "open": "open", "against": "speaks against it"}


def write_assess_page(
    path: Path, result: dict, pictures: Mapping[str, Mapping[str, np.ndarray]]
) -> Path:
    """Writes the page completely or not at all. It loads no other files.

    Args:
        path: path of the page; an existing file is replaced.
        result: the result of `moore.assessing.assess.assess`.
        pictures: `courses` and `distances`, each with numbers by name.

    Raises:
        InputError: the page cannot be written there.
    """
    html = render(
        "assess_template.html",
        r=result,
        rows=estimate_rows(result),
        words=_WORDS,
        figures=_figures(result, pictures),
    )
    return write_page(path, html)


def _figures(result: dict, pictures: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Markup]:
    figures = {
        "intervals": assess_plots.intervals(result),
        "distances": assess_plots.distances(pictures["distances"]),
        "courses": assess_plots.courses(pictures["courses"]),
    }
    return {name: Markup(figure_svg(figure)) for name, figure in figures.items()}
