"""How long `act` and `observe` of a session take, while nothing learns.

    python benchmarks/session_latency.py --steps 5000

A policy of HalfCheetah's size (17 observations, 6 actions, two layers of 256) acts on made-up
numbers. Times are of the clock on the wall, and of this thread's own work, which other processes
on the machine do not lengthen.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import moore

OBS, ACTIONS, ROWS = 17, 6, 400
SHARES = (0.5, 0.99, 0.999)


def finished_run(folder: Path) -> Path:
    """A run whose offline stage is over at once."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(ROWS + 1, OBS)).astype(np.float32)
    ends = np.arange(ROWS) % 100 == 99
    np.savez(
        folder / "log.npz", obs=obs[:-1], next_obs=obs[1:], reward=rng.normal(size=ROWS),
        action=rng.uniform(-1, 1, (ROWS, ACTIONS)), terminated=np.zeros(ROWS, bool), truncated=ends,
    )  # fmt: skip
    config = moore.Config(algorithm="iql")
    config = replace(
        config,
        offline=replace(config.offline, epochs=1, updates_per_epoch=1),
        evaluation=replace(config.evaluation, episodes=0),
    )
    plant = moore.PlantSpec(OBS, [-1.0] * ACTIONS, [1.0] * ACTIONS, episode_steps=100)
    how = {"stages": "offline", "quiet": True, "out": folder / "run"}
    return moore.run(config, dataset=folder / "log.npz", env=plant, **how).folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5000)
    steps = parser.parse_args().steps
    times = {name: np.zeros((steps, 2)) for name in ("act", "observe")}
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        run = finished_run(Path(place))
        session = moore.Session.from_run(run, Path(place) / "session", accept=("hand-over",))
        for step in range(steps):
            obs, next_obs = rng.normal(size=(2, OBS))
            marks = [(time.perf_counter(), time.thread_time())]
            session.act(obs)
            marks.append((time.perf_counter(), time.thread_time()))
            session.observe(reward=0.0, next_obs=next_obs, truncated=step % 100 == 99)
            marks.append((time.perf_counter(), time.thread_time()))
            times["act"][step], times["observe"][step] = np.diff(marks, axis=0)
        session.close()
    print("| call | clock | median | 99% | 99.9% |\n|---|---|---|---|---|")
    for name, found in times.items():
        for clock, column in zip(("wall", "own work"), 1e3 * found.T, strict=True):
            cells = " | ".join(f"{value:.2f} ms" for value in np.quantile(column, SHARES))
            print(f"| `{name}` | {clock} | {cells} |")


if __name__ == "__main__":
    main()
