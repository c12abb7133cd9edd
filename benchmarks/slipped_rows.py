"""How often an honest log is said to have slipped by a row, and how often a slip is found.

    python benchmarks/slipped_rows.py --out docs/results/slipped-rows.csv
    python benchmarks/slipped_rows.py --first 0 --seeds 20      # the seeds to tune the check with

Each line of the CSV is a kind of system at one length: `logs` of that many systems, each from a
seed of its own. `actions` and `rewards` are the shares of the logs as they are that are said to
have slipped, `to_go` of those whose rewards are said to be returns to go; a `dead_time` that is
named with its true number of rows is none of these, and is counted under `dead_time_told`. The
others are shares found, with the right direction, once a column was moved by a row: `action_late`,
`action_early`, `reward_late`, `reward_early`, or once rewards were summed: `summed`. Seeds below
1000 were looked at while the check was made; what is reported begins at 10,000.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import slipped_systems as systems
from slipped_systems import Rng, linear

from moore.data.log import Log
from moore.findings.shifts import summarize_shifts

Make = Callable[[Rng, int, int], Log]  # (rng, rows, steps of an episode)
LENGTHS = {500: 50, 2000: 100, 6_000: 150}  # rows: steps of an episode
REPORTED = 10_000  # the first seed


def _of(make: Callable, **how: object) -> Make:
    def log(rng: Rng, rows: int, length: int) -> Log:
        drawn = {k: v(rng) if callable(v) else v for k, v in how.items()}
        return systems.logged(make(rng, **drawn), rng, rows, length)

    return log


def _tank(rng: Rng, rows: int, length: int) -> Log:
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "plant"))
    from tank import Tank

    tank, columns = Tank(int(rng.integers(2**31))), ([], [], [], [])
    gain, loud, seen = rng.uniform(1, 6), rng.uniform(2, 20), np.array(tank.read())
    for _ in range(rows):
        action = np.clip([gain * (seen[4] - seen[0]) + loud * rng.normal()], -100, 100)
        tank.run(float(action[0]))
        after = np.array(tank.read())
        reward = -abs(after[0] - seen[4]) - 0.01 * abs(action[0])
        for column, value in zip(columns, (seen, action, reward, after), strict=True):
            column.append(value)
        seen = after
    return systems.made_log(*columns, length=length)


def _random_rewards(rng: Rng, rows: int, length: int) -> Log:
    system = linear(rng, controller=str(rng.choice(["feedback", "white"])))
    return systems.logged(replace(system, reward=lambda *_: float(rng.normal())), rng, rows, length)


def _sparse_rewards(rng: Rng, rows: int, length: int) -> Log:
    system = linear(rng)
    return systems.logged(
        replace(system, reward=lambda x, u: float(abs(x[0]) < 0.1)), rng, rows, length
    )


SLOW, FAST = (0.97, 0.999), (0.2, 0.9)
NOISY = partial(Rng.uniform, low=0.05, high=0.5)
SOME = lambda rng: int(rng.integers(1, 5))  # noqa: E731
KINDS: dict[str, Make] = {
    "linear, feedback": _of(linear),
    "linear, fast": _of(linear, speed=FAST),
    "linear, slow": _of(linear, speed=SLOW),
    "linear, slow, white actions": _of(linear, speed=SLOW, controller="white"),
    "linear, white actions": _of(linear, controller="white"),
    "linear, held actions": _of(linear, controller="held"),
    "linear, constant actions": _of(linear, controller="constant"),
    "linear, exact controller": _of(linear, controller="exact"),
    "linear, no noise at all": _of(linear, controller="exact", noise=0.0),
    "linear, noisy sensors": _of(linear, sensor=NOISY),
    "linear, white, noisy sensors": _of(linear, controller="white", sensor=NOISY),
    "linear, half hidden": _of(linear, hidden=True),
    "dead time, feedback": _of(linear, dead_time=SOME),
    "dead time, white actions": _of(linear, controller="white", dead_time=SOME),
    "dead time, held actions": _of(linear, controller="held", dead_time=SOME),
    "dead time, exact controller": _of(linear, controller="exact", dead_time=SOME),
    "oscillators": _of(systems.swinging),
    "controller of changes": _of(systems.answers_changes),
    "controller of changes, exact sensors": _of(systems.answers_changes, sensor=0.0),
    "controller that integrates": _of(systems.integrates),
    "slow valve, seen": _of(systems.with_actuator, seen=True),
    "slow valve, not seen": _of(systems.with_actuator, seen=False),
    "Pendulum, white actions": partial(systems.gym_log, "Pendulum-v1"),
    "Pendulum, held actions": partial(systems.gym_log, "Pendulum-v1", held=10),
    "mountain car, held actions": partial(
        systems.gym_log, "MountainCarContinuous-v0", held=20
    ),
    "tank of examples/plant": _tank,
    "random rewards": _random_rewards,
    "sparse rewards": _sparse_rewards,
}  # fmt: skip
SLIPS = {
    "action_late": ("action", 1, "action_rows", -1),
    "action_early": ("action", -1, "action_rows", 1),
    "reward_late": ("reward", 1, "reward_rows", -1),
    "reward_early": ("reward", -1, "reward_rows", 1),
}
COLUMNS = (
    "system", "rows", "logs", "actions", "rewards", "to_go", "dead_time_told", *SLIPS, "summed"
)  # fmt: skip


def told_of(log: Log, length: int, dead_time: int = 0) -> dict[str, bool]:
    """What is said of a log as it is, and of it with a column moved; keys as in `COLUMNS`."""
    found = summarize_shifts(log, log.truncated)
    told = {
        "actions": found["action_rows"] not in (0, dead_time),
        "rewards": found["reward_rows"] != 0,
        "to_go": found["returns_to_go"],
        "dead_time_told": dead_time > 0 and found["action_rows"] == dead_time,
    }
    for name, (key, rows, result, expected) in SLIPS.items():
        moved = replace(log, **{key: np.roll(getattr(log, key), rows, axis=0)})
        expected += dead_time * (key == "action")
        told[name] = summarize_shifts(moved, log.truncated)[result] == expected != 0
    sums = np.cumsum(log.reward.reshape(-1, length)[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    told["summed"] = summarize_shifts(replace(log, reward=sums), log.truncated)["returns_to_go"]
    return told


def measure(kind: str, rows: int, seeds: range) -> dict[str, object]:
    """A line of the CSV."""
    results = []
    for seed in seeds:
        rng = np.random.default_rng([seed, rows])
        # The dead time is drawn by the kind; a second generator draws the same number.
        dead_time = 0
        if kind.startswith("dead time"):
            dead_time = SOME(np.random.default_rng([seed, rows]))
        log = KINDS[kind](rng, rows, LENGTHS[rows])
        results.append(told_of(log, LENGTHS[rows], dead_time))
    shares = {key: round(float(np.mean([r[key] for r in results])), 4) for key in results[0]}
    return {"system": kind, "rows": rows, "logs": len(results), **shares}


def main() -> None:
    """Writes the table, a line at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV; default: standard output")
    parser.add_argument("--seeds", type=int, default=40, help="systems of each kind and length")
    parser.add_argument("--first", type=int, default=REPORTED, help="the first seed")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--lengths", nargs="*", type=int, default=list(LENGTHS))
    asked = parser.parse_args()
    with open(asked.out, "w", newline="") if asked.out else sys.stdout as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for kind in asked.kinds:
            for rows in asked.lengths:
                seeds = range(asked.first, asked.first + asked.seeds)
                table.writerow(measure(kind, rows, seeds))
                file.flush()


if __name__ == "__main__":
    main()
