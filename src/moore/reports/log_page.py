"""One self-contained page about one log: `moore inspect --html`."""

import os
import re
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from moore.data.defects import refusals, warnings
from moore.errors import InputError
from moore.reports import log_plots
from moore.reports.html import _number
from moore.reports.log_text import trend_text, verdict_text
from moore.reports.plots import figure_svg


def write_log_page(path: str | Path, summary: dict, *, replay: dict | None = None) -> Path:
    """Write the page, whole or not at all. It loads nothing from anywhere.

    Args:
        path: of the page; replaced if it is there.
        summary: from `moore.data.inspect.summarize`.
        replay: from `moore.envs.replay_check.replay_check`.

    Raises:
        InputError: the page cannot be written there.
    """
    path = Path(path)
    found, refused = warnings(summary, replay), refusals(summary)
    html = _template().render(
        s=summary,
        replay=replay,
        warnings=found,
        refused=refused,
        verdict=verdict_text(found, refused),
        trend=trend_text(summary),
        figures=_figures(summary, replay),
        dimensions=_dimensions(summary, replay),
        style=_style(),
    )
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(html, encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error}); give another path") from error
    return path


def _figures(summary: dict, replay: dict | None) -> dict[str, Markup]:
    figures = {
        "along": log_plots.returns_along(summary),
        "returns": log_plots.return_histogram(summary),
        "lengths": log_plots.length_histogram(summary),
        "rewards": log_plots.reward_histogram(summary),
        "observations": log_plots.observation_histograms(summary),
        "actions": log_plots.action_histograms(summary),
    }
    if replay is not None:
        figures["replay"] = log_plots.replay_errors(replay)
        figures["replay_dimensions"] = log_plots.replay_dimensions(replay)
    return {name: Markup(figure_svg(figure)) for name, figure in figures.items()}


def _dimensions(summary: dict, replay: dict | None) -> list[dict]:
    """A row a dimension for the table: kind, number, min, max, mean, sd, remark, replay error."""
    rows = []
    for key, kind in (("obs", "observation"), ("action", "action")):
        columns = [summary[f"{key}_{name}"] for name in ("min", "max", "mean", "sd")]
        for i, values in enumerate(zip(*columns, strict=True)):
            remark = "constant" if i in summary[f"constant_{key}_dims"] else ""
            remark = remark or "nearly" * (i in summary[f"nearly_constant_{key}_dims"])
            error = replay["obs_p99_per_dim"][i] if replay and key == "obs" else None
            rows.append({"name": f"{kind} {i}", "values": values, "remark": remark, "error": error})
    return rows


def _style() -> Markup:
    """The style sheet of the run report, which this page shares."""
    source = resources.files("moore.reports").joinpath("template.html").read_text(encoding="utf-8")
    return Markup(re.search(r"(?s)<style>(.*?)</style>", source)[1])


def _template() -> jinja2.Template:
    folder = resources.files("moore.reports")
    source = folder.joinpath("log_template.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number}
    return environment.from_string(source)
