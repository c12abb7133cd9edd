"""The curves of one run besides its returns (`headline`), as matplotlib figures.

Every function takes the rows of `metrics.jsonl` (dicts; any key may be missing, None or NaN) and
returns a Figure that stays readable at a width of 8 cm, without pyplot's global state. A panel
with nothing to draw says "not logged".
"""

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moore.numbers import is_finite
from moore.reports.panels import (
    MetricRows,
    band,
    epoch_axis,
    line,
    new_figure,
    series,
    with_places,
)
from moore.reports.plot_style import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
    STYLE,
    VERMILION,
    heading,
    legend_above,
)


def share_curve(rows: MetricRows) -> Figure:
    """Online share of the rows drawn (realised and expected), and its shift between epochs."""
    rows = with_places([row for row in rows if row.get("stage") == "online"])
    name = "replay/online_share"
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = new_figure(1)
        line(axes, rows, key=name, color=BLUE, label="online share")
        line(axes, rows, key=f"{name}_expected", color=INK, label="expected", style=":")
        line(axes, rows, key="replay/shift", color=VERMILION, label="shift")
        epoch_axis(axes, rows)
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("share of the rows drawn")
        legend_above(fig, axes)
    return fig


def uncertainty_curve(rows: MetricRows, *, penalty_coef: float | None = None) -> Figure:
    """The models' uncertainty over the rollout batches: mean, and 20th to 80th percentile.

    Args:
        rows: used are `model/uncertainty_mean`, `model/uncertainty_p20`, `model/uncertainty_p80`.
        penalty_coef: lambda; if it is given, the second axis shows the penalty, lambda times u.
    """
    rows, name = with_places(rows), "model/uncertainty"
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = new_figure(1)
        band(axes, rows, low=f"{name}_p20", high=f"{name}_p80", color=GREEN)
        line(axes, rows, key=f"{name}_mean", color=GREEN)
        epoch_axis(axes, rows)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("uncertainty u")
        if penalty_coef and is_finite(penalty_coef):
            to_penalty = (lambda u: u * penalty_coef, lambda penalty: penalty / penalty_coef)
            axes.secondary_yaxis("right", functions=to_penalty).set_ylabel("penalty λu per step")
    return fig


def model_curve(rows: MetricRows) -> Figure:
    """Holdout error of the ensemble, and the steps that its fits took in an epoch (log scale)."""
    rows = with_places(rows)
    # An epoch has several fits: "cap,converged,converged".
    ends = [set((row.get("model/fit_stopped_by") or "converged").split(",")) for row in rows]
    capped = [row for row, end in zip(rows, ends, strict=True) if end != {"converged"}]
    with matplotlib.rc_context(STYLE):
        fig, (error, steps) = new_figure(2)
        line(error, rows, key="model/holdout_mse", color=GREEN)
        line(steps, rows, key="model/fit_steps", color=GREEN, style="none")
        line(steps, capped, key="model/fit_steps", color=VERMILION, style="none")
        heading(error, "holdout error (MSE)")
        heading(steps, "gradient steps of the fits (orange: not converged)")
        error.set_ylim(bottom=0)
        steps.set_yscale("log")
        epoch_axis(error, rows, label=False)
        epoch_axis(steps, rows)
    return fig


def surprise_curves(rows: MetricRows) -> Figure:
    """What the models expected of each epoch's new transitions, before they were fitted to them."""
    rows = with_places([row for row in rows if row.get("stage") == "online"])
    with matplotlib.rc_context(STYLE):
        fig, (deviation, shares) = new_figure(2)
        line(deviation, rows, key="model/new_z", color=GREEN)
        deviation.axhline(1, color=INK, ls="--", lw=0.9)
        heading(deviation, "error in units of σ (1: calibrated)")
        deviation.set_yscale("log")
        deviation.yaxis.set_major_formatter("{x:g}")
        deviation.yaxis.set_minor_formatter("{x:.1g}")
        line(shares, rows, key="model/new_coverage", color=BLUE, label="within 1.96 σ")
        line(shares, rows, key="model/new_admissible", color=VERMILION, label="error below u")
        line(shares, rows, key="model/imagined_out_of_range", color=PURPLE, label="out of range")
        shares.axhline(0.95, color=INK, ls="--", lw=0.9)
        shares.set_ylim(-0.02, 1.02)
        heading(shares, "shares (dashed: 0.95)")
        epoch_axis(deviation, rows, label=False)
        epoch_axis(shares, rows)
        legend_above(fig, shares)
    return fig


