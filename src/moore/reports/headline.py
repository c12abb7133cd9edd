"""The picture of a run: what was earned offline and online, beside the controller of the log."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moore.evaluation.transfer import DIP_EPOCHS
from moore.numbers import is_finite, without_nulls
from moore.reports.panels import (
    MetricRows,
    band,
    finite_values,
    line,
    new_figure,
    series,
    whole_ticks,
)
from moore.reports.plot_style import BLUE, GREEN, INK, PURPLE, STYLE, VERMILION, css_color
from moore.reports.unprotected import LABEL as _UNPROTECTED
from moore.reports.unprotected import MEANING, draw_unprotected

_MOST_POINTS = 1500  # acting episodes drawn: each is an element of the page
# The offline stage takes this share of the online stage's width, however many epochs it has.
_OFFLINE_WIDTH = 0.5

_EVALUATED, _ACTING, _IMAGINED = "evaluated", "acting", "in the models"
_HAND_OVER, _CLONE, _OLD = "at the hand-over", "clone of the log", "old controller"
_CLONE_HANDED_OVER = "at the hand-over, the clone"
# What a person should know of each curve.
_MEANINGS = {
    _EVALUATED: "mean of the episodes of an evaluation, without noise, apart from the system; the "
    "band is from the worst to the best",
    _ACTING: "what was really earned in the system: a point for each episode, a line for the mean "
    "of an epoch",
    _IMAGINED: "what the models promise for episodes that begin where those of the log begin",
    _HAND_OVER: "the policy that went online",
    _CLONE_HANDED_OVER: "the better part of the log, imitated, went online",
    _CLONE: "the better part of the log, imitated",
    _OLD: "mean of the log's episodes",
    _UNPROTECTED: MEANING,
}
_KINDS = {"-": "solid", "--": "dashed", ":": "dotted"}


def return_curve(rows: MetricRows, summary: Mapping) -> Figure:
    """Returns of the evaluated (mean action) and of the acting policy, over steps in the system.

    The axis fits what was evaluated and earned; what lies far outside of that is left out, and the
    figure says so.

    Args:
        rows: used are `env_steps`, `eval/return`, `eval/returns`, `model/episode_return`,
            `online/episode_returns`, `clone/return` and `clone/log_return`.
        summary: `summary.json`; its `reference`, if any, gives the second axis (score), and
            `hand_over.log_return` the level of the old controller; `dataset`, `env_id` and
            `algorithm` tell whether a run without protection is stored for comparison.
    """
    rows = _with_steps(rows)
    for row in rows:
        if returns := finite_values(row, "eval/returns"):
            row |= {"lowest": min(returns), "highest": max(returns)}
    with matplotlib.rc_context(STYLE):
        fig, (axes,) = new_figure(1)
        _acting_policy(axes, rows)
        band(axes, rows, low="lowest", high="highest", color=BLUE)
        line(axes, rows, key="model/episode_return", color=GREEN, label=_IMAGINED, style=":")
        line(axes, rows, key="eval/return", color=BLUE, label=_EVALUATED)
        levels = _levels(rows, summary)
        for name, (level, color, style) in levels.items():
            axes.axhline(level, color=color, lw=1.2, ls=style, label=name)
        _mark_dip(axes, rows)
        unprotected = draw_unprotected(axes, summary)
        _step_axis(axes, rows)
        _fit(axes, rows, [level for level, *_ in levels.values()] + unprotected)
        axes.set_ylabel("episode return")
        axes.yaxis.set_major_formatter("{x:,g}")
        if reference := known_reference(summary):
            random, percent = reference["random"], (reference["expert"] - reference["random"]) / 100
            to_score = (lambda y: (y - random) / percent, lambda score: random + score * percent)
            axes.secondary_yaxis("right", functions=to_score).set_ylabel("normalised score")
    return fig


def legend(fig: Figure) -> Markup:
    """The curves of `return_curve`, with what each shows, as a list that a page lays out."""
    handles, labels = fig.axes[0].get_legend_handles_labels()
    curves = dict(zip(labels, handles, strict=True))
    items = (
        f'<li style="--curve: {css_color(curve.get_color())}; '
        f"--kind: {_KINDS[curve.get_linestyle()]}; --strength: {curve.get_alpha() or 1}"
        f'"><b>{escape(name)}</b>: {_MEANINGS[name]}</li>'
        for name in _MEANINGS
        if (curve := curves.get(name)) is not None
    )
    return Markup(f'<ul class="legend">{"".join(items)}</ul>')


def known_reference(summary: Mapping) -> dict | None:
    """The reference returns, if they are two different numbers; else None."""
    found = summary.get("reference") or {}
    random, expert = found.get("random"), found.get("expert")
    return found if is_finite(random) and is_finite(expert) and random != expert else None


def _with_steps(rows: MetricRows) -> list[dict]:
    """The rows with `x`: steps in the system, and left of the hand-over the offline epochs."""
    rows = [row for row in map(without_nulls, rows) if is_finite(row.get("epoch"))]
    last, width = _last_offline(rows), _offline_width(rows)
    offline = [row for row in rows if row.get("stage") == "offline"]
    online = [row for row in rows if row.get("stage") == "online" and "env_steps" in row]
    placed = [{**row, "x": (row["epoch"] - last) * width} for row in offline]
    return placed + [{**row, "x": float(row["env_steps"])} for row in online]


def _last_offline(rows: MetricRows) -> int:
    return max((row["epoch"] for row in rows if row.get("stage") == "offline"), default=0)


def _last_step(rows: MetricRows) -> float:
    online = (row.get("env_steps") for row in rows if row.get("stage") == "online")
    return float(max(filter(is_finite, online), default=0))


def _offline_width(rows: MetricRows) -> float:
    """Width of an offline epoch, in steps of the online part."""
    last, steps = _last_offline(rows), _last_step(rows)
    return _OFFLINE_WIDTH * steps / last if last and steps else 1.0


def _step_axis(axes: Axes, rows: MetricRows) -> None:
    """Ticks in steps online and in epochs offline, and the dotted line of the hand-over."""
    if not axes.has_data():
        axes.text(0.5, 0.5, "not logged", ha="center", transform=axes.transAxes)
    last, steps, width = _last_offline(rows), _last_step(rows), _offline_width(rows)
    offline = whole_ticks(3, last)
    offline = offline[(offline > 0) & (offline <= (0.8 * last if steps else last))]
    online = whole_ticks(4, steps)
    online = online[(online >= 0) & (online <= steps)]
    names = [f"{epoch:.0f}" for epoch in offline] + [f"{step:,.0f}" for step in online]
    axes.set_xticks(np.append((offline - last) * width, online), names)
    axes.axvline(0, color=INK, ls=":", lw=1)
    parts = ["offline epoch"] if last > 1 else []
    axes.set_xlabel("  |  ".join([*parts, *(["steps in the system"] if steps else [])]))


def _levels(rows: MetricRows, summary: Mapping) -> dict[str, tuple[float, str, str]]:
    """Level, colour and style of the old controller, the clone and the hand-over, where known.

    Where the clone itself was handed over, the two are one line.
    """
    first = next((row for row in rows if "clone/return" in row), {})
    logged = (summary.get("hand_over") or {}).get("log_return") or first.get("clone/log_return")
    started = [row for row in rows if row["stage"] == "online" and row["epoch"] == 0]
    handed = started[0].get("eval/return") if started else None
    clone = first.get("clone/return")
    found: dict[str, tuple[Any, str, str]] = {_OLD: (logged, INK, "--")}
    if is_finite(clone) and clone == handed:
        found |= {_CLONE_HANDED_OVER: (handed, BLUE, "--")}
    else:
        found |= {_HAND_OVER: (handed, BLUE, "--"), _CLONE: (clone, PURPLE, ":")}
    return {name: known for name, known in found.items() if is_finite(known[0])}


def _fit(axes: Axes, rows: MetricRows, levels: Sequence[float]) -> None:
    """Limits that fit the evaluations, what was earned, and the levels; says what is outside.

    Single episodes and imagined returns may lie beyond by as much as these span. Models that have
    gone wrong imagine returns of any size, which would flatten everything else.
    """
    online = [row for row in rows if row["stage"] == "online"] or rows
    evaluated = series(online, "eval/return")[1]
    acting = {row["x"]: y for row in rows if (y := finite_values(row, "online/episode_returns"))}
    means = [float(np.mean(y)) for y in acting.values()]
    core = np.array([*evaluated, *means, *levels], float)
    others = {
        "evaluated": np.concatenate([series(rows, key)[1] for key in
                                     ("eval/return", "lowest", "highest")]),
        "in the models": series(rows, "model/episode_return")[1],
        "acting": np.array([value for y in acting.values() for value in y]),
    }  # fmt: skip
    every = np.concatenate([core, *others.values()])
    if not every.size:
        return
    core = core if core.size else every
    span = max(np.ptp(core), 0.1 * float(np.abs(core).max()), 1e-6)
    shown = every[(every >= core.min() - span) & (every <= core.max() + span)]
    low, high = shown.min(), shown.max()
    margin = 0.06 * max(high - low, span)
    axes.set_ylim(low - margin, high + margin)
    if outside := _outside(others, low - margin, high + margin):
        axes.set_title(f"not shown, outside the axis: {outside}", loc="left", fontsize="small")


def _outside(values: Mapping[str, np.ndarray], low: float, high: float) -> str:
    """Which values lie outside the limits, in words; empty if none does."""
    found = {name: of[(of < low) | (of > high)] for name, of in values.items()}
    parts = []
    for name, of in found.items():
        if of.size:
            furthest = of[np.abs(of - 0.5 * (low + high)).argmax()]
            whole = 1e3 <= abs(furthest) < 1e12
            parts.append(f"{of.size} {name}, as far as {furthest:{',.0f' if whole else '.4g'}}")
    return "; ".join(parts)


def _acting_policy(axes: Axes, rows: MetricRows) -> None:
    """Every episode (thinned evenly by rank when there are very many) and the epochs' means."""
    means = []
    most = max(4, _MOST_POINTS // max(1, len(rows)))
    for row in rows:
        if returns := sorted(finite_values(row, "online/episode_returns")):
            y = returns[:: -(-len(returns) // most)]
            axes.plot([row["x"]] * len(y), y, "o", ms=2.2, mew=0, alpha=0.5, color=VERMILION)
            means.append({"x": row["x"], "mean": float(np.mean(returns))})
    line(axes, means, key="mean", color=VERMILION, label=_ACTING)


def _mark_dip(axes: Axes, rows: MetricRows) -> None:
    """The deepest fall of the evaluations below the hand-over in the first 10 epochs."""
    online = [row for row in rows if row["stage"] == "online" and row["epoch"] <= DIP_EPOCHS]
    x, y = series(online, "eval/return")
    if 0 not in x[:1]:
        return
    lowest = int(y.argmin())
    if (fall := y[0] - y[lowest]) > 0:
        axes.vlines(x[lowest], y[lowest], y[0], color=INK, lw=1)
        axes.text(x[lowest], y[lowest], f"\n dip {fall:,.0f}", va="top", linespacing=0.6)
