"""What `moore watch` shows: how a run stands, from its rows of metrics. It opens no files."""

import math
import tomllib
from collections.abc import Sequence
from statistics import fmean

from markupsafe import Markup

from moore.numbers import finite, is_finite
from moore.reports.live_session import live_session
from moore.reports.page import render

# Size of a chart in its own units, and its margins: left for numbers, below for the x axis.
_WIDTH, _HEIGHT, _LEFT, _BELOW, _TOP = 460, 180, 70, 24, 10
_LAST_ROWS = 8

Point = tuple[float, float]


def live_facts(
    name: str,
    rows: Sequence[dict],
    config_text: str,
    *,
    finished: bool,
    session: dict | None = None,
) -> dict:
    """How a run stands, as plain data.

    Args:
        name: name of the run's folder.
        rows: rows of its metrics.jsonl.
        config_text: its config.toml; whatever of it cannot be read is left out.
        finished: whether the run is over.
        session: what a session has told last, and its `age` in seconds; None: there is none.
    """
    config = _config(config_text)
    last = rows[-1] if rows else {}
    stage, epoch = last.get("stage"), last.get("epoch")
    section = config.get(stage, {}) if stage else {}
    of = section.get("epochs") if isinstance(section, dict) else None
    if stage is None:
        state = "The run has not finished an epoch yet."
    else:
        state = f"{stage} epoch {epoch}" + (f" of {of}" if is_finite(of) else "")
        state += ", finished" if finished else ""
    told = None if session is None else live_session(session)
    return {
        "name": name,
        "title": " · ".join(str(config[x]) for x in ("env_id", "algorithm") if config.get(x)),
        "state": state,
        "finished": finished,
        "rows": len(rows),
        "evaluated": _latest(rows, "eval/return"),
        "acted": _acted(last),
        "acting_episodes": len(finite(last.get("online/episode_returns"))),
        "acting": (told and told["acting"]) or _who_acts(last),
        "session": told,
        "gate": last["gate/accepted"] if is_finite(last.get("gate/accepted")) else None,
        "uncertainty": _latest(rows, "model/uncertainty_mean"),
        "uncertainty_low": _latest(rows, "model/uncertainty_p20"),
        "uncertainty_high": _latest(rows, "model/uncertainty_p80"),
        "new_share": _latest(rows, "replay/online_share"),
        "budget": (told and told["budget"]) or _budget(last),
        "env_steps": last.get("env_steps"),
        "updates": last.get("updates"),
    }


def live_page(facts: dict, rows: Sequence[dict], *, refresh: float, nonce: str) -> str:
    """The whole page, which then fetches its content anew every `refresh` seconds.

    Args:
        facts: result of `live_facts`.
        rows: rows of metrics.
        refresh: seconds between two looks.
        nonce: word that marks the page's own script, as its content policy asks for.
    """
    content = Markup(live_content(facts, rows))
    milliseconds = round(1000 * refresh)
    return render("live_template.html", part="page", f=facts, content=content, nonce=nonce,
                  milliseconds=milliseconds)  # fmt: skip


def live_content(facts: dict, rows: Sequence[dict]) -> str:
    """What of the page changes while the run goes on."""
    return render("live_template.html", part="content", f=facts, charts=_charts(rows),
                  table=[_line(row) for row in rows[-_LAST_ROWS:][::-1]])  # fmt: skip


def _config(text: str) -> dict:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _latest(rows: Sequence[dict], key: str) -> float | None:
    return next((row[key] for row in reversed(rows) if is_finite(row.get(key))), None)


def _acted(row: dict) -> float | None:
    returns = finite(row.get("online/episode_returns"))
    return fmean(returns) if returns else None


def _who_acts(row: dict) -> str:
    """Who acts now, as far as the last row says."""
    if row.get("stage") != "online":
        return "nobody yet"
    incumbent = row.get("budget/incumbent")
    if is_finite(incumbent):
        return "the reference" if incumbent == 0 else f"policy {incumbent:.0f}, promoted"
    gated = is_finite(row.get("gate/accepted"))
    return "the policy that the gate let through last" if gated else "the newest policy"


def _budget(row: dict) -> dict | None:
    names = ("margin", "affordable", "credit", "spent", "trials", "promoted", "demoted", "gain",
             "share")  # fmt: skip
    found = {name: row.get(f"budget/{name}") for name in names}
    return found if is_finite(found["margin"]) else None


def _line(row: dict) -> dict:
    return {
        "stage": row.get("stage"),
        "epoch": row.get("epoch"),
        "evaluated": row.get("eval/return"),
        "acted": _acted(row),
        "trials": row.get("budget/trials"),
        "gate": row.get("gate/accepted"),
        "seconds": row.get("time/epoch"),
    }


def _charts(rows: Sequence[dict]) -> list[dict]:
    """The charts that there are numbers for."""
    hand_over = next((i for i, row in enumerate(rows) if row.get("stage") == "online"), None)
    found = []
    for title, lines in (
        ("Return", (("evaluated", "eval/return"), ("acting", None))),
        ("Uncertainty of the models", (("mean", "model/uncertainty_mean"),)),
        ("Budget left", (("margin", "budget/margin"),)),
        (
            "Share of new data in what is learned from",
            (("drawn", "replay/online_share"), ("asked for", "replay/online_share_expected")),
        ),
    ):
        curves = [
            (name, [(float(i), float(y)) for i, row in enumerate(rows)
                    if is_finite(y := _acted(row) if key is None else row.get(key))])
            for name, key in lines
        ]  # fmt: skip
        curves = [(name, points) for name, points in curves if points]
        if curves:
            svg = Markup(chart([points for _, points in curves], hand_over))
            found.append({"title": title, "names": [name for name, _ in curves], "svg": svg})
    return found


def chart(curves: Sequence[Sequence[Point]], hand_over: int | None) -> str:
    """A chart as SVG: the curves, the ends of both axes, and a line where the online stage begins.

    Args:
        curves: points of each.
        hand_over: x of that line; None: there is none.
    """
    points = [point for curve in curves for point in curve]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def place(x: float, y: float) -> str:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (y - low) / (high - low) if high > low else 0.5
        return (
            f"{_LEFT + across * (_WIDTH - _LEFT - 8):.1f},"
            f"{_TOP + (1.0 - up) * (_HEIGHT - _TOP - _BELOW):.1f}"
        )

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">']
    for value, y in ((high, _TOP + 5), (low, _HEIGHT - _BELOW)):
        parts.append(f'<text x="{_LEFT - 8}" y="{y}" text-anchor="end">{_short(value)}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT - 4}">row {left:.0f}</text>')
    parts.append(
        f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 4}" text-anchor="end">row {right:.0f}</text>'
    )
    if hand_over is not None and left < hand_over <= right:
        x = place(float(hand_over), low).split(",")[0]
        parts.append(
            f'<line class="handover" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BELOW}"/>'
        )
    for i, curve in enumerate(curves):
        drawn = " ".join(place(x, y) for x, y in curve)
        parts.append(f'<polyline class="curve{i}" points="{drawn}"/>')
        x, down = place(*curve[-1]).split(",")
        parts.append(f'<circle class="curve{i}" cx="{x}" cy="{down}" r="3.5"/>')
    return "".join([*parts, "</svg>"])


def _short(value: float) -> str:
    size = abs(value)
    if size >= 1e5 or (0.0 < size < 1e-3):
        return f"{value:.1e}"
    digits = 0 if size >= 100 else 1 if size >= 10 else 3
    return f"{value:,.{digits}f}" if math.isfinite(value) else ""
