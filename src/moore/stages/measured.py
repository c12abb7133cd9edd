"""Summaries of measurements: means of rows of metrics, and metrics of fits."""

import jax
import numpy as np

from moore.dynamics.fit import FitReport


def mean_metrics(rows: list[dict]) -> dict:
    """Means over an epoch; counts are summed, maxima stay maxima, undone updates do not count."""
    rows = jax.device_get(rows)
    columns = {name: np.asarray([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    result: dict[str, float | None] = {}
    for name, values in columns.items():
        finite = values[np.isfinite(values)]
        if name.endswith("skipped_updates"):
            result[name] = float(values.sum())
        elif not finite.size:
            result[name] = None
        else:
            result[name] = float(finite.max() if name.endswith("_max") else finite.mean())
    return result


def fit_metrics(reports: list[FitReport]) -> dict:
    """Errors of the last fit, and the steps and the stopping rule of all fits; empty for no fit."""
    if not reports:
        return {}
    errors = reports[-1].holdout_mse
    return {
        "model/holdout_mse": sum(errors) / len(errors),
        "model/holdout_mse_members": list(errors),
        "model/fit_steps": sum(report.steps for report in reports),
        "model/fit_passes": sum(report.passes for report in reports),
        "model/fit_stopped_by": ",".join(report.stopped_by for report in reports),
    }
