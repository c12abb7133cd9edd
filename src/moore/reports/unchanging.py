"""What the policies of a run would show that do nothing clever: lines to hold the run against."""

import functools

from moore.evaluation.frozen import frozen_metrics
from moore.evaluation.scores import ReferenceScores
from moore.numbers import finite, is_finite
from moore.reports.headline import known_reference


def unchanging(summary: dict, rows: list[dict]) -> dict[str, dict]:
    """Metrics of the hand-over policy, and of the clone where there is one, if they never change.

    Args:
        summary: the summary of the run, without nulls.
        rows: its rows of metrics, without nulls.

    Returns:
        "frozen" and, where a clone was evaluated, "clone", with the names of `transfer_metrics`;
        nothing where no policy was handed over.
    """
    if (start := _number_in(summary, "transfer", "offline")) is None:
        return {}
    online = {row["epoch"]: row for row in rows if row.get("stage") == "online" and "epoch" in row}
    acted = {epoch: finite(row.get("online/episode_returns")) for epoch, row in online.items()}
    before, reference = acted.pop(0, []), known_reference(summary)
    gap, given = _number_in(summary, "yardstick", "gap"), summary.get("random_return")
    scores = reference and ReferenceScores(reference["random"], reference["expert"], "")
    metrics_of = functools.partial(
        frozen_metrics,
        epochs=[len(returns) for returns in acted.values()],
        random_return=given if is_finite(given) else None,
        reference=scores or None,
        log_return=_number_in(summary, "dataset", "mean_return"),
        yardstick=gap if gap is not None and gap > 0.0 else None,
    )
    found = {"frozen": metrics_of(start, acted=before)}
    clone = _number_in(summary, "clone", "return")
    return found if clone is None else found | {"clone": metrics_of(clone)}


def _number_in(summary: dict, part: str, name: str) -> float | None:
    value = (summary.get(part) or {}).get(name)
    return value if is_finite(value) else None
