"""The result of `moore compare` as text for the terminal, and as CSV."""

from pathlib import Path

from moore.files import write_table
from moore.reports.compare import ACTING, EVALUATED, METRICS

TITLES = {
    "offline": "offline",
    "dip_share": "dip share",
    "dip_by_yardstick": "dip, yardstick",
    "dip_area": "dip area",
    "final": "final",
    "gain": "gain",
    "auc": "auc",
    "epochs_to_threshold": "epochs to threshold",
    "behaviour_dip_share": "acting dip share",
    "behaviour_dip_by_yardstick": "acting dip, yardstick",
    "behaviour_worst_episode": "worst acting episode",
    "behaviour_loss": "loss to the log",
    "behaviour_loss_peak": "its peak",
}
NOTES = (
    "IQM over seeds [95% stratified bootstrap interval]",
    "frozen: the policy that is handed over, if it never changes; clone: of the log's better part",
    "yardstick: dips by a difference that is not the run's own, which summary.json names",
    "loss to the log: what the log's mean episode earns minus what the live system earned, summed "
    "over its episodes; negative is a profit",
)

# The terminal has the pairs of no more variants than this.
MOST_IN_PAIRS = 5


def format_comparison(result: dict) -> str:
    """Tables of IQM [95% interval] for each task and pooled, and one of pairs of variants.

    What was evaluated and what the live system earned are two tables.
    """
    blocks = []
    for task in result["tasks"]:
        cells = [c for c in [*result["cells"], *result["unchanging"]] if c["task"] == task]
        rows = [(cell["variant"], len(cell["seeds"]), cell["estimates"]) for cell in cells]
        blocks += _tables(task, rows)
    if len(result["tasks"]) > 1:
        pooled = {**result["pooled"], **result["pooled_unchanging"]}
        rows = [(name, most_seeds(found), found) for name, found in pooled.items()]
        blocks += _tables("all tasks, on scores where there are any", rows)
    if result["improvement"]:
        blocks.append(_improvement(result["improvement"]))
    if result["missing"]:
        lines = ["not run, or not finished"]
        lines += [
            f"  {variant} on {task}, seed {seed}" for task, variant, seed in result["missing"]
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join([*blocks, "\n".join(NOTES)])


def _improvement(pairs: list[dict]) -> str:
    """Each pair once, as P(b > a) is 1 - P(a > b); with many variants only pairs of the first."""
    variants = list(dict.fromkeys(pair["first"] for pair in pairs))
    firsts = variants if len(variants) <= MOST_IN_PAIRS else variants[:1]
    lines = ["P(a seed of the first ends above one of the second), final return"]
    for pair in pairs:
        first, second = pair["first"], pair["second"]
        if first in firsts and variants.index(first) < variants.index(second):
            lines.append(f"  {first} > {second}: {interval(pair)}")
    if firsts != variants:
        lines.append("  (every pair: the page, or --json)")
    return "\n".join(lines)


def most_seeds(estimates: dict) -> int:
    """The largest number of values behind one of the estimates."""
    return max((found["seeds"] for found in estimates.values() if found), default=0)


def _tables(title: str, rows: list[tuple[str, int, dict]]) -> list[str]:
    """One table of the evaluations and one of the acting policy."""
    return [
        _table(f"{title}: {kind}", rows, metrics)
        for kind, metrics in (("evaluated", EVALUATED), ("acting", ACTING))
    ]


def _table(title: str, rows: list[tuple[str, int, dict]], metrics: tuple[str, ...]) -> str:
    header = ["", "seeds", *(TITLES[metric] for metric in metrics)]
    cells = [
        [name, str(seeds), *(interval(estimates[metric]) for metric in metrics)]
        for name, seeds, estimates in rows
    ]
    widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
    lines = [title]
    for row in [header, *cells]:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(len(first)), *rest]).rstrip())
    return "\n".join(lines)


def interval(estimate: dict | None) -> str:
    if estimate is None:
        return "-"
    if estimate["low"] is None:
        return _number(estimate["value"])
    low, high = _number(estimate["low"]), _number(estimate["high"])
    return f"{_number(estimate['value'])} [{low}, {high}]"


def _number(value: float) -> str:
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def write_csv(path: Path, result: dict) -> None:
    """Writes every metric of every run, one line for each seed.

    Raises:
        InputError: the file cannot be written.
    """
    rows = [["task", "variant", "seed", *METRICS]]
    for cell in result["cells"]:
        columns = [cell["values"][metric] for metric in METRICS]
        for seed, *values in zip(cell["seeds"], *columns, strict=True):
            rows.append([cell["task"], cell["variant"], seed, *values])
    write_table(path, rows)
