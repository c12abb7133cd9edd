"""A stored run without protection, drawn faintly behind the picture of the same task.

Nothing is computed here: `unprotected.json` holds the mean of runs that were made once, and says by
which command.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources

from matplotlib.axes import Axes

from moore.reports.plot_style import INK

LABEL = "without protection"
MEANING = (
    "stored: evaluations of the paper's algorithm on the same log, after as much offline learning, "
    "with nothing in its way (mean of four seeds)"
)


@cache
def _stored() -> Mapping:
    text = resources.files("moore.reports").joinpath("unprotected.json").read_text("utf-8")
    return json.loads(text)


def draw_unprotected(axes: Axes, summary: Mapping) -> list[float]:
    """Draws the stored curve if the run is one of the task that it belongs to.

    Args:
        axes: axes of returns over steps in the system.
        summary: `summary.json`; used are `dataset.sha256`, `env_id` and `algorithm`.

    Returns:
        The returns that are drawn; empty if nothing is.
    """
    stored, log = _stored(), summary.get("dataset") or {}
    same = log.get("sha256") == stored["log_sha256"] and summary.get("env_id") == stored["env_id"]
    if not same or summary.get("algorithm") == stored["algorithm"]:
        return []
    axes.plot(stored["steps"], stored["returns"], color=INK, lw=1.2, alpha=0.35, label=LABEL)
    return stored["returns"]
