"""The worst episode with the guard and without it, on the quick tasks.

    python benchmarks/guard_episodes.py --out guard-episodes.csv

On each task a clone of the log is the controller that ran before. Beside it acts, in the mode "on",
a policy that learned from the log for a moment only, and goes on learning between episodes. This is
done twice, from the same seeds: with a guard on returns, whose reference is the log, and without
one. So both are the same until the first alarm. A line an episode is written; variants that the
file has already are left out.
"""

import argparse
import csv
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym

import moore
from moore.guarding.guard import GuardAlarm
from moore.guarding.supervision import GuardSettings

TASKS = {"quick/pendulum": 14, "quick/inverted-pendulum": 14}
# Algorithm of the new policy, and its updates before it acts; BC makes those of the clone.
VARIANTS = {"cql": ("cql", 300), "iql": ("iql", 300), "clone": ("bc", 300)}
COLUMNS = ("task", "variant", "seed", "guard", "episode", "return", "steps", "actor", "alarm")
# Steps at most of an episode: what a core does in minutes.
LONGEST = 250


def offline(task: str, variant: str, folder: Path, seed: int) -> Path:
    """The folder of a run after its offline stage."""
    algorithm, updates = VARIANTS[variant]
    config = moore.preset(task, algorithm=algorithm)
    config = replace(
        config,
        seed=seed,
        offline=replace(config.offline, epochs=1, updates_per_epoch=updates),
        online=replace(config.online, updates_per_step=1),
        evaluation=replace(config.evaluation, episodes=1),
        diagnostics=False,
        accept=("hand-over",),
    )
    moore.run(config, out=folder, stages="offline", quiet=True)
    return folder


def acted(
    task: str, run: Path, old: Path, out: Path, guard: GuardSettings | None, seed: int
) -> Iterator[dict]:
    """What each episode earned, and who acted in it."""
    env = gym.make(moore.preset(task).env_id)
    with moore.Session.from_run(
        run, out, at="hand-over", accept=("hand-over",), controller=str(old), mode="on",
        guard=guard, seed=seed,
    ) as session:  # fmt: skip
        for episode in range(TASKS[task]):
            obs, _ = env.reset(seed=1000 * seed + episode)
            earned, steps, over = 0.0, 0, False
            while not over:
                action = session.act(obs)
                obs, reward, terminated, truncated, _ = env.step(action)
                earned, steps = earned + float(reward), steps + 1
                truncated = truncated or (steps == LONGEST and not terminated)
                over = terminated or truncated
                session.observe(
                    reward=float(reward), next_obs=obs, terminated=terminated, truncated=truncated
                )
            one = session.standing[0]
            yield {"episode": episode, "return": round(earned, 3), "steps": steps,
                   "actor": one.actor, "alarm": one.alarm}  # fmt: skip
            session.learn()


def measure(out: Path, seeds: int) -> None:
    """Writes all lines."""
    warnings.simplefilter("ignore", GuardAlarm)
    lines = list(csv.DictReader(out.open())) if out.exists() else []
    with tempfile.TemporaryDirectory() as place:
        for task in TASKS:
            for seed in range(seeds):
                here, old = Path(place) / task / str(seed), None
                for variant in VARIANTS:
                    about = {"task": task, "variant": variant, "seed": str(seed)}
                    if variant == "clone" or any(about.items() <= line.items() for line in lines):
                        continue
                    old = old or offline(task, "clone", here / "clone", seed)
                    run = offline(task, variant, here / variant, seed)
                    for name, guard in (("off", None), ("on", GuardSettings())):
                        folder = here / f"{variant}-{name}"
                        found = acted(task, run, old, folder, guard, seed)
                        lines += [about | {"guard": name} | line for line in found]
                    write(out, lines)


def write(out: Path, lines: list[dict]) -> None:
    with out.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    measure(args.out, args.seeds)


if __name__ == "__main__":
    main()
