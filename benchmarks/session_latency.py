"""How long `act` and `observe` of a session take, while nothing learns.

    python benchmarks/session_latency.py --steps 5000

A policy of HalfCheetah's size (17 observations, 6 actions, two layers of 256) acts on made-up
numbers, alone and beside a controller that ran before: a function, with interlocks, a bounded rate
of transfers, a guard of returns and of a signal, and a loss budget. Times are of the clock on the
wall, and of this thread's own work, which other processes on the machine do not lengthen.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import moore
from moore.guarding.interlocks import Interlocks
from moore.guarding.signals import Limit
from moore.guarding.supervision import GuardSettings

OBS, ACTIONS, ROWS = 17, 6, 400
SHARES = (0.5, 0.99, 0.999)
MODES = ("alone", "off", "shadow", "canary", "on")


def finished_run(folder: Path) -> Path:
    """A run whose offline stage is over at once."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(ROWS + 1, OBS)).astype(np.float32)
    ends = np.arange(ROWS) % 100 == 99
    np.savez(
        folder / "log.npz", obs=obs[:-1], next_obs=obs[1:], reward=rng.normal(size=ROWS),
        action=rng.uniform(-1, 1, (ROWS, ACTIONS)), terminated=np.zeros(ROWS, bool), truncated=ends,
    )  # fmt: skip
    config = moore.Config(algorithm="iql", dip_budget=0.1)
    config = replace(
        config,
        offline=replace(config.offline, epochs=1, updates_per_epoch=1),
        evaluation=replace(config.evaluation, episodes=0),
    )
    plant = moore.PlantSpec(OBS, [-1.0] * ACTIONS, [1.0] * ACTIONS, episode_steps=100)
    how = {"stages": "offline", "quiet": True, "out": folder / "run"}
    return moore.run(config, dataset=folder / "log.npz", env=plant, **how).folder


def beside(mode: str) -> dict:
    """Arguments of a session in this mode."""
    if mode == "alone":
        return {}
    high, returns = np.ones(ACTIONS), np.random.default_rng(2).normal(size=50)
    return {
        "controller": lambda obs: np.tanh(obs[:ACTIONS]),
        "mode": mode,
        "guard": GuardSettings(returns=returns, limits=[Limit("heat", high=9.0)]),
        "interlocks": Interlocks(-high, high, rate=100.0 * high),
        "transfer_rate": 10.0,
    }


def measured(run: Path, folder: Path, mode: str, steps: int) -> dict[str, np.ndarray]:
    """Seconds of each call, on the wall and of this thread."""
    times = {name: np.zeros((steps, 2)) for name in ("act", "observe")}
    rng, how = np.random.default_rng(1), beside(mode)
    told = {"signals": {"heat": 1.0}} if how else {}
    with moore.Session.from_run(run, folder / mode, accept=("hand-over",), **how) as session:
        for step in range(steps):
            obs, next_obs = rng.normal(size=(2, OBS))
            marks = [(time.perf_counter(), time.thread_time())]
            session.act(obs)
            marks.append((time.perf_counter(), time.thread_time()))
            ends = step % 100 == 99
            session.observe(reward=0.0, next_obs=next_obs, truncated=ends, **told)
            marks.append((time.perf_counter(), time.thread_time()))
            times["act"][step], times["observe"][step] = np.diff(marks, axis=0)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    asked = parser.parse_args()
    print("| mode | call | clock | median | 99% | 99.9% |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        run = finished_run(Path(place))
        for mode in asked.modes:
            for name, found in measured(run, Path(place), mode, asked.steps).items():
                for clock, column in zip(("wall", "own work"), 1e3 * found.T, strict=True):
                    cells = " | ".join(f"{value:.2f} ms" for value in np.quantile(column, SHARES))
                    print(f"| {mode} | `{name}` | {clock} | {cells} |")


if __name__ == "__main__":
    main()
