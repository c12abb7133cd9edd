"""The table of the peers: medians, ranges, and ratios round by round."""

import statistics
from collections.abc import Iterator
from typing import Any

OURS = "moore"
HEAD = ("operation", "library", "version", "ms", "least to most", "times ours", "range", "timed")


def summary(report: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every operation of every library, and one for every library that has none.

    The ratio is that of a library's time to ours in the same round, for they drift together. The
    rows of an operation are ordered by time, those of libraries without a time come last.
    """
    timed = [row for row in report["rows"] if row.get("milliseconds")]
    ours = {row["operation"]: row["milliseconds"] for row in timed if row["who"] == OURS}
    order = {name: place for place, name in enumerate(report["units"])}
    found = [_of(row, ours.get(row["operation"])) for row in timed]
    found.sort(key=lambda row: (order[row["operation"]], row["median"]))
    return found + [row for row in report["rows"] if not row.get("milliseconds")]


def _of(row: dict[str, Any], ours: list[float] | None) -> dict[str, Any]:
    times = row["milliseconds"]
    about = {name: row[name] for name in ("operation", "who", "version", "includes")}
    about |= {"median": statistics.median(times), "least": min(times), "most": max(times)}
    if ours is None:
        return about
    # A library that failed on the way has fewer rounds.
    ratios = [theirs / mine for theirs, mine in zip(times, ours, strict=False)]
    low, high = min(ratios), max(ratios)
    return about | {"ratio": statistics.median(ratios), "ratio_least": low, "ratio_most": high}


def markdown(report: dict[str, Any]) -> Iterator[str]:
    """The table, line by line."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|" + "---|" * len(HEAD)
    for row in summary(report):
        yield f"| {' | '.join(_cells(row, report['units']))} |"


def _cells(row: dict[str, Any], units: dict[str, str]) -> list[str]:
    if "median" not in row:
        return ["", row["who"], "", "", "", "", "", row["reason"].replace("|", "/")]
    ratio = span = ""
    if row["who"] == OURS:
        ratio = "1"
    elif "ratio" in row:
        ratio = f"{row['ratio']:.2f}"
        span = f"{row['ratio_least']:.2f} to {row['ratio_most']:.2f}"
    return [
        f"{row['operation']}, {units[row['operation']]}",
        row["who"],
        row["version"],
        f"{row['median']:.3g}",
        f"{row['least']:.3g} to {row['most']:.3g}",
        ratio,
        span,
        row["includes"],
    ]
