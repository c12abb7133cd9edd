"""What a hand-over changes, one thing at a time: `moore` under each option alone.

    python examples/handover_factors.py quick/inverted-pendulum --out runs/factors
    python examples/handover_factors.py laptop/hopper-medium-expert --dataset LOG,LOG \
        --seeds 0 1 2 --epochs 3 --only "as it is" "5% real rows" --out runs/factors-hopper

Options of the online stage start from one offline stage a seed; the others train their own. Every
run is a run folder below OUT; run again, it goes on where it stopped. Writes OUT/factors.csv, a
line a run of the options asked for, and OUT/curves.csv, a line an online epoch of them. Sampling
schemes are not among the options: `moore reproduce fig2` compares those.
"""

import argparse
import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import jax

from moore.config import Config, from_dict
from moore.presets import preset
from moore.runs.folder import read_metrics
from moore.sweeps.cell import Cell, run_cell

# Over the preset, online alone; some relative to what the preset has.
ONLINE = {
    "as it is": {},
    "D_model starts full": {"online": {"start_full": True}},
    "five epochs retained": {"online": {"retain_epochs": 5}},
    "a quarter of the rollouts": lambda c: {
        "online": {"rollout_batch": c.online.rollout_batch // 4}
    },
    "four times the rollouts": lambda c: {"online": {"rollout_batch": 4 * c.online.rollout_batch}},
    "5% real rows": {"online": {"real_ratio": 0.05}},
    "refits of a quarter of the steps": lambda c: {
        "model": {"max_refit_steps": c.model.max_refit_steps // 4}
    },
    "refits to 2000 steps": {"model": {"max_refit_steps": 2000}},
    "refits from the last weights": {"model": {"warm_start": "last"}},
    "normaliser of the log": {"model": {"refit_normaliser": False}},
    "a colder policy": {"sac": {"target_entropy": -3.0}},
    "a warmer policy": {"sac": {"target_entropy": 0.0}},
    "half the updates": lambda c: {
        "online": {"updates_per_step": max(1, c.online.updates_per_step // 2)}
    },
    "four times the updates": lambda c: {
        "online": {"updates_per_step": 4 * c.online.updates_per_step}
    },
    "clipped targets from here on": {"sac": {"clip_targets": 0.95}},
    "gate of 50 steps": {"gate": {"enabled": True, "horizon": 50, "rollouts": 1000}},
    "gate of episodes": {"gate": {"enabled": True, "penalised": False}},
    "gate of what was earned": {"gate": {"enabled": True, "penalised": False, "earned": True}},
}


def long_rollouts(c: Config) -> dict:
    """Of 100 steps, and as many steps in all."""
    return {
        "rollout_length": 100,
        "offline": {"rollout_batch": c.offline.rollout_batch * c.rollout_length // 100},
        "online": {"rollout_batch": c.online.rollout_batch * c.rollout_length // 100},
    }


# From the beginning.
BOTH = {
    "rollouts of 100 steps": long_rollouts,
    "u of values": {"uncertainty": "value"},
    "rollouts of 100 steps, u of values": lambda c: {"uncertainty": "value", **long_rollouts(c)},
    "rollouts of 100 steps, u of values, floored targets": lambda c: {
        "uncertainty": "value",
        "sac": {"floor_targets": 0.05},
        **long_rollouts(c),
    },
    "a third of the offline epochs": lambda c: {"offline": {"epochs": c.offline.epochs // 3}},
    "four times the offline epochs": lambda c: {"offline": {"epochs": 4 * c.offline.epochs}},
    "offline until it stands still": {
        "offline": {"epochs": 200, "patience": 10, "tolerance": 0.02}
    },
    "discount 0.99": {"sac": {"discount": 0.99}},
    "averaged actor": {"sac": {"average_rate": 0.001}},
    "layer norm": {"sac": {"layer_norm": True}},
    "gate of episodes, offline too": {"gate": {"enabled": True, "penalised": False}},
    "floored targets": {"sac": {"floor_targets": 0.05}},
    "clipped targets": {"sac": {"clip_targets": 0.95}},
    "five critics, two judge": {"sac": {"critics": 5, "critic_subset": 2}},
    "calibrated sigma": {"model": {"calibrate": True}},
    "penalty covers 90%": {"penalty_coverage": 0.9},
    "rollouts end at u's 95%": {"trust_quantile": 0.95},
    "no penalty": {"penalty_coef": 0.0},
}
OPTIONS = ONLINE | BOTH
COLUMNS = (
    "offline",
    "swing_share",
    "dip_share",
    "behaviour_dip_share",
    "final",
    "auc",
    "epochs_to_threshold",
)
# Of every online epoch, 0 being the hand-over: metrics.jsonl's names.
CURVES = (
    "eval/return",
    "losses/q_target",
    "losses/q_target_max",
    "losses/q_possible",
    "model/new_z",
    "model/uncertainty_mean",
    "model/holdout_mse",
    "model/episode_steps",
)


def with_option(name: str, plain: Config) -> Config:
    """The configuration with that option."""
    settings = OPTIONS[name]
    return from_dict(settings(plain) if callable(settings) else settings, base=plain)


def finished(folder: Path, config: Config, stages: str = "both", start: Path | None = None) -> Path:
    """The folder of a run, made now or earlier; begun and stopped, it goes on."""
    cell = Cell(str(folder), asdict(config), stages, None if start is None else str(start))
    if not cell.done:
        run_cell(cell)
    return folder


def transfer(folder: Path) -> list[float]:
    summary = json.loads((folder / "summary.json").read_text())
    found = summary["transfer"] | {"swing_share": summary["offline"]["swing_share"]}
    return [found[column] for column in COLUMNS]


def curves(folder: Path) -> list[list]:
    """Epoch, acting return, real steps of an evaluation episode, CURVES; a row an online epoch."""
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["stage"] == "online"]
    return [
        [
            row["epoch"],
            mean_of(row.get("online/episode_returns")),
            mean_of(row.get("eval/lengths")),
            *(row.get(column) for column in CURVES),
        ]
        for row in rows
    ]


def mean_of(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--dataset", help="the log; by default the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(8))
    parser.add_argument("--epochs", type=int, help="online epochs; by default the preset's")
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=OPTIONS, metavar="OPTION")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    base = preset(args.preset, algorithm="moore")
    base = replace(base, dataset=args.dataset or base.dataset)
    base = replace(base, online=replace(base.online, epochs=args.epochs or base.online.epochs))
    same = [name for name in args.only if name != "as it is" and with_option(name, base) == base]
    if same:
        print(f"left out, as {args.preset} has it already: {', '.join(same)}")
    factors, epochs = [], []
    for name in (name for name in args.only if name not in same):
        for seed in args.seeds:
            plain = replace(base, seed=seed)
            stages, start = "both", None
            if name in ONLINE:
                stages, start = "online", finished(args.out / f"offline__{seed}", plain, "offline")
            folder = args.out / f"{name.replace(' ', '-')}__{seed}"
            finished(folder, with_option(name, plain), stages, start)
            factors.append([args.preset, name, seed, *transfer(folder)])
            epochs += [[args.preset, name, seed, *row] for row in curves(folder)]
            print(*(f"{x:.2f}" if isinstance(x, float) else x for x in factors[-1][1:]), flush=True)
        # Each option compiles its own programs; those of all would exhaust a process's memory maps.
        jax.clear_caches()
    heads = ["preset", "option", "seed"]
    write(args.out / "factors.csv", [[*heads, *COLUMNS], *factors])
    heads += ["epoch", "acting_return", "eval_steps", *(name.replace("/", "_") for name in CURVES)]
    write(args.out / "curves.csv", [heads, *epochs])


def write(path: Path, rows: list[list]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)


if __name__ == "__main__":
    main()
