"""Our SAC against published curves: evaluated return over environment steps.

    moore run sac --env-id HalfCheetah-v5 --online.epochs 50 --seed 0 --out runs/sac-0
    python benchmarks/sac_curve.py runs/sac-* --out docs/images/sac-halfcheetah

writes the picture and, as .csv, the numbers behind it.
"""

import argparse
import csv
import json
from pathlib import Path

from matplotlib.figure import Figure

from moore.runs.folder import read_metrics

# Mean and standard deviation over 10 seeds, by environment steps: Tianshou's MuJoCo benchmark
# (thu-ml/tianshou, examples/mujoco), SAC on HalfCheetah-v3; v4 and v5 keep its dynamics and reward.
TIANSHOU = {50_000: (4747.2, 345.0), 100_000: (6514.6, 514.2)}
# One seed each: the evaluations that come with DLR-RM/rl-trained-agents.
STABLE_BASELINES3 = {50_000: 3043.8, 100_000: 4960.8}


def read(folder: Path) -> list[dict]:
    """One row an evaluation."""
    summary = json.loads((folder / "summary.json").read_text())
    return [
        {"env": summary["env_id"], "seed": summary["seed"], "env_steps": row["env_steps"],
         "evaluated": row["eval/return"]}
        for row in read_metrics(folder / "metrics.jsonl")
    ]  # fmt: skip


def draw(runs: list[list[dict]]) -> Figure:
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for rows in runs:
        steps, returns = ([row[name] for row in rows] for name in ("env_steps", "evaluated"))
        axes.plot(steps, returns, lw=1.4, label=f"moore, seed {rows[0]['seed']}")
    last = max(row["env_steps"] for rows in runs for row in rows)
    shown = [step for step in TIANSHOU if step <= last]
    means, spreads = zip(*(TIANSHOU[step] for step in shown), strict=True)
    for factor in (1, 2):
        bars = [factor * spread for spread in spreads]
        label = "Tianshou, 10 seeds: mean, 1 and 2 sd" if factor == 1 else None
        axes.errorbar(shown, means, bars, fmt="ks", ms=5, capsize=4, lw=1.2 / factor, label=label)
    one = [STABLE_BASELINES3[step] for step in shown]
    axes.plot(shown, one, "D", color="0.5", ms=5, label="Stable-Baselines3, 1 seed")
    axes.set(xlabel="environment steps", ylabel="evaluated return")
    axes.set_title("From scratch, SAC earns here what it earns elsewhere", fontsize="medium")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="without a suffix")
    args = parser.parse_args()
    runs = [read(folder) for folder in args.runs]
    draw(runs).savefig(args.out.with_suffix(".png"), dpi=150)
    with open(args.out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(runs[0][0]))
        writer.writeheader()
        writer.writerows(row for rows in runs for row in rows)


if __name__ == "__main__":
    main()
