"""Days of examples/plant, and the values that its online stage begins with: tutorial-plant.md."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from text import DASH, fixed, markdown

_RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_KINDS = {"sound": "without a fault", "fault": "with a loose wire"}
_HEAD = (
    "days", "number", "hours of the policy without a fault", "false alarms", "faults found",
    "minutes until the alarm: median", "largest",
)  # fmt: skip
_ACTING = {
    "old_K": "the old PID controller",
    "unlearned_K": "the policy of the offline stage, left as it was",
    "session_K": "the session, which learns between the batches",
    "tuned_K": "a well tuned PID controller",
}
_LEARNING_HEAD = ("from 06:00 on", "mean deviation", "best day", "worst day")
_VALUES_HEAD = (
    "noise on the valves", "critics", "updates before", "value that they say", "true value",
    "a batch before", "a batch after six batches",
)  # fmt: skip


@cache
def _rows(name: str) -> list[dict[str, str]]:
    with (_RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _of(kind: str) -> list[dict[str, str]]:
    return [row for row in _rows("plant-days.csv") if row["kind"] == kind]


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


def _learning() -> str:
    lines, rows = [], _of("sound")
    for column, label in _ACTING.items():
        days = [float(row[column]) for row in rows]
        told = (float(np.mean(days)), min(days), max(days))
        lines.append([label, *(f"{fixed(value, 1)} K" for value in told)])
    return markdown(_LEARNING_HEAD, lines)


def _values() -> str:
    lines = []
    for row in _rows("plant-values.csv"):
        critics = "lower of two" if row["critic_subset"] == "2" else "one of two"
        noise = f"{100.0 * float(row['target_noise']):.0f}%"
        told = [fixed(float(row[name])) for name in ("said", "earned", "before", "after")]
        lines.append([noise, critics, f"{int(row['warm_up']):,}", *told])
    return markdown(_VALUES_HEAD, lines)


TABLES = {"plant-days": _days, "plant-learning": _learning, "plant-values": _values}


def numbers() -> dict[str, str]:
    (year,), sound = _of("old"), _of("sound")
    better = sum(float(row["session_K"]) < float(row["unlearned_K"]) for row in sound)
    beats = sum(float(row["session_K"]) < float(row["tuned_K"]) for row in sound)
    return {
        "plant-year-batches": f"{int(year['batches']):,}",
        "plant-year-broken": year["alarms"],
        "plant-days-better": str(better),
        "plant-days-beats-tuned": str(beats),
        "plant-days-sound": str(len(sound)),
    }
