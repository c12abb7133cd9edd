"""The offline stage with the known termination rule and with a learned one, over seeds.

    python benchmarks/termination.py hopper-medium-replay.hdf5 --seeds 0 1 2 --out termination.csv

Each run is MOPO alone, from a preset: by default `quickstart`, whose sizes are for minutes on two
cores. The CSV has one line a seed and rule, written as soon as the run is over: the return of the
last evaluation, the returns of its episodes, and how the learned rule did on held-out episodes.
"""

import argparse
import csv
import sys
import time
import tomllib
from pathlib import Path

import moore
from moore.config import Config, from_dict
from moore.errors import InputError

COLUMNS = ("dataset", "env_id", "rule", "seed", "return", "score", "returns", "precision")
COLUMNS += ("recall", "terminals", "fit_seconds", "seconds")


def configuration(chosen: argparse.Namespace, rule: str, seed: int) -> Config:
    """The preset with the log, the environment, the rule, the seed, and what --set says."""
    base = from_dict(
        {
            "dataset": chosen.dataset,
            "env_id": chosen.env_id,
            "termination": rule,
            "seed": seed,
        },
        base=moore.preset(chosen.preset),
    )
    for setting in chosen.set:
        try:
            base = from_dict(tomllib.loads(setting), base=base)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"--set {setting!r} is no TOML ({error}); give NAME=VALUE.") from None
    return base


def measure(config: Config, out: Path) -> dict:
    """One offline stage, as a line of the CSV."""
    start = time.perf_counter()
    summary = moore.run(config, out=out, stages="offline", quiet=True).summary
    learned = summary.get("termination") or {}
    test = learned.get("test") or {}
    return {
        "dataset": config.dataset,
        "env_id": summary["env_id"],
        "rule": config.termination,
        "seed": config.seed,
        "return": round(summary["offline"]["return"], 2),
        "score": summary["offline"].get("score"),
        "returns": " ".join(f"{value:.1f}" for value in summary["offline"]["returns"]),
        "precision": test.get("precision"),
        "recall": test.get("recall"),
        "terminals": test.get("terminals"),
        "fit_seconds": learned.get("seconds"),
        "seconds": round(time.perf_counter() - start, 1),
    }


def options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("dataset", help="path.hdf5, path.npz, minari:ID or builtin:NAME")
    add("--env-id", default="", help="by default the one that the log names")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--rules", nargs="+", default=["auto", "learned"], help="values of --termination")
    add("--preset", default="quickstart")
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting in TOML, such as offline.epochs=50; can be given again",
    )
    add("--runs", type=Path, default=Path("runs/termination"), help="folder for the run folders")
    add("--out", type=Path, default=Path("termination.csv"))
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    try:
        grid = [
            (rule, seed, configuration(chosen, rule, seed))
            for seed in chosen.seeds
            for rule in chosen.rules
        ]
        with open(chosen.out, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for rule, seed, config in grid:
                line = measure(config, chosen.runs / f"{rule.replace(':', '.')}-{seed}")
                writer.writerow(line)
                file.flush()
                print(f"{rule}, seed {seed}: return {line['return']}, {line['seconds']} s")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
