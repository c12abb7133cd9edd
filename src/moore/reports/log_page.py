"""One self-contained page about one log, for `moore inspect --html`."""

from pathlib import Path

from markupsafe import Markup

from moore.findings.defects import refusals, stops, warnings
from moore.reports import log_plots
from moore.reports.log_text import trend_text, verdict_of
from moore.reports.page import render, write_page
from moore.reports.plot_style import figure_svg


def write_log_page(path: str | Path, summary: dict, *, replay: dict | None = None) -> Path:
    """Writes the page completely or not at all. It loads no other files.

    Args:
        path: path of the page; an existing file is replaced.
        summary: the result of `moore.inspecting.summary.summarize`.
        replay: the result of `moore.inspecting.replay_check.replay_check`.

    Raises:
        InputError: the page cannot be written there.
    """
    path = Path(path)
    found, refused = warnings(summary, replay), refusals(summary)
    stopping = [str(finding) for finding in stops(summary)]
    html = render(
        "log_template.html",
        s=summary,
        replay=replay,
        warnings=found,
        refused=refused,
        stopping=stopping,
        verdict=verdict_of(summary, replay),
        trend=trend_text(summary),
        figures=_figures(summary, replay),
        dimensions=_dimensions(summary, replay),
    )
    return write_page(path, html)


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
    """Rows of the table of dimensions: kind, number, min, max, mean, sd, remark, replay error."""
    rows = []
    for key, kind in (("obs", "observation"), ("action", "action")):
        columns = [summary[f"{key}_{name}"] for name in ("min", "max", "mean", "sd")]
        for i, values in enumerate(zip(*columns, strict=True)):
            remark = "constant" if i in summary[f"constant_{key}_dims"] else ""
            remark = remark or "nearly" * (i in summary[f"nearly_constant_{key}_dims"])
            error = replay["obs_p99_per_dim"][i] if replay and key == "obs" else None
            rows.append({"name": f"{kind} {i}", "values": values, "remark": remark, "error": error})
    return rows
