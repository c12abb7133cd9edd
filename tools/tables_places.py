"""Sensors a row late, missing rows and reversed episodes that are found: docs/log-findings.md."""

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from text import DASH, fixed, markdown

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "rows-out-of-place.csv"
FALSE = ("false_sensors", "false_missing", "false_reversed")
_CONTROLLERS = ("feedback", "white", "held", "sine", "filtered", "bang")
GROUPS = {
    "linear, all seen": (
        "linear, feedback", "linear, fast", "linear, slow", "linear, slow, white actions",
        "linear, white actions", "linear, held actions", "linear, constant actions",
        "linear, exact controller", "linear, no noise at all", "slow valve, seen",
        "the action before observed"),
    "dead time": ("dead time, feedback", "dead time, white actions", "dead time, held actions",
                  "dead time, exact controller"),
    "motion by the speed before": tuple(f"motion, {c}, old speed" for c in _CONTROLLERS),
    "motion by the new speed": tuple(f"motion, {c}, new speed" for c in _CONTROLLERS),
    "noisy or rounded readings": (
        "linear, noisy sensors", "linear, white, noisy sensors", "motion, noisy sensors",
        "motion, new speed, noisy sensors", "rounded readings"),
    "states, motors or loads not seen": (
        "linear, half hidden", "slow valve, not seen", "tanks in a row, some not seen",
        "places of a rod", "a position measured twice", "a motor that is not seen",
        "a load that is not seen"),
    "sensors that lag, or are read every few rows": (
        "lagging sensors", "lagging sensors, white actions", "a sensor read every few rows"),
    "not linear": (
        "Pendulum, white actions", "Pendulum, held actions", "mountain car, held actions",
        "friction that sticks", "a pendulum that turns", "tank of examples/plant"),
    "other controllers and inputs": (
        "oscillators", "controller of changes", "controller of changes, exact sensors",
        "controller that integrates", "a set-point", "a measured disturbance",
        "a controller that holds", "a controller that holds, linear",
        "a controller that lets go", "actions in turns"),
}  # fmt: skip


@cache
def _rows() -> list[dict[str, str]]:
    with _CSV.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _count(rows: Iterable[dict[str, str]], *columns: str) -> int:
    return sum(int(row[column]) for row in rows for column in columns)


def _share(rows: list[dict[str, str]], of: str, *columns: str) -> str:
    count = _count(rows, of)
    return f"{fixed(100.0 * _count(rows, *columns) / count)}%" if count else DASH


def _found() -> str:
    groups = {name: [r for r in _rows() if r["system"] in which] for name, which in GROUPS.items()}
    return markdown(
        ["systems", "logs", "accused wrongly", "a sensor late", "early", "two late",
         "1 row in 3 missing", "1 in 5", "1 in 10", "episodes reversed"],
        [
            [
                name, str(_count(rows, "logs")), str(_count(rows, *FALSE)),
                _share(rows, "two", "sensor_late", "late_or"),
                _share(rows, "two", "sensor_early", "early_or"),
                _share(rows, "four", "two_late"),
                *(_share(rows, "logs", key) for key in ("third", "fifth", "tenth", "reversed")),
            ]
            for name, rows in {**groups, "all": _rows()}.items()
        ],
    )  # fmt: skip


TABLES = {"rows-out-of-place": _found}


def numbers() -> dict[str, str]:
    return {
        "places-logs": f"{_count(_rows(), 'logs'):,}",
        "places-false": str(_count(_rows(), *FALSE)),
    }
