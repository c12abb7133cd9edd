"""A figure of the paper as a picture, tables and the numbers behind them (`moore reproduce`)."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moore.errors import InputError
from moore.evaluation.transfer import DIP_EPOCHS
from moore.files import write_table, write_whole, writing
from moore.numbers import without_nulls
from moore.reports.compare import Finished, compare, estimate
from moore.reports.compare_page import write_compare_page
from moore.reports.compare_text import TITLES, interval, most_seeds, write_csv
from moore.reports.figure import draw_figure
from moore.reports.page import duration, number
from moore.reports.published import published_table
from moore.reports.uncertainty import (
    DROP,
    PREDICTED,
    PRINTED,
    THEOREM,
    draw_uncertainty,
    uncertainty_summary,
)
from moore.reports.variants import epoch_returns
from moore.runs.finished import read_runs
from moore.sweeps.cell import Cell
from moore.sweeps.figures import FIGURES

_LOGGED = (
    "eval/return",
    "replay/online_share",
    "replay/shift",
    "env_steps",
    "model/uncertainty_mean",
    "model/new_z",
    "model/new_admissible",
    PRINTED,
    THEOREM,
    DROP,
    PREDICTED,
)
_SHOWN = ("offline", "dip_share", "behaviour_dip_share", "final", "gain")
# The hand-over, the worst of it, the end; then as in the other figures.
_ALGORITHMS_SHOWN = ("offline", "lowest", "final", "dip_share", "behaviour_dip_share", "gain")
# The same runs in a second table: what a small dip alone does not say.
_BESIDE = (
    "dip_by_yardstick",
    "dip_area",
    "behaviour_dip_by_yardstick",
    "behaviour_worst_episode",
    "behaviour_loss",
    "behaviour_loss_peak",
)
_TITLES = TITLES | {"lowest": f"lowest of epochs 0–{DIP_EPOCHS}"}


def write_figure(figure: str, scale: str, planned: Sequence[Cell], folder: Path) -> dict:
    """Writes FIGURE-SCALE.md, .png, .html, .csv and -curves.csv from the cells that are done.

    Args:
        figure: a name in FIGURES.
        scale: scale of the runs.
        planned: all cells of the figure.
        folder: folder for the files; it is made if it does not exist.

    Returns:
        The result of `compare` with further entries: `cells_done` says for each cell's folder
        whether it is done. For fig1 the estimates also have `lowest`, and `minutes` is the mean
        wall-clock time of a run. For fig4 `uncertainty` is the result of `uncertainty_summary`.

    Raises:
        InputError: no cell is done.
    """
    wanted = [cell for cell in planned if cell.stages != "offline"]
    done = {cell.folder: cell.done for cell in planned}  # asked once: each reads a configuration
    finished = [cell for cell in wanted if done[cell.folder]]
    if not finished:
        raise InputError(f"none of the {len(wanted)} runs of {figure} at scale {scale} is done.")
    runs = _in_order(read_runs([cell.folder for cell in finished]), wanted)
    result = compare(runs) | {"cells_done": done}
    if figure == "fig1":
        _add_lowest(result, runs)
        _add_minutes(result, runs, finished)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{figure}-{scale}"
    write_csv(path.with_suffix(".csv"), result)
    _write_curves(folder / f"{path.name}-curves.csv", runs)
    if figure == "fig4":
        picture = draw_uncertainty(runs, result)
        result["uncertainty"] = uncertainty_summary(runs)
    else:
        picture = draw_figure(figure, runs, result, ordered=bool(FIGURES[figure].alphas))
    with writing(path.with_suffix(".png")):
        picture.savefig(path.with_suffix(".png"), dpi=150, facecolor="white")
    write_compare_page(path.with_suffix(".html"), runs, result)
    write_whole(path.with_suffix(".md"), _markdown(figure, scale, planned, result))
    return result


def _in_order(runs: list[Finished], wanted: Sequence[Cell]) -> list[Finished]:
    """The runs that are done, in the order of the planned variants."""
    names = [_variant(cell.folder) for cell in wanted]
    return sorted(runs, key=lambda run: names.index(_variant(run.folder)))


def _variant(folder: str | Path) -> str:
    """The variant in a folder's name, TASK__VARIANT__SEED."""
    return Path(folder).name.rsplit("__", 2)[1]


