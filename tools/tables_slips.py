"""Honest logs that are accused of slipped rows, and slips that are found: docs/log-findings.md."""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from text import DASH, fixed, markdown

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "slipped-rows.csv"
_FALSE = ("actions", "rewards", "to_go")
_FOUND = ("action_late", "action_early", "reward_late", "reward_early", "summed")
_GROUPS = {
    "white actions": ("linear, white actions", "linear, slow, white actions",
                      "linear, white, noisy sensors", "Pendulum, white actions"),
    "a controller with noise": ("linear, feedback", "linear, fast", "linear, slow",
                                "linear, noisy sensors", "controller that integrates"),
    "states or a valve not observed": ("linear, half hidden", "slow valve, not seen"),
    "a slow valve, observed": ("slow valve, seen",),
    "held or constant actions": ("linear, held actions", "linear, constant actions",
                                 "Pendulum, held actions", "mountain car, held actions"),
    "no noise in the actions": ("linear, exact controller", "linear, no noise at all",
                                "oscillators"),
    "a controller of changes": ("controller of changes",
                                "controller of changes, exact sensors"),
    "dead time of 1 to 4 steps": ("dead time, feedback", "dead time, white actions",
                                  "dead time, held actions", "dead time, exact controller"),
    "the tank of examples/plant": ("tank of examples/plant",),
    "random or sparse rewards": ("random rewards", "sparse rewards"),
}  # fmt: skip


@cache
def _rows() -> list[dict[str, str]]:
    with _CSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _logs(rows: Iterable[dict[str, str]], *columns: str) -> float:
    """Number of logs of which one of these things was said."""
    return sum(int(row["logs"]) * float(row[column]) for row in rows for column in columns)


def _found() -> str:
    lines = []
    for group, systems in _GROUPS.items():
        rows = [row for row in _rows() if row["system"] in systems]
        count = sum(int(row["logs"]) for row in rows)
        shares = (f"{fixed(100.0 * _logs(rows, column) / count)}%" for column in _FOUND)
        told = f"{fixed(100.0 * _logs(rows, 'dead_time_told') / count)}%"
        lines.append([
            group, str(count), fixed(_logs(rows, *_FALSE)),
            told if "dead time" in group else DASH, *shares,
        ])  # fmt: skip
    return markdown(
        ["systems", "logs", "accused wrongly", "dead time told", "actions late", "early",
         "rewards late", "early", "returns to go"],
        lines,
    )  # fmt: skip


TABLES = {"slipped-rows": _found}


def numbers() -> dict[str, str]:
    count, false = sum(int(row["logs"]) for row in _rows()), _logs(_rows(), *_FALSE)
    exact = [row for row in _rows() if row["system"] == "controller of changes, exact sensors"]
    return {
        "slips-logs": f"{count:,}",
        "slips-false": fixed(false),
        "slips-false-share": f"{fixed(100.0 * false / count, 1)}%",
        "slips-of-changes": fixed(_logs(exact, *_FALSE)),
        "slips-of-changes-logs": str(sum(int(row["logs"]) for row in exact)),
    }
