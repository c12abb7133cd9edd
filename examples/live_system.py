"""From a log to a live system, without a simulator: the policy learns offline, then acts.

    python examples/live_system.py --out runs/plant

Put your own system in place of `Plant`, your log and its presets in place of the quickstart's. The
offline stage makes the system once, to read its bounds, and does not step it. Online nothing but
the acting policy touches it. Run again after an interruption, it goes on after the last whole
epoch; what the rule has ended is over.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np

import moore
from moore.runs.folder import read_metrics


class Plant(gym.Env):
    """Stands for the system; here a simulated pendulum."""

    observation_space = gym.spaces.Box(-8.0, 8.0, (3,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)  # what the actuators may do

    def __init__(self):
        self._pendulum = gym.make("Pendulum-v1").unwrapped

    def reset(self, *, seed=None, options=None):
        """Brings the system to its start, and returns when it is there."""
        return self._pendulum.reset(seed=seed)

    def step(self, action):
        """One control interval: acts, waits, reads. Between two calls the networks learn."""
        return self._pendulum.step(action)

    def close(self):
        """Leaves the system safe: called at the end, on Ctrl-C and on an error."""
        self._pendulum.close()


def make_plant() -> gym.Env:
    return gym.wrappers.TimeLimit(Plant(), max_episode_steps=200)


def is_low(metrics: dict, lowest: float) -> bool:
    returns = metrics["online/episode_returns"]
    return bool(returns) and sum(returns) / len(returns) < lowest


def worse_twice(lowest: float, folder: Path) -> Callable[[dict, object], bool]:
    """Ends a run whose acting policy earns less than `lowest` in two epochs in a row.

    Of a run that was interrupted the epochs in its folder count too.
    """
    logged = folder / "metrics.jsonl"
    rows = read_metrics(logged) if logged.exists() else []
    low = [is_low(row, lowest) for row in rows if row["stage"] == "online"]

    def until(metrics: dict, state: object) -> bool:
        low.append(is_low(metrics, lowest))
        return low[-2:] == [True, True]

    return until


def stage(folder: Path, config: moore.Config, **arguments) -> dict:
    """The summary of one stage: begun, gone on with after an interruption, or over."""
    if (folder / "summary.json").exists():
        return json.loads((folder / "summary.json").read_text())
    if (folder / "checkpoints" / "plan.json").exists():
        until = arguments.get("until")
        return moore.resume(folder, env=make_plant, until=until).summary
    return moore.run(config, env=make_plant, out=folder, **arguments).summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--lowest", type=float, default=-1500.0, help="ends the run, twice in a row"
    )
    args = parser.parse_args()
    offline, online = args.out / "offline", args.out / "online"
    config = moore.preset("quickstart")
    config = replace(config, evaluation=replace(config.evaluation, episodes=0))
    stage(offline, config, stages="offline")
    until = worse_twice(args.lowest, online)
    summary = stage(online, config, stages="online", start_from=offline, until=until)
    print(summary["acting"])


if __name__ == "__main__":
    main()
