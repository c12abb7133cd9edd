"""False alarms and delays of the guard in the days of examples/plant: docs/tutorial-plant.md."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from text import DASH, fixed, markdown

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "plant-days.csv"
_KINDS = {"sound": "without a fault", "fault": "with a loose wire"}
_HEAD = (
    "days", "number", "hours of the policy without a fault", "false alarms", "faults found",
    "minutes until the alarm: median", "largest",
)  # fmt: skip


@cache
def _rows() -> list[dict[str, str]]:
    with _CSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _of(kind: str) -> list[dict[str, str]]:
    return [row for row in _rows() if row["kind"] == kind]


def _sum(rows: Sequence[dict[str, str]], column: str) -> int:
    return sum(int(row[column]) for row in rows)


def _days() -> str:
    lines = []
    for kind, label in _KINDS.items():
        rows = _of(kind)
        delays = [int(row["delay"]) for row in rows if row["delay"]]
        told = [fixed(float(np.median(delays))), fixed(max(delays))] if delays else [DASH, DASH]
        found = f"{len(delays)} of {len(rows)}" if kind == "fault" else DASH
        hours = fixed(_sum(rows, "policy_minutes") / 60.0)
        lines.append(
            [label, str(len(rows)), hours, str(_sum(rows, "alarms")), found, *told]
        )  # fmt: skip
    return markdown(_HEAD, lines)


TABLES = {"plant-days": _days}


def numbers() -> dict[str, str]:
    (year,) = _of("old")
    return {
        "plant-year-batches": f"{int(year['batches']):,}",
        "plant-year-broken": year["alarms"],
    }
