"""How fast it is: beside other libraries, as sizes grow, and what else was tried."""

import csv
import json
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

from text import markdown, significant

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "docs" / "results"
# Where the benchmark's own table is made.
_PEERS = _ROOT / "benchmarks" / "peers"

# Operation -> how the tables call it.
_OPERATIONS = {
    "prepare": "prepare the log", "fit": "step of the models", "imagine": "rollouts",
    "update": "update of the agent",
}  # fmt: skip
_FACTORS = {
    "rows": "rows of the log", "members": "members", "width": "width of the models",
    "batch": "rows of a batch",
    "H": "H, steps of a rollout", "R": "R, rollouts", "N": "N, updates",
    "seeds": "seeds in one program",
}  # fmt: skip


@cache
def _peers() -> dict:
    return json.loads((_RESULTS / "peers.json").read_text(encoding="utf-8"))


def _rows(name: str) -> list[dict[str, str]]:
    with (_RESULTS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def peers() -> str:
    """The table that the benchmark itself prints."""
    if str(_PEERS) not in sys.path:
        sys.path.append(str(_PEERS))
    from report import markdown as lines

    return "\n".join(lines(_peers()))


def growth() -> str:
    """A row for each size and operation: value and milliseconds, and the last over the first."""
    found = defaultdict(list)
    for row in _rows("growth.csv"):
        if row["factor"] in _FACTORS:
            found[row["factor"], row["operation"]].append(row)
    lines = []
    for (factor, operation), rows in found.items():
        first, last = rows[0], rows[-1]
        grown = float(last["milliseconds"]) / float(first["milliseconds"])
        times = int(last["value"]) / int(first["value"])
        lines.append(
            [
                _FACTORS[factor],
                _OPERATIONS[operation],
                ", ".join(
                    f"{int(row['value']):,}: {significant(float(row['milliseconds']))}"
                    for row in rows
                ),
                f"{significant(times)} times",
                f"{significant(grown)} times",
            ]
        )
    return markdown(["size", "of what", "size: ms", "the size grows", "the time grows"], lines)


def products_tried() -> str:
    """Forms of the product and flags, and how many times as fast each is."""
    lines = []
    for row in _rows("products-tried.csv"):
        if row["milliseconds"]:
            cells = [f"{row['milliseconds']}", f"{row['least']} to {row['most']}"]
            cells += [row["gigaflop_per_second"], row["ratio"]]
        else:
            cells = ["", "", "", "does not start"]
        lines.append([row["flags"], row["form"], *cells])
    return markdown(["flags", "form", "ms", "least to most", "GFLOP/s", "times as fast"], lines)


def large_log() -> str:
    """What a log on disk costs: a row for each quantity, a column for each size of the log."""
    rows = _rows("large-log.csv")
    sizes = list(dict.fromkeys(int(row["rows"]) for row in rows))
    found: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for row in rows:
        value, least, most = (significant(float(row[key])) for key in ("value", "least", "most"))
        told = value if least == most else f"{value} ({least} to {most})"
        found[row["what"], row["unit"]][int(row["rows"])] = told
    lines = [
        [f"{what}, {unit}", *(cells.get(size, "") for size in sizes)]
        for (what, unit), cells in found.items()
    ]
    return markdown(["", *(f"{size:,} rows" for size in sizes)], lines)


def compilation() -> str:
    """A row for each run: what was in the cache, programs, and seconds of the processor."""
    lines = [
        [
            row["cache"],
            row["programs"],
            *(significant(float(row[name])) for name in ("compile", "trace_and_lower", "run")),
        ]
        for row in _rows("compilation.csv")
    ]
    head = ["cache", "programs", "compile or read, s", "trace and lower, s", "the whole run, s"]
    return markdown(head, lines)


TABLES = {
    "compilation": compilation,
    "large-log": large_log,
    "peers": peers,
    "growth": growth,
    "products-tried": products_tried,
}


def numbers() -> dict[str, str]:
    """None yet."""
    return {}
