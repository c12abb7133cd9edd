"""`moore report A B --html`: runs side by side, a column each, and how their settings differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from moore.config import flat
from moore.reports.headline import legend, return_curve
from moore.reports.html import overview
from moore.reports.page import render
from moore.reports.plot_style import figure_svg

_FACTS = {
    "offline": "at the hand-over",
    "dip": "dip: deepest fall below that",
    "dip_by_yardstick": "dip by the yardstick: as a share of a gap that is not the run's own",
    "dip_area": "dip area: all falls below it, summed",
    "final": "final, mean of the last 5",
    "gain": "gain online",
    "behaviour_dip": "acting policy's dip",
    "behaviour_worst_episode": "acting policy's worst episode",
    "behaviour_loss": "loss to the log; below 0 more was earned than in it",
}


@dataclass(frozen=True)
class Run:
    """What the files of a run hold.

    Attributes:
        name: name of its folder.
        rows: rows of metrics.jsonl.
        config: content of config.toml.
        summary: content of summary.json; None while the run is not over.
    """

    name: str
    rows: list[dict]
    config: dict
    summary: dict | None


def side_by_side_page(runs: Sequence[Run]) -> str:
    """A page with a column for each run, and the settings in which they differ."""
    views = [overview(run.rows, run.config, run.summary) for run in runs]
    figures = _figures(runs, views)
    columns = [
        {"name": run.name, "svg": svg, **view}
        for run, view, svg in zip(runs, views, figures, strict=True)
    ]
    return render(
        "side_by_side_template.html",
        columns=columns,
        facts=_FACTS,
        legend=_fullest_legend(runs, views),
        differences=differences([run.config for run in runs]) | _other_logs(runs),
    )


def differences(configs: Sequence[dict]) -> dict[str, list]:
    """By setting, its value in each configuration, for those that are not the same in all."""
    tables = [flat(config) for config in configs]
    names = dict.fromkeys(name for table in tables for name in table)
    values = {name: [table.get(name) for table in tables] for name in names}
    return {name: of for name, of in values.items() if any(value != of[0] for value in of)}


def _other_logs(runs: Sequence[Run]) -> dict[str, list]:
    """The hashes of the logs, unless they are the same in all runs that are over.

    The settings hold only the name of a log, under which another one may lie by now.
    """
    logs = [((run.summary or {}).get("dataset") or {}).get("sha256") for run in runs]
    known = [str(sha256)[:12] if sha256 else None for sha256 in logs]
    return {"SHA-256 of the log": known} if len({*known} - {None}) > 1 else {}


def _figures(runs: Sequence[Run], views: Sequence[dict]) -> list[Markup]:
    """The returns of each run; those of one environment have the same axis."""
    figures = [_drawn(run, view) for run, view in zip(runs, views, strict=True)]
    limits: dict[object, list] = {}
    for figure, view in zip(figures, views, strict=True):
        limits.setdefault(view["summary"].get("env_id"), []).append(figure.axes[0].get_ylim())
    for figure, view in zip(figures, views, strict=True):
        lows, highs = zip(*limits[view["summary"].get("env_id")], strict=True)
        figure.axes[0].set_ylim(min(lows), max(highs))
    return [Markup(figure_svg(figure)) for figure in figures]


def _drawn(run: Run, view: dict) -> Figure:
    return return_curve(run.rows, view["summary"])


def _fullest_legend(runs: Sequence[Run], views: Sequence[dict]) -> Markup:
    return max((legend(_drawn(run, view)) for run, view in zip(runs, views, strict=True)), key=len)