def _write_curves(path: Path, runs: Sequence[Finished]) -> None:
    """Writes the returns behind the curves, one line an online epoch; epoch 0 is the hand-over."""
    names = [name.replace("/", "_") for name in _LOGGED]
    lines: list[list[object]] = [["task", "variant", "seed", "epoch", "acting_return", *names]]
    for run in runs:
        acting = dict(zip(*epoch_returns(run, acting=True), strict=True))
        for row in run.rows:
            if row.get("stage") == "online":
                values = [acting.get(row["epoch"]), *(row.get(name) for name in _LOGGED)]
                cells = ["" if v is None else f"{v:.6g}" for v in values]
                lines.append([run.task, run.variant, run.seed, row["epoch"], *cells])
    write_table(path, lines)


def _add_lowest(result: dict, runs: Sequence[Finished]) -> None:
    """Adds estimates of the lowest evaluation among the hand-over and the first 10 epochs."""
    for cell in result["cells"]:
        cell["estimates"]["lowest"] = estimate([[_lowest(run) for run in _of(runs, cell)]])
    for variant, estimates in result["pooled"].items():
        cells = [cell for cell in result["cells"] if cell["variant"] == variant]
        scores = [[_lowest(run, "_score") for run in _of(runs, cell)] for cell in cells]
        estimates["lowest"] = estimate(scores)


def _of(runs: Sequence[Finished], cell: dict) -> list[Finished]:
    """The runs of one of `compare`'s cells."""
    return [r for r in runs if (r.task, r.variant) == (cell["task"], cell["variant"])]


def _lowest(run: Finished, kind: str = "") -> float | None:
    start, dip = (run.transfer.get(f"{name}{kind}") for name in ("offline", "dip"))
    return None if start is None or dip is None else start - dip


def _add_minutes(result: dict, runs: Sequence[Finished], finished: Sequence[Cell]) -> None:
    """Adds the mean wall-clock time of a run with its offline stage, by cell and over all tasks."""
    minutes = {Path(cell.folder): _minutes(cell) for cell in finished}
    for cell in result["cells"]:
        cell["minutes"] = _mean([minutes[run.folder] for run in _of(runs, cell)])
    result["minutes"] = {
        name: _mean([minutes[run.folder] for run in runs if run.variant == name])
        for name in result["variants"]
    }


def _minutes(cell: Cell) -> float | None:
    """Minutes of both stages, from one cell or two; None if the offline summary is missing."""
    folders = [cell.folder] if cell.start_from is None else [cell.start_from, cell.folder]
    files = [Path(folder) / "summary.json" for folder in folders]
    if not all(file.exists() for file in files):
        return None
    return sum(json.loads(file.read_text())["time"]["total"] for file in files) / 60


def _mean(values: list) -> float | None:
    return None if None in values else float(np.mean(values))


def _markdown(figure: str, scale: str, planned: Sequence[Cell], result: dict) -> str:
    """The Markdown page: the tables, the runs, and the versions and hardware."""
    blocks = [f"# {FIGURES[figure].title} ({figure}, scale {scale})"]
    blocks.append(f"```\nmoore reproduce {figure} --scale {scale}\n```")
    blocks.append(_circumstances(result["cells_done"]))
    blocks.append(
        "IQM over seeds [95% stratified bootstrap interval]. Dip share: how far the lowest of the "
        "first 10 epochs lies below the hand-over, in units of the hand-over's distance from a "
        "random policy; *acting* is the sampled policy that gathers the data. *Frozen* is the "
        "policy that is handed over, if it never changes: its acting dip is luck alone. *Clone* "
        "is that of the log's better part. The yardstick is a gap of returns that is not the run's "
        "own. The loss to the log is what its mean episode earns minus what the live system "
        "earned, summed over its episodes."
    )
    if figure == "fig1":
        blocks.append(
            f"Lowest: of the hand-over and the first {DIP_EPOCHS} epochs' evaluations. Minutes: "
            "mean wall-clock of a run, its offline stage included; one that several algorithms "
            "share counts in each of them."
        )
    if "uncertainty" in result:
        blocks.append("## Uncertainty\n\n" + _uncertainty_table(result["uncertainty"]))
    for task in result["tasks"]:
        cells = [c for c in [*result["cells"], *result["unchanging"]] if c["task"] == task]
        blocks.append(f"## {task}\n\n{_tables(cells, figure)}")
    if len(result["tasks"]) > 1:
        pooled = [
            {
                "variant": name,
                "seeds": [None] * most_seeds(found),
                "estimates": found,
                "minutes": result.get("minutes", {}).get(name),
            }
            for name, found in {**result["pooled"], **result["pooled_unchanging"]}.items()
        ]
        blocks.append(f"## All tasks, on normalised scores\n\n{_tables(pooled, figure)}")
    if figure == "fig1" and (table := published_table(result["tasks"])):
        blocks.append("## Published\n\n" + table)
    blocks.append("## Cells\n\n" + _cells(planned, result["cells_done"]))
    return _readable("\n\n".join(blocks) + "\n")


