"""The content of `report.html`, one self-contained page about one run."""

import tomllib
from dataclasses import asdict
from statistics import fmean

from markupsafe import Markup

from moore.config import flat
from moore.errors import InputError
from moore.evaluation.scores import reference_scores
from moore.evaluation.transfer import DIP_EPOCHS, acting_levels, transfer_metrics
from moore.numbers import is_finite, without_nulls
from moore.reports import plots
from moore.reports.budget_plot import budget_curves
from moore.reports.headline import legend, return_curve
from moore.reports.page import render
from moore.reports.panels import finite_values
from moore.reports.plot_style import figure_svg
from moore.reports.unchanging import unchanging
from moore.reports.verdict import budget_kept, dip_and_gain, way

_ACTED = "online/episode_returns"

# (title of a column, key of the metrics row)
_COLUMNS = (
    ("stage", "stage"),
    ("epoch", "epoch"),
    ("env steps", "env_steps"),
    ("updates", "updates"),
    ("return", "eval/return"),
    ("score", "eval/score"),
    ("acting return", "acting"),
    ("acting episodes", "acting_episodes"),
    ("online share", "replay/online_share"),
    ("shift", "replay/shift"),
    ("rollout steps", "model/rollout_steps"),
    ("uncertainty", "model/uncertainty_mean"),
    ("holdout MSE", "model/holdout_mse"),
    ("new z", "model/new_z"),
    ("fit steps", "model/fit_steps"),
    ("stopped by", "model/fit_stopped_by"),
    ("gate let through", "gate/accepted"),
    ("skipped updates", "losses/skipped_updates"),
    ("seconds", "time/epoch"),
)

# (key, name, its score exists, what it says)
_METRICS = (
    ("offline", "offline", True, "mean return at the hand-over, J0"),
    ("dip", "dip", True, f"deepest fall below J0 in the first {DIP_EPOCHS} epochs"),
    ("dip_share", "dip share", False, "dip, as a share of the way from random to J0"),
    ("swing_share", "offline swing", False, "the dip share of the last ten offline epochs"),
    ("dip_area", "dip area", True, "sum over all epochs of the shortfall"),
    ("recovery_epochs", "recovery", False, "epochs from the first fall below J0 until back"),
    ("epochs_to_threshold", "to threshold", False, "first epoch at the threshold (default 95%)"),
    ("final", "final", True, "mean of the last 5 evaluations"),
    ("gain", "gain", True, "final minus J0"),
    ("auc", "auc", True, "mean over the online epochs"),
    ("behaviour_dip", "acting policy's dip", True, "the same for the episodes really acted"),
    ("behaviour_dip_share", "acting policy's dip share", False, "from random to its own start"),
    (
        "behaviour_dip_share_by_luck",
        "by chance alone",
        False,
        "the median share for a policy that does not change, with as many episodes",
    ),
    ("dip_by_yardstick", "dip by the yardstick", False, "dip over a gap that is not the run's own"),
    ("behaviour_worst_episode", "acting policy's worst episode", True, "lowest return online"),
    ("behaviour_loss", "loss to the log", True, "log's mean minus what was earned, all episodes"),
    ("behaviour_loss_peak", "peak of that loss", True, "its largest value on the way"),
)


def run_page(name: str, rows: list[dict], config_text: str, summary: dict | None) -> str:
    """The page of one run, which may still be in progress.

    Args:
        name: name of the run's folder.
        rows: rows of metrics.jsonl.
        config_text: text of config.toml.
        summary: content of summary.json; None while the run is not over.

    Returns:
        HTML that loads no other files.

    Raises:
        InputError: config.toml is no TOML.
    """
    config = parsed(config_text, name)
    view = overview(rows, config, summary)
    rows = without_nulls(rows)
    return render(
        "template.html",
        **view,
        metrics=_METRICS,
        figures=_figures(rows, config, view["summary"]),
        **_epoch_table(rows),
        flat=flat,
        finished=summary is not None,
        config=config_text,
        name=name,
    )


def parsed(config_text: str, name: str) -> dict:
    """The content of the config.toml of the run folder of this name.

    Raises:
        InputError: it is no TOML.
    """
    try:
        return tomllib.loads(config_text)
    except ValueError as error:
        raise InputError(f"{name}/config.toml is not valid ({error})") from error


