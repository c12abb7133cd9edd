"""What a hand-over changes, one thing at a time: dips of a quick task under each option alone.

    python examples/handover_factors.py quick/inverted-pendulum --out runs/factors

Options of the online stage start from one offline stage a seed; the others train their own. Every
run is a run folder below OUT; run again, it goes on where it stopped. Writes OUT/factors.csv.
Sampling schemes are not among them: `moore reproduce fig2 --scale quick` compares those.
"""

import argparse
import csv
import json
from dataclasses import replace
from pathlib import Path

import jax

import moore
from moore.config import Config, from_dict
from moore.presets import preset
from moore.runs.run import run

# Over the preset, online alone.
ONLINE = {
    "as it is": {},
    "D_model starts full": {"online": {"start_full": True}},
    "five epochs retained": {"online": {"retain_epochs": 5}},
    "four times the rollouts": {"online": {"rollout_batch": 10_000}},
    "5% real rows": {"online": {"real_ratio": 0.05}},
    "refits to 2000 steps": {"model": {"max_refit_steps": 2000}},
    "refits from the last weights": {"model": {"warm_start": "last"}},
    "normaliser of the log": {"model": {"refit_normaliser": False}},
    "a colder policy": {"sac": {"target_entropy": -3.0}},
    "a warmer policy": {"sac": {"target_entropy": 0.0}},
    "half the updates": {"online": {"updates_per_step": 1}},
    "four times the updates": {"online": {"updates_per_step": 8}},
    "gate of 50 steps": {"gate": {"enabled": True, "horizon": 50, "rollouts": 1000}},
    "gate of episodes": {"gate": {"enabled": True, "penalised": False}},
    "gate of what was earned": {"gate": {"enabled": True, "penalised": False, "earned": True}},
}
# As many imagined steps as in the quick presets, in rollouts of 100.
LONG = {
    "rollout_length": 100,
    "offline": {"rollout_batch": 250},
    "online": {"rollout_batch": 125},
}
# From the beginning.
BOTH = {
    "rollouts of 100 steps": LONG,
    "u of values": {"uncertainty": "value"},
    "rollouts of 100 steps, u of values": {"uncertainty": "value", **LONG},
    "rollouts of 100 steps, u of values, floored targets": {
        "uncertainty": "value",
        "sac": {"floor_targets": 0.05},
        **LONG,
    },
    "a third of the offline epochs": {"offline": {"epochs": 5}},
    "four times the offline epochs": {"offline": {"epochs": 60}},
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
COLUMNS = ("offline", "dip_share", "behaviour_dip_share", "final", "auc", "epochs_to_threshold")


def finished(folder: Path, config: Config, start: Path | None) -> dict:
    """The transfer metrics of a run, made now or earlier."""
    if not (folder / "summary.json").exists():
        if (folder / "checkpoints" / "plan.json").exists():
            moore.resume(folder, quiet=True)
        else:
            stages = "both" if start is None else "online"
            run(config, out=folder, stages=stages, start_from=start, quiet=True)
    return json.loads((folder / "summary.json").read_text())["transfer"]


def offline_stage(config: Config, out: Path) -> Path:
    """The one that the options of the online stage share, made now or earlier."""
    folder = out / f"offline__{config.seed}"
    if not (folder / "summary.json").exists():
        run(config, out=folder, stages="offline", quiet=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(8))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rows = []
    for name, settings in (ONLINE | BOTH).items():
        for seed in args.seeds:
            plain = replace(preset(args.preset), seed=seed, diagnostics=False)
            start = offline_stage(plain, args.out) if name in ONLINE else None
            folder = args.out / f"{name.replace(' ', '-')}__{seed}"
            found = finished(folder, from_dict(settings, base=plain), start)
            rows.append([name, seed, *(found[column] for column in COLUMNS)])
            print(name, seed, *(f"{found[column]:.2f}" for column in COLUMNS[:4]), flush=True)
        # Each option compiles its own programs; those of all would exhaust a process's memory maps.
        jax.clear_caches()
    with open(args.out / "factors.csv", "w", newline="") as file:
        csv.writer(file).writerows([["option", "seed", *COLUMNS], *rows])


if __name__ == "__main__":
    main()
