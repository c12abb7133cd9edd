"""How long `act` and `observe` of a session take, in every mode, and beside a learner process.

    python benchmarks/session_latency.py
    python benchmarks/session_latency.py --learner process --picture docs/images/session-latency.png

A policy of HalfCheetah's size (17 observations, 6 actions, two layers of 256) acts on made-up
numbers. By default nothing learns, and it acts alone and beside a controller that ran before: a
function, with interlocks, a bounded rate of transfers, a guard of returns and of a signal, and a
loss budget. With `--learner process` it acts alone, while nothing learns and while a learner
process has more to do than it can. Times are of the clock on the wall, and of this thread's own
work, which other processes on the machine do not lengthen.
"""

import argparse
import os
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
WHILE = {"alone": "nothing learns"}
APART = "another process learns"


def finished_run(folder: Path, budget: float | None) -> Path:
    """A run whose offline stage is over at once."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(ROWS + 1, OBS)).astype(np.float32)
    ends = np.arange(ROWS) % 100 == 99
    np.savez(
        folder / "log.npz", obs=obs[:-1], next_obs=obs[1:], reward=rng.normal(size=ROWS),
        action=rng.uniform(-1, 1, (ROWS, ACTIONS)), terminated=np.zeros(ROWS, bool), truncated=ends,
    )  # fmt: skip
    config = moore.Config(algorithm="iql", dip_budget=budget)
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
    if mode == APART:
        return {"learner": "process"}
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


def drive(session: moore.Session, seconds: float, period: float) -> np.ndarray:
    """Acts once in every period; (steps, 2 calls, 2 clocks) in seconds."""
    told = {} if session.mode is None else {"signals": {"heat": 1.0}}
    rng, times, begun = np.random.default_rng(1), [], time.perf_counter()
    while (now := time.perf_counter() - begun) < seconds:
        time.sleep(max(len(times) * period - now, 0.0))
        obs, next_obs = rng.normal(size=(2, OBS))
        marks = [(time.perf_counter(), time.thread_time())]
        session.act(obs)
        marks.append((time.perf_counter(), time.thread_time()))
        ends = len(times) % 100 == 99
        session.observe(reward=0.0, next_obs=next_obs, truncated=ends, **told)
        marks.append((time.perf_counter(), time.thread_time()))
        times.append(np.diff(marks, axis=0))
    return np.asarray(times)


def measured(run: Path, mode: str, seconds: float, period: float) -> np.ndarray:
    """The times of a new session; beside a learner process, from its first policy on."""
    out = run.with_name(f"session-{mode.replace(' ', '-')}")
    with moore.Session.from_run(run, out, accept=("hand-over",), **beside(mode)) as session:
        while mode == APART and not session.learner.published:
            drive(session, 1.0, period)
        before = session.learner
        times = drive(session, seconds, period)
        now = session.learner
    if mode == APART:
        print(f"{len(times)} steps; meanwhile {now.updates - before.updates} updates, ", end="")
        print(f"{now.published - before.published} new policies; {now.due} updates are due")
    return times


def picture(found: dict[str, np.ndarray], path: Path) -> None:
    """Histograms of the time that `act` takes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.0, 2.6), layout="constrained")
    edges = np.geomspace(0.03, 30.0, 91)
    for mode, times in found.items():
        taken = np.clip(1e3 * times[:, 0, 0], edges[0], edges[-1])
        axes.hist(taken, edges, histtype="step", log=True, label=WHILE.get(mode, mode))
    for limit in (1.0, 5.0):
        axes.axvline(limit, color="0.7", linewidth=0.8)
    axes.set(xscale="log", xlabel="time of act, in ms (grey: 1 and 5)", ylabel="number of steps")
    axes.set_title(
        "How long an action takes, whoever learns meanwhile", loc="left", fontsize="medium"
    )
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="time of each session")
    parser.add_argument("--period", type=float, default=0.005, help="seconds from step to step")
    parser.add_argument("--learner", choices=("call", "process"), default="call")
    parser.add_argument("--modes", nargs="+", choices=MODES, help="all, or alone with a process")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    apart = args.learner == "process"
    modes = [*(args.modes or (MODES[:1] if apart else MODES)), *([APART] if apart else [])]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load averages {load}")
    with tempfile.TemporaryDirectory() as place:
        run = finished_run(Path(place), None if apart else 0.1)
        found = {mode: measured(run, mode, args.seconds, args.period) for mode in modes}
    print("\n| mode | call | clock | median | 99% | 99.9% |\n|---|---|---|---|---|---|")
    for mode, times in found.items():
        for place, call in enumerate(("act", "observe")):
            for clock, name in enumerate(("wall", "own work")):
                column = 1e3 * times[:, place, clock]
                cells = " | ".join(f"{value:.2f} ms" for value in np.quantile(column, SHARES))
                print(f"| {mode} | `{call}` | {name} | {cells} |")
    if args.picture is not None:
        picture(found, args.picture)


if __name__ == "__main__":
    main()
