"""Draws the pictures of docs/handover.md from the numbers in docs/results.

    python examples/plot_handover.py --out docs/images

writes handover-mujoco.png, the paper's algorithm and `moore_robust` over the hand-over on eight
logs, and handover-factors.png and handover-factors-mujoco.png, what each option does alone on a
quick task and on MuJoCo logs, a point a seed. Prints what the documents quote: over the logs, and
over the seeds of each option.
"""

import argparse
import csv
import itertools
from collections import defaultdict
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.evaluation.stats import Estimate, iqm, mean
from moore.evaluation.transfer import swing_share, transfer_metrics
from moore.reports.plots import BLUE, INK, STYLE, VERMILION

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
# What an episode of the log earns in the mean (`moore inspect`).
LOGGED = {
    "hopper-random": 17,
    "hopper-medium": 1374,
    "hopper-medium-replay": 643,
    "hopper-medium-expert": 1729,
    "halfcheetah-random": -311,
    "halfcheetah-medium": 5088,
    "halfcheetah-medium-replay": 2422,
    "halfcheetah-medium-expert": 7507,
}
COLORS = {"moore": VERMILION, "moore_robust": BLUE}
EPOCHS = 8  # that every run has
# As the documents call them, and as evaluation/transfer.py does.
METRICS = {
    "dip share": "dip_share",
    "acting dip share": "behaviour_dip_share",
    "hand-over": "offline_score",
    "final": "final_score",
    "epochs to threshold": "epochs_to_threshold",
}
DIPS = {"dip_share": "evaluated dip share", "behaviour_dip_share": "acting dip share"}


@cache
def table(name: str) -> list[dict]:
    with open(RESULTS / name, newline="") as file:
        return list(csv.DictReader(file))


def online_returns() -> dict[tuple[str, str], dict[str, dict[str, np.ndarray]]]:
    """(log, algorithm) -> seed -> evaluated and acting returns of epochs 0 to 8; 0: hand-over."""
    rows = [
        (row["log"], row["run"], row["seed"], row["eval_return"], row["acting_return"])
        for row in table("handover-mujoco.csv")
        if row["stage"] == "online" and row["run"] in COLORS and int(row["epoch"]) <= EPOCHS
    ]
    # Fig. 2's runs are those of the paper's algorithm on the medium-replay logs.
    rows += [
        (row["task"].split()[1], "moore", row["seed"], row["eval_return"], row["acting_return"])
        for row in table("fig2-laptop-curves.csv")
        if row["variant"] == "moore:1" and int(row["epoch"]) <= EPOCHS
    ]
    found = defaultdict(lambda: defaultdict(lambda: {"evaluated": [], "acting": []}))
    for log, algorithm, seed, evaluated, acting in rows:
        curves = found[log, algorithm][seed]
        curves["evaluated"].append(float(evaluated))
        curves["acting"].append(float(acting) if acting else np.nan)
    return {
        key: {seed: {k: np.asarray(v) for k, v in c.items()} for seed, c in sorted(seeds.items())}
        for key, seeds in found.items()
    }


def swing(log: str, algorithm: str, seed: str, reference: ReferenceScores) -> float | None:
    """Of a run's last offline epochs; None where their evaluations are not in the table."""
    wanted = {"log": log, "run": algorithm, "seed": seed, "stage": "offline"}
    offline = [
        float(row["eval_return"])
        for row in table("handover-mujoco.csv")
        if wanted.items() <= row.items() and row["eval_return"]
    ]
    return swing_share(offline, reference.random)


