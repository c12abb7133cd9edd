"""Which part of a log to clone: what clones of several parts earn.

    python examples/clone_parts.py quick/pendulum quick/inverted-pendulum --out parts.csv
    python examples/clone_parts.py laptop/hopper-medium=hopper-medium.hdf5 \
        laptop/halfcheetah-medium-expert=medium.hdf5,expert.hdf5 --seeds 100 101 --out parts.csv

Each argument is a preset, which names environment and network, and where it has no log a log. The
parts are the rule of `moore.data.better_part`, and the best episodes that hold a tenth, a quarter,
a half and all of the rows. Every clone acts in ten episodes without noise. Writes a line a clone;
lines that are in the file already are not computed again.
"""

import argparse
import csv
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from moore.agents.bc import BCConfig
from moore.experience.part import part_of
from moore.jax_settings import key_of
from moore.presets import preset
from moore.runs.setup import Evaluator, Setup, prepare
from moore.stages.clone import fit_clone

PARTS = {"rule": None, "tenth": 0.1, "quarter": 0.25, "half": 0.5, "all": 1.0}
EPISODES = 10
COLUMNS = (
    *("task", "seed", "part", "rows", "episodes", "part_return", "part_sd", "log_return"),
    *("clone_return", "clone_sd", "clone_steps", "score", "explained", "updates", "seconds"),
    "too_poor",
)


def ready(task: str, dataset: str, seed: int) -> Setup:
    """Log, environments and units of a task."""
    config = preset(task)
    config = replace(config, seed=seed, dataset=dataset or config.dataset)
    return prepare(replace(config, evaluation=replace(config.evaluation, episodes=EPISODES)))


def measure(setup: Setup, evaluator: Evaluator, part: str, seed: int) -> dict:
    """A line of the table."""
    began = time.perf_counter()
    chosen = part_of(setup.learner.offline, share=PARTS[part])
    settings = BCConfig(hidden=setup.config.sac.hidden)
    clone = fit_clone(setup.learner.offline, chosen, key_of(seed), settings)
    seconds = time.perf_counter() - began
    found = evaluator.deterministic(clone.actor)
    earned = setup.units.reward_out
    return {
        "part": part,
        "rows": len(chosen.rows),
        "episodes": len(chosen.returns),
        "part_return": earned(chosen.mean_return),
        "part_sd": earned(chosen.sd_return),
        "log_return": earned(chosen.log_return),
        "clone_return": found.mean_return,
        "clone_sd": float(np.std(found.returns)),
        "clone_steps": float(np.mean(found.lengths)),
        "score": setup.reference.score(found.mean_return),
        "explained": clone.explained,
        "updates": clone.updates,
        "seconds": seconds,
        "too_poor": int(bool(clone.too_poor)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", metavar="PRESET[=LOG]")
    parser.add_argument("--seeds", type=int, nargs="+", default=(100, 101))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=tuple(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    lines = list(csv.DictReader(args.out.open())) if args.out.exists() else []
    known = {(line["task"], int(line["seed"]), line["part"]) for line in lines}
    for task, _, dataset in (given.partition("=") for given in args.tasks):
        for seed in args.seeds:
            missing = [part for part in args.parts if (task, seed, part) not in known]
            if not missing:
                continue
            setup = ready(task, dataset, seed)
            evaluator = Evaluator(setup)
            for part in missing:
                found = measure(setup, evaluator, part, seed)
                lines.append({"task": task, "seed": seed} | found)
                write(args.out, lines)
                print(task, seed, *(shown(name, x) for name, x in found.items()), flush=True)
            evaluator.close()


def shown(name: str, value: object) -> str:
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"


def write(path: Path, lines: list[dict]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(
            {name: f"{x:.6g}" if isinstance(x, float) else x for name, x in line.items()}
            for line in lines
        )


if __name__ == "__main__":
    main()
