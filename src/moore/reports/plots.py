"""The curves of one run as matplotlib figures, and a figure as inline SVG.

Every function takes the rows of `metrics.jsonl` (dicts; any key may be missing, None or NaN) and
returns a Figure that stays readable at a width of 8 cm, without pyplot's global state. A panel
with nothing to draw says "not logged".

Both stages share one axis. Online epochs count from 0, the hand-over at the end of the last offline
epoch. The offline part takes a third of the width, however many epochs it has.
"""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moore.evaluation.transfer import DIP_EPOCHS
from moore.numbers import finite, is_finite, without_nulls

Rows = Sequence[Mapping]

# Okabe and Ito (2008): told apart with every common form of colour blindness.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
INK = "#24292f"
# For many curves in one figure.
COLORS = (BLUE, VERMILION, GREEN, PURPLE, "#e69f00", "#56b4e9", INK)
_PALETTE = {"blue": BLUE, "vermilion": VERMILION, "green": GREEN, "purple": PURPLE}
_COLORED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE = {
    **dict.fromkeys((*_COLORED, "grid.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **{"axes.grid": True, "grid.alpha": 0.13, "grid.linewidth": 0.6},
    **{"font.size": 8.5, "lines.linewidth": 1.6, "legend.handlelength": 1.4},
    **{"svg.fonttype": "none", "svg.hashsalt": "moore"},
}
_TITLE, _LEGEND = {"loc": "left", "fontsize": "medium"}, {"loc": "outside upper center", "ncols": 3}
_MOST_POINTS = 1500  # acting episodes drawn: each is an element of the page


def return_curve(rows: Rows, summary: Mapping) -> Figure:
    """Returns of the evaluated policy (mean action) and of the acting policy (sampled action).

    Args:
        rows: used are `eval/return`, `eval/returns`, `model/episode_return` and
            `online/episode_returns`.
        summary: `summary.json`; its `reference`, if any, gives the second axis (score).
    """
    rows = _placed(rows)
    for row in rows:
        if returns := finite_values(row, "eval/returns"):
            row |= {"lowest": min(returns), "highest": max(returns)}
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = _figure(1)
        _acting_policy(axes, rows)
        _band(axes, rows, low="lowest", high="highest", color=BLUE)
        _line(axes, rows, key="model/episode_return", color=GREEN, label="in the models", style=":")
        _line(axes, rows, key="eval/return", color=BLUE, label="evaluated")
        _mark_dip(axes, rows)
        _epoch_axis(axes, rows)
        axes.set_ylabel("episode return")
        if reference := known_reference(summary):
            random, percent = reference["random"], (reference["expert"] - reference["random"]) / 100
            to_score = (lambda y: (y - random) / percent, lambda score: random + score * percent)
            axes.secondary_yaxis("right", functions=to_score).set_ylabel("normalised score")
        fig.legend(*axes.get_legend_handles_labels(), **_LEGEND)
    return fig


def known_reference(summary: Mapping) -> dict | None:
    """The reference returns, if they are two different numbers; else None."""
    found = summary.get("reference") or {}
    random, expert = found.get("random"), found.get("expert")
    return found if is_finite(random) and is_finite(expert) and random != expert else None


def share_curve(rows: Rows) -> Figure:
    """Online share of the drawn rows (realised and expected), and the shift between epochs."""
    rows = _placed([row for row in rows if row.get("stage") == "online"])
    name = "replay/online_share"
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = _figure(1)
        _line(axes, rows, key=name, color=BLUE, label="online share")
        _line(axes, rows, key=f"{name}_expected", color=INK, label="expected", style=":")
        _line(axes, rows, key="replay/shift", color=VERMILION, label="shift")
        _epoch_axis(axes, rows)
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("share of the rows drawn")
        fig.legend(*axes.get_legend_handles_labels(), **_LEGEND)
    return fig


def uncertainty_curve(rows: Rows, *, penalty_coef: float | None = None) -> Figure:
    """The models' uncertainty over the rollout batches: mean, and 20th to 80th percentile.

    Args:
        rows: used are `model/uncertainty_mean`, `model/uncertainty_p20`, `model/uncertainty_p80`.
        penalty_coef: lambda; if it is given, the second axis shows the penalty, lambda times u.
    """
    rows, name = _placed(rows), "model/uncertainty"
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = _figure(1)
        _band(axes, rows, low=f"{name}_p20", high=f"{name}_p80", color=GREEN)
        _line(axes, rows, key=f"{name}_mean", color=GREEN)
        _epoch_axis(axes, rows)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("uncertainty u")
        if penalty_coef and is_finite(penalty_coef):
            to_penalty = (lambda u: u * penalty_coef, lambda penalty: penalty / penalty_coef)
            axes.secondary_yaxis("right", functions=to_penalty).set_ylabel("penalty λu per step")
    return fig


def model_curve(rows: Rows) -> Figure:
    """Holdout error of the ensemble, and gradient steps of its fits in each epoch (log scale)."""
    rows = _placed(rows)
    # An epoch has several fits: "cap,converged,converged".
    ends = [set((row.get("model/fit_stopped_by") or "converged").split(",")) for row in rows]
    capped = [row for row, end in zip(rows, ends, strict=True) if end != {"converged"}]
    with matplotlib.rc_context(STYLE):
        fig, (error, steps) = _figure(2)
        _line(error, rows, key="model/holdout_mse", color=GREEN)
        _line(steps, rows, key="model/fit_steps", color=GREEN, style="none")
        _line(steps, capped, key="model/fit_steps", color=VERMILION, style="none")
        error.set_title("holdout error (MSE)", **_TITLE)
        steps.set_title("gradient steps of the fits (orange: not converged)", **_TITLE)
        error.set_ylim(bottom=0)
        steps.set_yscale("log")
        _epoch_axis(error, rows, label=False)
        _epoch_axis(steps, rows)
    return fig


def surprise_curves(rows: Rows) -> Figure:
    """How well the models predicted each epoch's new transitions before being fitted to them."""
    rows = _placed([row for row in rows if row.get("stage") == "online"])
    with matplotlib.rc_context(STYLE):
        fig, (deviation, shares) = _figure(2)
        _line(deviation, rows, key="model/new_z", color=GREEN)
        deviation.axhline(1, color=INK, ls="--", lw=0.9)
        deviation.set_title("error in units of σ (1: calibrated)", **_TITLE)
        deviation.set_yscale("log")
        deviation.yaxis.set_major_formatter("{x:g}")
        deviation.yaxis.set_minor_formatter("{x:.1g}")
        _line(shares, rows, key="model/new_coverage", color=BLUE, label="within 1.96 σ")
        _line(shares, rows, key="model/new_admissible", color=VERMILION, label="error below u")
        _line(shares, rows, key="model/imagined_out_of_range", color=PURPLE, label="out of range")
        shares.axhline(0.95, color=INK, ls="--", lw=0.9)
        shares.set_ylim(-0.02, 1.02)
        shares.set_title("shares (dashed: 0.95)", **_TITLE)
        _epoch_axis(deviation, rows, label=False)
        _epoch_axis(shares, rows)
        fig.legend(*shares.get_legend_handles_labels(), **_LEGEND)
    return fig


def theory_curves(rows: Rows) -> Figure:
    """Both variants of the Relative Uncertainty Error between epochs, and the predicted drop."""
    rows = _placed([row for row in rows if row.get("stage") == "online"])
    name = "theory/relative_uncertainty_error"
    with matplotlib.rc_context(STYLE):
        fig, (error, drop) = _figure(2)
        _line(error, rows, key=name, color=BLUE, label="as printed")
        _line(error, rows, key=f"{name}_theorem", color=VERMILION, label="Theorem 2's")
        _line(drop, rows, key="theory/predicted_drop", color=PURPLE)
        error.set_title("Relative Uncertainty Error", **_TITLE)
        error.set_ylim(bottom=0)
        drop.axhline(0, color=INK, ls="--", lw=0.9)
        drop.set_title("predicted drop: η(old policy) − η(new policy), new models", **_TITLE)
        _epoch_axis(error, rows, label=False)
        _epoch_axis(drop, rows)
        fig.legend(*error.get_legend_handles_labels(), **_LEGEND)
    return fig


def gate_curves(rows: Rows) -> Figure:
    """The returns that the gate compared, with two standard errors, and how often it accepted."""
    rows = _placed([row for row in rows if is_finite(row.get("gate/gain"))])
    for row in rows:
        if is_finite(error := row.get("gate/standard_error")):
            gain = row["gate/gain"]
            row |= {"gate/low": gain - 2.0 * error, "gate/high": gain + 2.0 * error}
    asks_for_more = any(is_finite(row.get("gate/bar")) for row in rows)
    with matplotlib.rc_context(STYLE):
        fig, (gain, *bars, accepted) = _figure(3 if asks_for_more else 2)
        _band(gain, rows, low="gate/low", high="gate/high", color=PURPLE)
        _line(gain, rows, key="gate/gain", color=PURPLE)
        gain.axhline(0, color=INK, ls="--", lw=0.9)
        gain.set_title("return in the models: new policy − acting policy", **_TITLE)
        for bar in bars:
            name = "new policy, in the models"
            _line(bar, rows, key="gate/return", color=PURPLE, label=name)
            _line(bar, rows, key="gate/bar", color=VERMILION, label="earned by the acting one")
            bar.set_title("return of an episode", **_TITLE)
            fig.legend(*bar.get_legend_handles_labels(), **_LEGEND)
        _line(accepted, rows, key="gate/accepted", color=GREEN)
        accepted.set_ylim(-0.02, 1.02)
        accepted.set_title("share of an epoch's decisions that let the new policy act", **_TITLE)
        for axes in (gain, *bars):
            _epoch_axis(axes, rows, label=False)
        _epoch_axis(accepted, rows)
    return fig


# The critics' targets, beside what is possible.
_TARGETS = {"q_possible": ("possible", INK), "q_target_max": ("highest", VERMILION)}
_TARGETS |= {"q_target": ("mean", BLUE)}


def value_curve(rows: Rows) -> Figure:
    """The critics' targets, the values that the seen rewards allow, and the policy's returns.

    The returns are the discounted ones of evaluated episodes, which the algorithm maximises, and of
    imagined episodes from the start.
    """
    rows = _placed(rows)
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = _figure(1)
        for name, (label, color) in _TARGETS.items():
            _line(axes, rows, key=f"losses/{name}", color=color, label=label)
        _line(axes, rows, key="eval/discounted_return", color=GREEN, label="earned from the start")
        name = "model/episode_discounted_return"
        _line(axes, rows, key=name, color=GREEN, label="in the models", style=":")
        _epoch_axis(axes, rows)
        axes.set_ylabel("discounted return")
        fig.legend(*axes.get_legend_handles_labels(), **_LEGEND)
    return fig


def loss_curves(rows: Rows) -> Figure:
    """A small panel for each other logged `losses/*` number."""
    rows = _placed(rows)
    keys = sorted({key for row in rows for key in row if key.startswith("losses/")})
    keys = [key for key in keys if key.removeprefix("losses/") not in _TARGETS]
    names = [key for key in keys if _series(rows, key)[0].size]
    with matplotlib.rc_context(STYLE):
        fig, panels = _figure(len(names) or 1, columns=2 if len(names) > 1 else 1)
        for axes, name in zip(panels, names or ["losses"], strict=True):
            _line(axes, rows, key=name, color=PURPLE)
            axes.set_title(name.removeprefix("losses/").replace("_", " "), **_TITLE)
            axes.yaxis.set_major_locator(MaxNLocator(4))
            _epoch_axis(axes, rows, label=False)
    return fig


def figure_svg(fig: Figure) -> str:
    """The figure as one `<svg>` element; the same figure always gives the same text.

    Black becomes `currentColor` and each data colour a CSS variable (`--blue`, ...) with the colour
    itself as fallback, so that the page can set colours for light, dark and print.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        fig.savefig(buffer, format="svg", metadata={"Date": None})
    svg = re.sub(r"(?s)^.*?(?=<svg)|<metadata>.*?</metadata>", "", buffer.getvalue())
    # Groups' names (axes_1, ...) are never referenced and would repeat on a page of figures.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace(INK, "currentColor")
    for name, color in _PALETTE.items():
        svg = svg.replace(color, f"var(--{name}, {color})")
    return svg.strip()


def _last_epochs(rows: Rows) -> tuple[int, int, float]:
    """The last offline and online epoch, and the width of an offline epoch in online epochs."""
    offline, online = (
        max(finite(row.get("epoch") for row in rows if row.get("stage") == stage), default=0)
        for stage in ("offline", "online")
    )
    return offline, online, 0.5 * online / offline if offline and online else 1.0


def _placed(rows: Rows) -> list[dict]:
    """The rows with their place `x` on the axis that both stages share."""
    rows = list(map(without_nulls, rows))
    last, _, step = _last_epochs(rows)
    place = {"offline": lambda epoch: (epoch - last) * step, "online": float}
    known = (row for row in rows if row.get("stage") in place and is_finite(row.get("epoch")))
    return [{**row, "x": place[row["stage"]](row["epoch"])} for row in known]


def _epoch_axis(axes: Axes, rows: Rows, *, label: bool = True) -> None:
    """Draws ticks that count each stage's own epochs, and a dotted line at the hand-over."""
    if not axes.has_data():
        axes.text(0.5, 0.5, "not logged", ha="center", transform=axes.transAxes)
    last, last_online, step = _last_epochs(rows)
    offline = MaxNLocator(3 if label else 2, integer=True).tick_values(0, max(last, 1))
    offline = offline[(offline > 0) & (offline <= 0.8 * last)]  # room for the hand-over's 0
    online = MaxNLocator(4, integer=True).tick_values(0, max(last_online, 1))
    online = online[(online >= 0) & (online <= last_online)]
    places = np.append((offline - last) * step, online)
    axes.set_xticks(places, [f"{epoch:.0f}" for epoch in np.append(offline, online)])
    axes.axvline(0, color=INK, ls=":", lw=1)
    if label:
        axes.set_xlabel("offline epoch  |  online epoch" if last else "online epoch")


def _figure(panels: int, *, columns: int = 1) -> tuple[Figure, list[Axes]]:
    lines = -(-panels // columns)
    fig = Figure(figsize=(4.6, max(2.9, 0.35 + 1.4 * lines)), layout="constrained")
    return fig, [fig.add_subplot(lines, columns, place + 1) for place in range(panels)]


def _series(rows: Rows, *keys: str) -> np.ndarray:
    """An array [1 + keys, n] of places and values, from the rows that have all keys."""
    kept = [row for row in rows if all(is_finite(row.get(key)) for key in keys)]
    return np.array([[row[key] for row in kept] for key in ("x", *keys)], dtype=float)


def finite_values(row: Mapping, key: str) -> list[float]:
    """The finite numbers of a logged list; empty if it is not logged."""
    return finite(row.get(key))


def _line(axes: Axes, rows: Rows, *, key: str, color: str, label: str = "", style: str = "-"):
    x, y = _series(rows, key)
    if x.size:
        marker = "o" if style == "none" or (style == "-" and x.size <= 100) else None
        axes.plot(x, y, ls=style, color=color, marker=marker, ms=2.4, label=label)


def _band(axes: Axes, rows: Rows, *, low: str, high: str, color: str) -> None:
    x, *ends = _series(rows, low, high)
    if x.size:
        axes.fill_between(x, *ends, color=color, alpha=0.16, lw=0)


def _acting_policy(axes: Axes, rows: Rows) -> None:
    """Draws every episode (thinned evenly by rank if there are very many) and the epochs' means."""
    means = []
    most = max(4, _MOST_POINTS // max(1, len(rows)))
    for row in rows:
        if returns := sorted(finite_values(row, "online/episode_returns")):
            y = returns[:: -(-len(returns) // most)]
            axes.plot([row["x"]] * len(y), y, "o", ms=2.2, mew=0, alpha=0.5, color=VERMILION)
            means.append({"x": row["x"], "mean": float(np.mean(returns))})
    _line(axes, means, key="mean", color=VERMILION, label="acting")


def _mark_dip(axes: Axes, rows: Rows) -> None:
    """Marks the level of the hand-over, and the deepest fall below it in the first 10 epochs."""
    x, y = _series([row for row in rows if row["stage"] == "online"], "eval/return")
    if 0 not in x[:1]:
        return
    axes.axhline(y[0], color=BLUE, lw=0.9, ls="--", label="at the hand-over")
    lowest = int(y[x <= DIP_EPOCHS].argmin())
    if (fall := y[0] - y[lowest]) > 0:
        axes.vlines(x[lowest], y[lowest], y[0], color=INK, lw=1)
        axes.text(x[lowest], y[lowest], f"\n dip {fall:,.0f}", va="top", linespacing=0.6)
