"""The picture of docs/budget.md: two made-up systems, and what a budget buys.

python benchmarks/plot_budget.py --out docs/images/budget.png
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from budget_processes import CLIMBING, HOSTILE, LENGTH, Family
from budget_simulation import Process, Truth, logged

from moore.runs.budgeting import dip_budget
from moore.stages.budget import REFERENCE

SHARE = 0.05
EPOCHS = 25
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "budget-simulation.csv"
SHOWN = {
    family.name: family
    for family in (*CLIMBING, *HOSTILE)
    if family.name in ("learning", "always worse")
}
BUYS = ("learning", "3 in 10 are better", "about as good", "learning, falls")


class Traced(Truth):
    """Who acts and what was earned, at every step."""

    def step(self, reward, since, now, *, fell):
        super().step(reward, since, now, fell=fell)
        trace = self.__dict__.setdefault("trace", [])
        trace.append((self.own + self.other, self.own + self.known.level * self.units))


def one(family: Family, seed: int) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Earned and the reference's, by step, in mean episodes; and the stretches of the trials."""
    known = logged(np.random.default_rng(99), family, family.reference, 1000)
    rng = np.random.default_rng(seed)
    budget = dip_budget(SHARE, logged(rng, family, family.reference, 10))
    truth = Traced(SHARE, known)
    process = Process(family, budget, truth, rng)
    trials: list[list[float]] = []
    step = budget.step

    def watched(reward: float) -> None:
        at = process.clock / LENGTH
        tried = budget.running.trial_since is not None and budget.acting not in (
            REFERENCE,
            budget.incumbent,
        )
        if tried and trials and trials[-1][1] == at - 1 / LENGTH:
            trials[-1][1] = at
        elif tried:
            trials.append([at - 1 / LENGTH, at])
        step(reward)

    budget.step = watched
    process.run(EPOCHS)
    return np.array(truth.trace) / known.level, [(since, until) for since, until in trials]


def draw_run(axis: plt.Axes, name: str, family: Family, seed: int) -> None:
    """What was earned more than the reference would have, and the line."""
    trace, trials = one(family, seed)
    time = np.arange(1, len(trace) + 1) / LENGTH
    for index, (since, until) in enumerate(trials):
        label = "a challenger acts" if index == 0 else None
        axis.axvspan(since, until, color="tab:orange", alpha=0.35, lw=0, label=label)
    axis.plot(time, trace[:, 0] - trace[:, 1], color="tab:blue", label="earned so far")
    axis.plot(time, -SHARE * trace[:, 1] - 1.0, "k--", lw=1, label="line: 5% and one episode")
    axis.axhline(0.0, color="0.6", lw=0.8, label="the reference alone")
    axis.set(title=name, xlabel="episodes", ylabel="above the reference, in episodes")
    axis.legend(fontsize=8, loc="best")


def draw_bought(axis: plt.Axes) -> None:
    """Level at the end, by budget."""
    with RESULTS.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["rule"] == "default"]
    for name in BUYS:
        points = sorted(
            (float(row["share"]), float(row["level"]))
            for row in rows
            if row["family"] == name and int(row["epochs"]) == EPOCHS
        )
        shares, levels = zip(*points, strict=True)
        axis.plot([100 * share for share in shares], levels, "o-", label=name)
    axis.set(
        title=f"{EPOCHS} episodes, by budget",
        xlabel="dip budget, %",
        ylabel="level at the end (reference: 1)",
        ylim=(0.9, 3.2),
    )
    axis.legend(fontsize=8, ncols=2, loc="upper center")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("budget.png"))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(argv)
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
    figure.suptitle(
        "What is earned stays above the promised line, and a small budget buys most of the climb"
    )
    for axis, (name, family) in zip(axes, SHOWN.items(), strict=False):
        draw_run(axis, f"challengers: {name}", family, chosen.seed)
    draw_bought(axes[2])
    figure.savefig(chosen.out, dpi=110)


if __name__ == "__main__":
    main()
