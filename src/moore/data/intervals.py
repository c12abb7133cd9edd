"""The usual time between two rows of a log, as its metadata tell it, and times in words."""

import math
from collections.abc import Mapping

ROW_SECONDS = "row_seconds"  # in a log's metadata: the usual time between two rows
MORE = 1.25  # times as long; less may be a clock


def row_seconds(metadata: Mapping[str, object]) -> float | None:
    """The usual seconds between two rows of a log, if its metadata tell them.

    What a file holds under this name may be anything.
    """
    found = metadata.get(ROW_SECONDS)
    return found if isinstance(found, float) and 0 < found < math.inf else None


def other_interval(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    """How the usual time between two rows of another log differs, in words; empty if it does not.

    Args:
        one, other: metadata of the logs.
    """
    first, second = row_seconds(one), row_seconds(other)
    if first is None or second is None or 1 / MORE < second / first < MORE:
        return ""
    return f"a row every {span(second)}, in place of every {span(first)}"


def span(seconds: float) -> str:
    """A duration in words."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.4g} {unit}"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= 0.999 * size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"
