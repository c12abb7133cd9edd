"""Returns of the same runs in other units: docs/units.md."""

import csv
from functools import cache
from pathlib import Path

from text import DASH, fixed, markdown

_CSV = Path(__file__).resolve().parents[1] / "docs" / "results" / "units.csv"
_USUAL = ("1", "1")
_UNITS = (("0.001", "1"), ("10000", "1"), ("1", "0.001"), ("1", "10000"))
_HEADS = ("rewards x 0.001", "rewards x 10,000", "observations x 0.001", "observations x 10,000")


@cache
def _last() -> dict[tuple[str, str], dict[tuple[str, str], dict[str, float]]]:
    """(algorithm, stage) -> (rewards, observations) -> seed -> its last evaluation."""
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, float]]] = {}
    with _CSV.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            units = found.setdefault((row["algorithm"], row["stage"]), {})
            seeds = units.setdefault((row["rewards"], row["observations"]), {})
            seeds[row["seed"]] = float(row["eval_return"])
    return found


def _pendulum() -> str:
    lines = []
    for (algorithm, stage), units in _last().items():
        others = [fixed(value) for seed, value in units[_USUAL].items() if seed != "0"]
        told = [fixed(units[unit]["0"]) for unit in (_USUAL, *_UNITS)]
        lines.append([f"`{algorithm}`", stage, *told, ", ".join(others) or DASH])
    return markdown(
        ["algorithm", "stage", "usual units", *_HEADS, "other seeds, usual units"], lines
    )


TABLES = {"units": _pendulum}


def numbers() -> dict[str, str]:
    return {}