def draw_logs(returns) -> Figure:
    figure = Figure(figsize=(10, 5), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True)
    for axes, (log, logged) in zip(panels.flat, LOGGED.items(), strict=True):
        axes.axhline(logged, color=INK, lw=0.8, ls=":", label="the log's mean")
        for algorithm, color in COLORS.items():
            for curves in returns.get((log, algorithm), {}).values():
                axes.plot(curves["evaluated"], color=color, label=algorithm)
                axes.plot(curves["acting"], ".", color=color, ms=5, alpha=0.7)
        axes.set_title(log, loc="left", fontsize="medium")
        axes.update_datalim([(0, 0)])
        axes.autoscale_view()
    for axes in panels[-1]:
        axes.set_xlabel("online epoch (0: the hand-over)")
    handles = dict(zip(*reversed(figure.axes[2].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    figure.supylabel("return: evaluated (line), acting (dots)", fontsize="medium")
    return figure


def reference_for(log: str) -> ReferenceScores:
    return reference_scores("Hopper-v5" if "hopper" in log else "HalfCheetah-v5")


def transfer(curves: dict[str, np.ndarray], reference: ReferenceScores) -> dict:
    """The transfer metrics of a run; an acting epoch in which no episode ended has no return."""
    (start, *evaluated), (acting_start, *acting) = curves["evaluated"], curves["acting"]
    return transfer_metrics(
        start,
        evaluated,
        random_return=reference.random,
        reference=reference,
        behaviour_offline=acting_start,
        behaviour_returns=[[value] for value in acting if np.isfinite(value)],
    )


def print_logs(returns) -> None:
    """Dip shares, hand-over and mean of the last five evaluations, as scores.

    IQMs are over the logs and seeds that both algorithms have.
    """
    runs = [
        {(log, seed) for log, name in returns if name == a for seed in returns[log, a]}
        for a in COLORS
    ]
    both = set.intersection(*runs)
    for algorithm in COLORS:
        found = {name: [] for name in METRICS}
        for (log, name), seeds in sorted(returns.items()):
            if name != algorithm:
                continue
            reference = reference_for(log)
            for seed, curves in seeds.items():
                metrics = transfer(curves, reference)
                numbers = {name: metrics[key] for name, key in METRICS.items()}
                listed = ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())
                share = swing(log, algorithm, seed, reference)
                swung = "" if share is None else f", swing {share:.2f}"
                print(f"{algorithm} {log} {seed}: {listed}{swung}")
                for name, value in numbers.items() if (log, seed) in both else ():
                    found[name].append(value)
        for name, values in found.items():
            over = iqm([np.asarray(values)])
            print(f"  {name}: {over.value:.2f} [{over.low:.2f}, {over.high:.2f}], {over.seeds}")


def by_option(preset: str) -> dict[str, dict[str, np.ndarray]]:
    """Option -> column -> a number a seed, the seeds in order; of the runs of one preset."""
    found = defaultdict(list)
    for row in table("handover-factors.csv"):
        if row["preset"] == preset:
            found[row["option"]].append(row)
    columns = ("seed", "offline", "dip_share", "behaviour_dip_share", "auc")
    return {
        option: {name: np.asarray([float(row[name] or "nan") for row in rows]) for name in columns}
        for option, rows in found.items()
    }


def difference(option: dict, plain: dict, column: str = "dip_share") -> Estimate:
    """Mean difference of a column on the seeds of both."""
    _, here, there = np.intersect1d(option["seed"], plain["seed"], return_indices=True)
    return mean([option[column][here] - plain[column][there]])


def draw_options(panels, options, columns: dict[str, str], *, coloured: bool = False) -> None:
    """A row an option: a point a seed, and their mean; a panel a column. Coloured: by the seed."""
    for axes, (name, title) in zip(panels, columns.items(), strict=True):
        axes.axvline(np.nanmean(options["as it is"][name]), color=INK, lw=0.8, ls=":")
        for place, values in enumerate(options.values()):
            colors = [f"C{int(seed)}" if coloured else BLUE for seed in values["seed"]]
            places = np.full(len(colors), place)
            axes.scatter(values[name], places, c=colors, s=12, alpha=0.7 if coloured else 0.4)
            axes.plot(np.nanmean(values[name]), place, "|", color=VERMILION, ms=10, mew=2)
        axes.set_title(title, loc="left", fontsize="medium")
        axes.set_yticks(range(len(options)), list(options))
        axes.set_ylim(len(options) - 0.4, -0.6)


def draw_factors(options) -> Figure:
    """On the quick task."""
    figure = Figure(figsize=(10, 0.23 * len(options) + 0.8), layout="constrained")
    columns = {"offline": "hand-over, of 1000", **DIPS, "auc": "area under the curve"}
    draw_options(figure.subplots(1, 4, sharey=True), options, columns)
    return figure


def draw_logged_factors(by_log: dict[str, dict]) -> Figure:
    """On MuJoCo logs, a row of panels each."""
    rows = [len(options) for options in by_log.values()]
    figure = Figure(figsize=(10, 0.25 * sum(rows) + 1.8), layout="constrained")
    grid = figure.subplots(len(by_log), 3, sharey="row", squeeze=False, height_ratios=rows)
    for panels, (log, options) in zip(grid, by_log.items(), strict=True):
        columns = {**DIPS, "auc": "mean of the evaluations"}
        draw_options(panels, options, columns, coloured=True)
        for axes, title in zip(panels, columns.values(), strict=True):
            axes.set_title("", loc="left")
            axes.set_xlabel(title)
        panels[0].set_title(log.removeprefix("laptop/"), loc="left", fontsize="medium")
    return figure


def print_factors(options) -> None:
    """A line an option, as in the tables of docs/handover.md and docs/results-handover.md."""
    plain = options["as it is"]
    for option, found in options.items():
        names = ("offline", "dip_share", "behaviour_dip_share", "auc")
        means = ", ".join(f"{name} {np.nanmean(found[name]):.2f}" for name in names)
        gaps = [difference(found, plain, column) for column in ("dip_share", "auc")]
        paired = ", ".join(f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]" for gap in gaps)
        least, count = int((found["dip_share"] <= 0.05).sum()), len(found["seed"])
        print(f"{option}: {means}; {paired}; {least} of {count}")


def by_swing(returns) -> dict[str, np.ndarray]:
    """Kind of run -> how far its last offline epochs swung and its dip share, a row a run."""
    found = defaultdict(list)
    for row in table("handover-factors.csv"):
        if row["swing_share"]:
            kind = "a gate" if "gate" in row["option"] else "no gate"
            kind = f"{row['preset']}, {kind}"
            found[kind].append((float(row["swing_share"]), float(row["dip_share"])))
    for (log, algorithm), seeds in returns.items():
        reference = reference_for(log)
        for seed, curves in seeds.items():
            share = swing(log, algorithm, seed, reference)
            if share is not None:
                dip = transfer(curves, reference)["dip_share"]
                found[f"MuJoCo, {algorithm}"].append((share, dip))
    return {kind: np.asarray(pairs) for kind, pairs in found.items()}


def draw_swing(swings: dict[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":", label="equal")
    for place, (kind, pairs) in enumerate(swings.items()):
        small = not kind.startswith("MuJoCo")
        style = {"ms": 4 if small else 7, "mew": 0, "alpha": 0.5 if small else 0.9}
        color = BLUE if kind.endswith(("a gate", "moore_robust")) else VERMILION
        x, y = pairs[:, 0], np.minimum(pairs[:, 1], 1.1)
        axes.plot(x, y, "os^D"[place % 4], color=color, label=kind, **style)
    axes.set_xlabel("how far the last ten offline epochs swung, share")
    axes.set_ylabel("evaluated dip share (above 1.1: at 1.1)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def print_swing(swings: dict[str, np.ndarray]) -> None:
    for kind, pairs in swings.items():
        share, dip = pairs.T
        exceed = int((dip > share + 0.02).sum())
        print(f"{kind}: {len(dip)} runs, {exceed} dip by more than 0.02 beyond their swing")
        for low, high in itertools.pairwise([0.0, 0.02, 0.2, 0.5, 0.8, np.inf]):
            dips = dip[(share >= low) & (share < high)]
            if dips.size:
                print(f"  {low} to {high}: {len(dips)} runs, mean dip share {dips.mean():.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    args = parser.parse_args()
    returns = online_returns()
    quick, *laptop = dict.fromkeys(row["preset"] for row in table("handover-factors.csv"))
    options, by_log = by_option(quick), {preset: by_option(preset) for preset in laptop}
    swings = by_swing(returns)
    with matplotlib.rc_context(STYLE):
        pictures = {
            "mujoco": draw_logs(returns),
            "factors": draw_factors(options),
            "factors-mujoco": draw_logged_factors(by_log),
            "swing": draw_swing(swings),
        }
        for name, figure in pictures.items():
            figure.savefig(args.out / f"handover-{name}.png", dpi=150, facecolor="white")
    print_logs(returns)
    print_swing(swings)
    for preset, found in {quick: options, **by_log}.items():
        print(preset)
        print_factors(found)


if __name__ == "__main__":
    main()