def _readable(page: str) -> str:
    """The page with paragraphs in lines of at most 100 columns; tables and headings stay."""
    lines = []
    for line in page.split("\n"):
        fixed = line.startswith(("|", "#")) or not line
        lines += [line] if fixed else textwrap.wrap(line, 100, break_long_words=False)
    return "\n".join(lines)


def _tables(cells: list[dict], figure: str) -> str:
    if figure == "fig1":
        first = _table(cells, _ALGORITHMS_SHOWN, ["minutes a run"])
    else:
        first = _table(cells, _SHOWN, [])
    return f"{first}\n\n{_table(cells, _BESIDE, [])}"


def _table(cells: list[dict], shown: Sequence[str], more: Sequence[str]) -> str:
    titles = ["", "seeds", *(_TITLES[metric] for metric in shown), *more]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for cell in cells:
        found = {"lowest": cell["estimates"]["offline"]} | cell["estimates"]  # it never changes
        values = [interval(found[metric]) for metric in shown]
        values += [number(cell.get("minutes"))] if more else []
        lines.append(f"| {' | '.join([cell['variant'], str(len(cell['seeds'])), *values])} |")
    return "\n".join(lines)


def _uncertainty_table(rows: list[dict]) -> str:
    titles = ("task", "", "seeds", "u: first, highest, last epoch",
              "Relative Uncertainty Error as printed: median, 95%", "Theorem 2's: median, 95%",
              "highest drop term; its rank correlation, p", "highest predicted drop; rank, p",
              "dip")  # fmt: skip
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        groups = (
            [row["u_first"], row["u_highest"], row["u_last"]],
            row["printed"],
            row["theorem"],
            [row["drop_term"], *row["drop_term_rank"]],
            [row["predicted_drop"], *row["predicted_drop_rank"]],
            [row["dip"]],
        )
        cells = [", ".join(map(number, group)) for group in groups]
        lines.append(f"| {row['task']} | {row['variant']} | {row['seeds']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _circumstances(done: dict[str, bool]) -> str:
    """The versions, the hardware and the time of the runs that are done."""
    summaries = [
        json.loads((Path(folder) / "summary.json").read_text())
        for folder, is_done in done.items()
        if is_done
    ]
    summaries = list(map(without_nulls, summaries))
    versions = {", ".join(map(" ".join, s.get("versions", {}).items())) for s in summaries}
    processors = {s.get("hardware", {}).get("processor", "unknown processor") for s in summaries}
    seconds = sum(s.get("time", {}).get("total", 0.0) for s in summaries)
    return (
        f"{len(summaries)} of {len(done)} runs are done (offline stages included), "
        f"{duration(seconds)} in all if one were run after the other. "
        f"{'; '.join(sorted(processors))}; {'; '.join(sorted(versions))}."
    )


def _cells(planned: Sequence[Cell], done: dict[str, bool]) -> str:
    """A table of the runs that are done and of those that are not."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for cell in planned:
        name, seed = Path(cell.folder).name.rsplit("__", 1)
        stage = f"offline stage of {name}" if cell.stages == "offline" else name.replace("__", ", ")
        groups.setdefault((stage, done[cell.folder]), []).append(seed)
    lines = ["| run | done, seeds | not done, seeds |", "|---|---|---|"]
    for stage in dict.fromkeys(stage for stage, _ in groups):
        yes, no = (", ".join(groups.get((stage, flag), ["–"])) for flag in (True, False))
        lines.append(f"| {stage} | {yes} | {no} |")
    return "\n".join(lines)
