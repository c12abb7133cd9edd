"""Puts the numbers of whole runs within a dip budget into one table, a row a run.

    python examples/safe_runs.py runs/a runs/b --out docs/results/safe-runs.csv

A row that is there already, of the same log, seed and online learner, is replaced. Runs need not be
finished.
"""

import argparse
import csv
from pathlib import Path

from moore.evaluation.transfer import transfer_metrics
from moore.numbers import finite
from moore.runs.folder import read_metrics

COUNTS = ("trials", "promoted", "demoted")


def row_of(folder: Path) -> dict:
    """The numbers of one run; returns and the budget are in units of reward."""
    rows = read_metrics(folder / "metrics.jsonl")
    offline = [row for row in rows if row["stage"] == "offline"]
    start, *online = (row for row in rows if row["stage"] == "online")
    handed_over, curve = start["eval/return"], [row["eval/return"] for row in online]
    acted = [finite(row.get("online/episode_returns")) for row in online]
    found = transfer_metrics(handed_over, curve, behaviour_returns=acted)
    first, last = offline[0], online[-1]
    return {
        "task": _task(folder),
        "seed": _setting(folder, "seed"),
        "online": "td3" if "losses/reach" in last else "ppo",
        "clone": first.get("clone/return"),
        "models_of_clone": first.get("clone/model_return"),
        "offline_epochs": offline[-1]["epoch"],
        "hand_over": handed_over,
        "online_epochs": last["epoch"],
        "last": curve[-1],
        "final": found["final"],
        "best": max(curve),
        "lowest": min(curve),
        "worst_episode": min(value for epoch in acted for value in epoch),
        **{name: int(last[f"budget/{name}"]) for name in COUNTS},
        "least_margin": last["budget/least_margin"],
        "state": "finished" if (folder / "summary.json").exists() else "stopped",
    }


def _key(row: dict) -> tuple[str, str, str]:
    return row["task"], str(row["seed"]), row["online"]


def _setting(folder: Path, name: str) -> str:
    """A setting at the top of config.toml, as text."""
    for line in (folder / "config.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name} = "):
            return line.split(" = ", 1)[1].strip('"')
    raise SystemExit(f"{folder}/config.toml has no {name}.")


def _task(folder: Path) -> str:
    """The log of a run, by the names of its files: two of one task make a medium-expert log."""
    names = [Path(name).stem for name in _setting(folder, "dataset").split(",")]
    if len(names) == 1:
        return names[0]
    return f"{names[0]}-{names[1].rsplit('-', 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    made = [row_of(folder) for folder in options.runs]
    kept = []
    if options.out.exists():
        with options.out.open(newline="", encoding="utf-8") as file:
            kept = list(csv.DictReader(file))
    new = {_key(row) for row in made}
    rows = [row for row in kept if _key(row) not in new] + made
    rows.sort(key=_key)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(made[0]), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(_rounded(row) for row in rows)


def _rounded(row: dict) -> dict:
    return {k: round(v, 1) if isinstance(v, float) else v for k, v in row.items()}


if __name__ == "__main__":
    main()
