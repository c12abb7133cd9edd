"""How fast it is: beside other libraries, as sizes grow, and what else was tried."""

import csv
import json
import sys
from collections import defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path

from text import listed, markdown, significant

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "docs" / "results"
# Where the benchmark's own table is made.
_PEERS = _ROOT / "benchmarks" / "peers"

# The number formats of the models that are compared; the first one is the default.
_FORMATS = ("float32", "bfloat16")
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


def bf16() -> str:
    """A row for each preset: how far curves of two formats and of two seeds lie apart."""
    curves: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in _rows("bf16.csv"):
        run = row["format"], row["seed"]
        curves[row["preset"]][run].append(float(row["return"]))
        seconds[row["preset"]][run] = float(row["seconds"])
    lines = []
    for name, of in curves.items():
        seeds = sorted({seed for _, seed in of}, key=int)
        ends = [[of[form, seed][-1] for seed in seeds] for form in _FORMATS]
        formats = [_apart(*(of[form, seed] for form in _FORMATS)) for seed in seeds]
        pairs = [_apart(of["float32", a], of["float32", b]) for a, b in combinations(seeds, 2)]
        # The first run of a process compiles; the quickest one did not.
        least = [min(seconds[name][form, seed] for seed in seeds) for form in _FORMATS]
        cells = [*map(listed, ends), listed(formats), listed(pairs), *map(significant, least)]
        lines.append([f"`{name}`", *cells])
    head = ["preset", "last return, float32", "the same, bfloat16", "formats apart"]
    return markdown([*head, "seeds apart", "s, float32", "s, bfloat16"], lines)


def _apart(one: list[float], other: list[float]) -> float:
    """Mean difference of two curves over their evaluations."""
    pairs = list(zip(one, other, strict=True))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def preset_times() -> str:
    """A row for each preset: minutes of its stages, and memory, as `--estimate` tells them."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(dict)
    for row in _rows("growth.csv"):
        if row["factor"] == "preset":
            log = row["unit"].removeprefix("run on ")
            found[row["value"], log][row["operation"]] = row
    lines = []
    for (name, log), stages in found.items():
        minutes = [float(row["milliseconds"]) / 6e4 for row in stages.values()]
        memory = significant(int(stages["once"]["bytes"]) / 1e9)
        times = map(significant, [*minutes, sum(minutes)])
        lines.append([f"`{name}`", log, *times, memory])
    head = ["preset", "log", "once, min", "offline, min", "online, min", "all, min", "GB"]
    return markdown(head, lines)


TABLES = {
    "bf16": bf16,
    "compilation": compilation,
    "large-log": large_log,
    "peers": peers,
    "preset-times": preset_times,
    "growth": growth,
    "products-tried": products_tried,
}


def numbers() -> dict[str, str]:
    """None yet."""
    return {}
