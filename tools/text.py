"""How the documents print numbers and tables."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from moore.evaluation.stats import Estimate

DASH = "–"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(line.replace("|   |", "|  |") for line in lines)


def fixed(value: float, digits: int = 0) -> str:
    """With so many digits behind the point; halves go away from 0, and 0 has no sign."""
    text = str(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
    return text.removeprefix("-") if not float(text) else text


def signed(value: float, digits: int = 2) -> str:
    """With its sign; 0 has a plus."""
    text = fixed(value, digits)
    return text if text.startswith("-") else f"+{text}"


def share(value: float) -> str:
    """Two digits; a dip that never was is a plain 0."""
    return "0" if value == 0 else fixed(value, 2)


def significant(value: float) -> str:
    """About three digits, as `moore compare` prints them."""
    size = abs(value)
    return fixed(value, 0 if size >= 100 else 1 if size >= 10 else 2)


def interval(estimate: Estimate, form=significant) -> str:
    """A value and its interval."""
    return f"{form(estimate.value)} [{form(estimate.low)}, {form(estimate.high)}]"


def listed(values: Iterable[float], form=fixed) -> str:
    return ", ".join(map(form, values))


def between(values: Iterable[float], form=fixed) -> str:
    """Smallest to largest; one number where these are printed alike."""
    low, high = form(min(values := list(values))), form(max(values))
    return low if low == high else f"{low} to {high}"


def acted(evaluated: float, acting: float) -> str:
    """An evaluated return, and in brackets what the policy acted; empty without the first."""
    if not np.isfinite(evaluated):
        return ""
    return fixed(evaluated) + (f" ({fixed(acting)})" if np.isfinite(acting) else "")
