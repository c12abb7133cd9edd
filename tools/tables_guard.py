"""The guard's false alarms and delays on made-up returns: docs/guard.md."""

import csv
from functools import cache
from pathlib import Path

from handover_runs import number, rows_of
from text import DASH, fixed, markdown, significant

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "guard-simulation.csv"
_KNOWN = ("20", "50", "200")


@cache
def _rows() -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    """(group, case) -> returns that are known of the reference -> the line of the CSV."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    with _CSV.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["group"], row["case"]), {})[row["known"]] = row
    return found


def _label(group: str, case: str) -> str:
    return f"a t-test at 2.5% instead: {case}" if group == "t-test" else case


def _percent(text: str) -> str:
    return f"{fixed(100.0 * float(text), 2)}%"


def _rates(*groups: str) -> str:
    """Share of runs with an alarm, by what is known of the reference."""
    lines = [
        [_label(group, case), *(_percent(rows[known]["alarms"]) for known in _KNOWN)]
        for (group, case), rows in _rows().items()
        if group in groups and set(_KNOWN) <= rows.keys()
    ]
    return markdown(["returns", *(f"{known} known" for known in _KNOWN)], lines)


def _delay(row: dict[str, str]) -> str:
    """Median and 90% quantile of the delay, and the share of runs that had an alarm."""
    median, q90 = row["delay_median"] or DASH, row["delay_q90"] or DASH
    return f"{median} ({q90}), {fixed(100.0 * float(row['alarms']))}%"


def _delays() -> str:
    lines = [
        [case, *(_delay(rows[known]) for known in _KNOWN)]
        for (group, case), rows in _rows().items()
        if group == "losses" and set(_KNOWN) <= rows.keys()
    ]
    return markdown(["loss", *(f"{known} known" for known in _KNOWN)], lines)


def _signals() -> str:
    lines = [
        [case, group, _delay(rows[""])] for (group, case), rows in _rows().items() if "" in rows
    ]
    return markdown(["signal", "kind", "readings until the alarm"], lines)


def _episodes() -> str:
    """The worst episode with the guard and without it, on the quick tasks."""
    lines, rows = [], rows_of("guard-episodes.csv")
    for task, variant in dict.fromkeys((row["task"], row["variant"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["variant"]) == (task, variant)]
        cells = []
        for guard in ("off", "on"):
            returns = [number(row["return"]) for row in mine if row["guard"] == guard]
            cells += [significant(min(returns)), significant(sum(returns) / len(returns))]
        alarms = [row["episode"] for row in mine if row["guard"] == "on" and row["alarm"]]
        after = str(int(alarms[0]) + 1) if alarms else DASH
        lines.append([task.removeprefix("quick/"), variant, *cells, after])
    head = ["task", "new policy", "worst, no guard", "mean", "worst, guard", "mean", "alarm after"]
    return markdown(head, lines)


TABLES = {
    "guard-episodes": _episodes,
    "guard-false-alarms": lambda: _rates("false alarms"),
    "guard-broken": lambda: _rates("broken", "t-test"),
    "guard-delays": _delays,
    "guard-signals": _signals,
}


def numbers() -> dict[str, str]:
    false = [
        row
        for (group, _), rows in _rows().items()
        if group == "false alarms"
        for row in rows.values()
    ]
    t_test = _rows()["t-test", "normal returns, read after every episode"]
    return {
        "guard-most-false": _percent(max((row["alarms"] for row in false), key=float)),
        "guard-bound": f"{fixed(100.0 * float(false[0]['bound']), 1)}%",
        "guard-t-test": f"{fixed(100.0 * float(t_test['50']['alarms']))}%",
    }