def overview(rows: list[dict], config: dict, summary: dict | None) -> dict:
    """What a page says of a run at its top.

    Args:
        rows: rows of metrics.jsonl.
        config: content of config.toml.
        summary: content of summary.json; None while the run is not over.

    Returns:
        `summary`, as far as it is known, `transfer` and `acting`, `unchanging` (the metrics of
        policies that never change, by name), and `verdict`, as sentences.
    """
    rows = without_nulls(rows)
    known = _known_so_far(rows, config) if summary is None else without_nulls(summary)
    nothing = {f"{key}{end}": None for key, *_ in _METRICS for end in ("", "_score")}
    transfer = nothing | (known.get("transfer") or {})
    transfer["swing_share"] = (known.get("offline") or {}).get("swing_share")
    online = max((row["epoch"] for row in rows if _is_online(row)), default=0)
    came = way(known)
    told = (
        f"{came[0].upper()}{came[1:]}." if came else "",
        dip_and_gain(transfer, online, evaluated=_evaluated_online(rows)),
        budget_kept(known.get("budget")),
    )
    return {
        "summary": known,
        "transfer": transfer,
        "acting": known.get("acting") or {},
        "unchanging": {name: nothing | found for name, found in unchanging(known, rows).items()},
        "verdict": [sentence for sentence in told if sentence],
    }


def _known_so_far(rows: list[dict], config: dict) -> dict:
    """The summary of a run that has not written its summary.json yet."""
    summary = {name: _find(config, name) for name in ("env_id", "algorithm", "scheme", "seed")}
    summary["dataset"] = {"name": _find(config, "dataset")}
    env_id, steps = summary["env_id"], _find(config, "episode_steps")
    reference = reference_scores(
        env_id if isinstance(env_id, str) else None,
        arguments=str(_find(config, "env_args") or ""),
        steps=steps if isinstance(steps, int) else None,
    )
    summary["reference"] = asdict(reference) if reference else None
    counts = [len(row["eval/returns"]) for row in rows if row.get("eval/returns")]
    wanted = (config.get("evaluation") or {}).get("episodes")
    summary["evaluation_episodes"] = counts[-1] if counts else wanted
    online = [row for row in rows if _is_online(row)]
    curve = {row["epoch"]: float(row["eval/return"]) for row in online if "eval/return" in row}
    acting = {row["epoch"]: finite_values(row, _ACTED) for row in online}
    start = acting.pop(0, [])
    if online:
        summary["acting"] = acting_levels(list(acting.values()))
    if 0 in curve:
        summary["transfer"] = transfer_metrics(
            curve.pop(0),
            list(curve.values()),
            reference=reference,
            behaviour_offline=fmean(start) if start else None,
            behaviour_returns=list(acting.values()),
        )
    return summary


def _evaluated_online(rows: list[dict]) -> bool:
    return any(_is_online(row) and "eval/return" in row for row in rows)


def _is_online(row: dict) -> bool:
    return row.get("stage") == "online" and "epoch" in row


def _figures(rows: list[dict], config: dict, summary: dict) -> dict[str, Markup]:
    """The figures for which numbers were logged."""
    coefs = [row["model/penalty_coef"] for row in rows if row.get("model/penalty_coef")]
    given = coefs[-1] if coefs else _find(config, "penalty_coef")
    penalty_coef = given if is_finite(given) else None
    curves = {
        "replay/": lambda: plots.share_curve(rows),
        "model/uncertainty": lambda: plots.uncertainty_curve(rows, penalty_coef=penalty_coef),
        "model/": lambda: plots.model_curve(rows),
        "model/new_": lambda: plots.surprise_curves(rows),
        "theory/": lambda: plots.theory_curves(rows),
        "gate/": lambda: plots.gate_curves(rows),
        "budget/": lambda: budget_curves(rows),
        "losses/q_": lambda: plots.value_curve(rows),
        "losses/": lambda: plots.loss_curves(rows),
    }
    logged = {key for row in rows for key in row}
    present = [prefix for prefix in curves if any(key.startswith(prefix) for key in logged)]
    figures = {prefix: Markup(figure_svg(curves[prefix]())) for prefix in present}
    if any(key.startswith(("eval/", _ACTED, "model/episode_return")) for key in logged):
        returns = return_curve(rows, summary)
        figures |= {"returns": Markup(figure_svg(returns)), "legend": legend(returns)}
    return figures


def _epoch_table(rows: list[dict]) -> dict:
    """Columns and cells of the table of epochs; a column without any value is left out."""
    acted = [finite_values(row, _ACTED) for row in rows]
    acting = [{"acting": fmean(y), "acting_episodes": len(y)} if y else {} for y in acted]
    rows = [row | more for row, more in zip(rows, acting, strict=True)]
    columns = [(title, key) for title, key in _COLUMNS if any(key in row for row in rows)]
    cells = [[row.get(key) for _, key in columns] for row in rows]
    return {"columns": [title for title, _ in columns], "cells": cells}


def _find(config: dict, name: str) -> object:
    """The outermost field of this name in nested tables, or None."""
    if name in config:
        return config[name]
    tables = (value for value in config.values() if isinstance(value, dict))
    return next((found for table in tables if (found := _find(table, name)) is not None), None)