def theory_curves(rows: MetricRows) -> Figure:
    """Relative Uncertainty Error between epochs, both variants, and the predicted drop."""
    rows = with_places([row for row in rows if row.get("stage") == "online"])
    name = "theory/relative_uncertainty_error"
    with matplotlib.rc_context(STYLE):
        fig, (error, drop) = new_figure(2)
        line(error, rows, key=name, color=BLUE, label="as printed")
        line(error, rows, key=f"{name}_theorem", color=VERMILION, label="Theorem 2's")
        line(drop, rows, key="theory/predicted_drop", color=PURPLE)
        heading(error, "Relative Uncertainty Error")
        error.set_ylim(bottom=0)
        drop.axhline(0, color=INK, ls="--", lw=0.9)
        heading(drop, "predicted drop: η(old policy) − η(new policy), new models")
        epoch_axis(error, rows, label=False)
        epoch_axis(drop, rows)
        legend_above(fig, error)
    return fig


def gate_curves(rows: MetricRows) -> Figure:
    """What the gate compared (two standard errors as a band), and how often it let through."""
    rows = with_places([row for row in rows if is_finite(row.get("gate/gain"))])
    for row in rows:
        if is_finite(error := row.get("gate/standard_error")):
            gain = row["gate/gain"]
            row |= {"gate/low": gain - 2.0 * error, "gate/high": gain + 2.0 * error}
    asks_for_more = any(is_finite(row.get("gate/bar")) for row in rows)
    with matplotlib.rc_context(STYLE):
        fig, (gain, *bars, accepted) = new_figure(3 if asks_for_more else 2)
        band(gain, rows, low="gate/low", high="gate/high", color=PURPLE)
        line(gain, rows, key="gate/gain", color=PURPLE)
        gain.axhline(0, color=INK, ls="--", lw=0.9)
        heading(gain, "return in the models: new policy − acting policy")
        for bar in bars:
            name = "new policy, in the models"
            line(bar, rows, key="gate/return", color=PURPLE, label=name)
            line(bar, rows, key="gate/bar", color=VERMILION, label="earned by the acting one")
            heading(bar, "return of an episode")
            legend_above(fig, bar)
        line(accepted, rows, key="gate/accepted", color=GREEN)
        accepted.set_ylim(-0.02, 1.02)
        heading(accepted, "share of an epoch's decisions that let the new policy act")
        for axes in (gain, *bars):
            epoch_axis(axes, rows, label=False)
        epoch_axis(accepted, rows)
    return fig


# The critics' targets, beside what is possible.
_TARGETS = {"q_possible": ("possible", INK), "q_target_max": ("highest", VERMILION)}
_TARGETS |= {"q_target": ("mean", BLUE)}


def value_curve(rows: MetricRows) -> Figure:
    """The critics' targets, what the rewards seen make possible, and what the policy earns.

    The returns are the discounted ones of evaluated episodes, which the algorithm maximises, and of
    imagined episodes from the start.
    """
    rows = with_places(rows)
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = new_figure(1)
        for name, (label, color) in _TARGETS.items():
            line(axes, rows, key=f"losses/{name}", color=color, label=label)
        line(axes, rows, key="eval/discounted_return", color=GREEN, label="earned from the start")
        name = "model/episode_discounted_return"
        line(axes, rows, key=name, color=GREEN, label="in the models", style=":")
        epoch_axis(axes, rows)
        axes.set_ylabel("discounted return")
        legend_above(fig, axes)
    return fig


def loss_curves(rows: MetricRows) -> Figure:
    """Every other logged `losses/*` number as a small panel of its own."""
    rows = with_places(rows)
    keys = sorted({key for row in rows for key in row if key.startswith("losses/")})
    keys = [key for key in keys if key.removeprefix("losses/") not in _TARGETS]
    names = [key for key in keys if series(rows, key)[0].size]
    with matplotlib.rc_context(STYLE):
        fig, panels = new_figure(len(names) or 1, columns=2 if len(names) > 1 else 1)
        for axes, name in zip(panels, names or ["losses"], strict=True):
            line(axes, rows, key=name, color=PURPLE)
            heading(axes, name.removeprefix("losses/").replace("_", " "))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            epoch_axis(axes, rows, label=False)
    return fig
