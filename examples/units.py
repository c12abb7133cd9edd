"""The quick tasks in other units: every algorithm's curve is the same within its seeds.

    python examples/units.py --out runs/units
    python examples/units.py --algorithms moore awac --seeds 0 --epochs 2 --out runs/first-look

Rewards are multiplied by 1e-3, 1 and 1e4, then observations, in the log and in the environment
alike. Every run is a run folder below OUT; run again, the script goes on where it stopped. Writes
OUT/units.csv, a line an evaluation, returns divided by the factor of the rewards; and prints, for
each task and algorithm, the mean of the last evaluations of each stage in every unit.

--as-given switches standardised observations and scaled rewards off, for comparison.
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

from moore.algorithms import ALGORITHMS
from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.termination import inverted_pendulum
from moore.formats.load import load_dataset
from moore.presets import preset
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run

TASKS = {"pendulum": "Pendulum-v1", "inverted-pendulum": "InvertedPendulum-v5"}
# Factors of rewards and observations.
UNITS = ((1.0, 1.0), (1e-3, 1.0), (1e4, 1.0), (1.0, 1e-3), (1.0, 1e4))
COLUMNS = (
    *("task", "algorithm", "seed", "rewards", "observations", "settings"),
    *("stage", "epoch", "env_steps", "eval_return"),
)


def _ends_in(factor: float):
    """The pendulum's rule for a user whose observations are so many times larger."""

    def ends(obs, action, next_obs):
        return inverted_pendulum(obs, action, next_obs / factor)

    return ends


# A configuration names a rule by its module and name.
ends_in_thousands, ends_as_known, ends_in_tenthousandths = map(_ends_in, (1e-3, 1.0, 1e4))
RULES = {1e-3: "ends_in_thousands", 1.0: "ends_as_known", 1e4: "ends_in_tenthousandths"}


def env_in(env_id: str, reward: float, obs: float) -> gym.Env:
    """The environment, told in other units."""
    env = gym.make(env_id)
    space = env.observation_space
    told = gym.spaces.Box(space.low * obs, space.high * obs, dtype=space.dtype)
    env = gym.wrappers.TransformObservation(env, lambda x: (x * obs).astype(x.dtype), told)
    return gym.wrappers.TransformReward(env, lambda r: reward * r)


def log_in(log: Dataset, reward: float, obs: float) -> Dataset:
    """The log, told so; it names no environment, whose rule and scores are in the usual units."""
    return replace(
        log,
        obs=(log.obs * np.float64(obs)).astype(np.float32),
        next_obs=(log.next_obs * np.float64(obs)).astype(np.float32),
        reward=(log.reward * np.float64(reward)).astype(np.float32),
        episode_returns=log.episode_returns * reward,
        env_id=None,
        reference=None,
        sha256=f"{log.sha256}, rewards {reward:g}, observations {obs:g}",
    )


def config_for(task: str, algorithm: str, seed: int, obs: float, args) -> Config:
    config = preset(f"quick/{task}", algorithm=algorithm)
    rule = "never" if task == "pendulum" else f"units:{RULES[obs]}"
    # No result depends on the diagnostics, and they take time.
    config = replace(config, env_id="", seed=seed, termination=rule, diagnostics=False)
    config = replace(config, accept=("hand-over",))  # both stages, whatever comes out of the first
    if args.as_given:
        config = replace(config, standardise_obs=False, scale_rewards=False)
    if args.epochs is None:
        return config
    offline = replace(config.offline, epochs=min(config.offline.epochs, args.epochs))
    return replace(config, offline=offline, online=replace(config.online, epochs=args.epochs))


def run_once(config: Config, log: Dataset, env_id: str, units: tuple, folder: Path) -> list[dict]:
    """The evaluations of a run, which is made, finished or found."""

    def env() -> gym.Env:
        return env_in(env_id, *units)

    uses_log = ALGORITHMS[config.algorithm].uses_log
    given = {"dataset": log_in(log, *units)} if uses_log else {}
    if not (folder / "checkpoints" / "plan.json").exists():
        run(config if uses_log else replace(config, dataset=""), **given, env=env, out=folder)
    elif not (folder / "summary.json").exists():
        resume(folder, **given, env=env)
    return [row for row in read_metrics(folder / "metrics.jsonl") if "eval/return" in row]


def lines_of(args) -> list[dict]:
    """One an evaluation."""
    lines = []
    runs = [(seed, *units) for seed in args.seeds for units in UNITS]
    runs += [(seed, 1.0, 1.0) for seed in args.more_seeds]
    for task in args.tasks:
        log = load_dataset(preset(f"quick/{task}").dataset)
        for algorithm in args.algorithms:
            for seed, reward, obs in runs:
                name = f"{task}__{algorithm}__{seed}__{reward:g}__{obs:g}"
                name += "__as-given" if args.as_given else ""
                config = config_for(task, algorithm, seed, obs, args)
                rows = run_once(config, log, TASKS[task], (reward, obs), args.out / name)
                about = (task, algorithm, seed, f"{reward:g}", f"{obs:g}")
                settings = "as given" if args.as_given else "standardised and scaled"
                for row in rows:
                    told = row["stage"], row["epoch"], row["env_steps"]
                    values = (*about, settings, *told, f"{row['eval/return'] / reward:.6g}")
                    lines.append(dict(zip(COLUMNS, values, strict=True)))
    return lines


def table(lines: list[dict]) -> str:
    """Means over seeds of the last evaluation of each stage, in every unit; and their deviation."""
    last: dict[tuple, dict] = {}
    for line in lines:
        names = ("task", "algorithm", "stage", "rewards", "observations", "seed")
        last[tuple(line[name] for name in names)] = line
    cells = defaultdict(lambda: defaultdict(list))
    for (*row, rewards, obs, _), line in last.items():
        cells[tuple(row)][rewards, obs].append(float(line["eval_return"]))
    units = [(f"{reward:g}", f"{obs:g}") for reward, obs in UNITS]
    text = ["task, algorithm, stage: mean (sd over seeds) with rewards x, observations x"]
    text.append("  ".join(["".ljust(44), *(f"{r} x, {o} x".rjust(18) for r, o in units)]))
    for row, values in cells.items():
        told = (f"{np.mean(values[u]):.1f} ({np.std(values[u]):.1f})".rjust(18) for u in units)
        text.append("  ".join([", ".join(row).ljust(44), *told]))
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--algorithms", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--more-seeds",
        type=int,
        nargs="*",
        default=[],
        help="run in the usual units alone, to see how much seeds differ",
    )
    parser.add_argument("--epochs", type=int, help="of each stage, at most; for a first look")
    parser.add_argument("--as-given", action="store_true", help="neither standardised nor scaled")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    lines = lines_of(args)
    with open(args.out / "units.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(lines)
    print(table(lines))


if __name__ == "__main__":
    main()
