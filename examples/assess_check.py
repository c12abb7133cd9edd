"""Can the answers of `moore assess` be trusted? Policies whose return is known are judged.

    python examples/assess_check.py tank quick/pendulum --out assess-check.csv

For each task the models of a run are fitted to the log, and these policies are judged by the log
and the models alone: those of every epoch of an offline stage, clones of four parts of the log, and
clones whose weights are disturbed. Each also acts in the simulator; that is the truth. A line a
policy is written. docs/assess.md has tables of them, which tools/tables_assess.py makes.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import gymnasium as gym
import jax
import numpy as np
from jaxtyping import PyTree

from moore.agents.bc import BCConfig
from moore.assessing.controller import JudgedController
from moore.assessing.estimate import FITTED_Q, MODELS
from moore.assessing.judge import Case, Judgement
from moore.assessing.logged import as_logged
from moore.data.dataset import Dataset, from_log
from moore.data.log import Log
from moore.experience.part import part_of
from moore.jax_settings import key_of, plain_jax
from moore.presets import preset
from moore.runs.setup import Evaluator, Setup, prepare
from moore.stages.clone import fit_clone
from moore.stages.offline import offline_stage

TANK, LONGER = "tank", "quick/pendulum, learned for longer"
TASKS = (TANK, "quick/pendulum", LONGER)
# What `LONGER` has instead: another seed, more learning, and a policy of every other epoch alone.
LONGER_EPOCHS, LONGER_UPDATES = 24, 500
# Sizes that a core can do in minutes.
FIT_STEPS, EPOCHS, UPDATES, ROLLOUTS, REPLICATES = 1000, 10, 200, 1000, 6
CLONING = BCConfig(hidden=(64, 64), updates=800)
PARTS = {"rule": None, "tenth": 0.1, "half": 0.5, "all": 1.0}
DISTURBANCES, DRAWS = (0.05, 0.1, 0.2, 0.4), 4
EPISODES = {TANK: 200}
ESTIMATORS = {"models": MODELS, "fitted_q": FITTED_Q}
NUMBERS = ("value", "low", "high", "gain", "gain_low", "gain_high")
SHARES = ("states_outside", "actions_outside", "actions_outside_in_log", "at_bounds")
COLUMNS = (
    *("task", "policy", "kind", "truth", "standard_error", "old", "old_truth", "best"),
    "verdict",
    *("knows_old", "knows_new", "agree", *SHARES),
    *(f"{name}_{number}" for name in ESTIMATORS for number in NUMBERS),
    *(f"{name}_error_on_old" for name in ESTIMATORS),
)


class Tank(gym.Env):
    """A heated tank: deviation of its temperature, and of the heat that reaches it with a lag."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = np.array([self.np_random.uniform(-2.0, 2.0), 0.0])
        return self.state.astype(np.float32), {}

    def step(self, action):
        temperature, heat = self.state
        reward = -float(temperature**2 + 0.02 * action[0] ** 2)
        noise = 0.02 * self.np_random.normal()
        self.state = np.array(
            [0.95 * temperature + 0.1 * heat + noise, 0.7 * heat + 0.6 * float(action[0])]
        )
        return self.state.astype(np.float32), reward, False, False, {}


def make_tank() -> gym.Env:
    return gym.wrappers.TimeLimit(Tank(), 60)


def tank_log(episodes: int = 40) -> Dataset:
    """What a timid controller with noise does: a = -0.25 temperature + 0.3 noise."""
    env, rng, rows = make_tank(), np.random.default_rng(0), []
    for episode in range(episodes):
        obs, _ = env.reset(seed=episode)
        cut = False
        while not cut:
            action = np.clip(-0.25 * obs[:1] + 0.3 * rng.normal(size=1), -1.0, 1.0)
            next_obs, reward, _, cut, _ = env.step(action)
            rows.append((obs, action, reward, next_obs, False, cut))
            obs = next_obs
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    columns = (np.asarray(column) for column in zip(*rows, strict=True))
    return from_log(Log(**dict(zip(names, columns, strict=True)), name=TANK))


@cache
def old_truth(task: str) -> float | None:
    """What the controller that made the log earns, where it can be run again."""
    return float(tank_log(1000).episode_returns.mean()) if task == TANK else None


def ready(task: str) -> Setup:
    """Log, environments and learner of a task, at small sizes."""
    config = preset("quick/pendulum" if task in (TANK, LONGER) else task, algorithm="moore")
    given, epochs, updates = {}, EPOCHS, UPDATES
    if task == LONGER:
        config, epochs, updates = replace(config, seed=1), LONGER_EPOCHS, LONGER_UPDATES
    if task == TANK:
        config = replace(config, env_id="", dataset="", termination="never")
        given = {"dataset": tank_log(), "env": make_tank}
    return prepare(
        replace(
            config,
            model=replace(config.model, max_fit_steps=FIT_STEPS),
            offline=replace(
                config.offline, epochs=epochs, updates_per_epoch=updates, rollout_batch=ROLLOUTS
            ),
            evaluation=replace(config.evaluation, episodes=EPISODES.get(task, 100)),
        ),
        **given,
    )


def learned(setup: Setup) -> tuple[object, dict[str, PyTree]]:
    """The models of a run, and its policy after every offline epoch."""
    learner, found = setup.learner, {}

    def keep(epoch: int, state, metrics: dict) -> None:
        del metrics
        if epoch:
            found[f"epoch {epoch}"] = jax.device_get(learner.newest_policy(state))

    state = offline_stage(learner, learner.init(setup.key), on_epoch=keep)
    return state.experience.model.ensemble, found


def clones(setup: Setup) -> dict[str, PyTree]:
    """Clones of parts of the log."""
    log = setup.learner.offline
    return {
        f"clone of {name}": jax.device_get(
            fit_clone(log, part_of(log, share=share), key_of(7), CLONING).actor
        )
        for name, share in PARTS.items()
    }


def disturbed(policies: dict[str, PyTree]) -> dict[str, PyTree]:
    """Copies with noise on the weights, relative to the deviation of each array."""
    rng = np.random.default_rng(5)
    names, found = sorted(policies), {}
    for size in DISTURBANCES:
        for draw in range(DRAWS):
            name = names[draw % len(names)]
            found[f"{name}, disturbed by {size:g}"] = jax.tree.map(
                lambda x, size=size: (
                    x + size * (x.std() + 0.02) * rng.normal(size=x.shape)
                ).astype(np.float32),
                policies[name],
            )
    return found


def all_policies(setup: Setup, snapshots: dict) -> Iterator[tuple[str, str, PyTree]]:
    """Name, kind and weights."""
    if len(snapshots) > EPOCHS:
        for name, weights in [*snapshots.items()][1::2]:
            yield name, "learned", weights
        return
    cloned = clones(setup)
    kinds = {"learned": snapshots, "clone": cloned, "disturbed": disturbed(cloned)}
    for kind, policies in kinds.items():
        for name, weights in policies.items():
            yield name, kind, weights


def line(task: str, name: str, kind: str, returns: list[float], judged: Judgement) -> dict:
    """A line of the table."""
    facts, statuses = judged.facts, [reading.status for reading in judged.readings]
    found = {
        "task": task, "policy": name, "kind": kind, "truth": float(np.mean(returns)),
        "standard_error": float(np.std(returns, ddof=1) / np.sqrt(len(returns))),
        "old": facts.old.value, "old_truth": old_truth(task), "best": facts.best,
        "verdict": judged.answer,
    }  # fmt: skip
    found |= dict(zip(("knows_old", "knows_new", "agree"), statuses, strict=True))
    found |= {share: getattr(facts.covered, share) for share in SHARES}
    for short, estimator in ESTIMATORS.items():
        value, gain = facts.estimates[estimator].value, facts.estimates[estimator].gain
        numbers = (value.value, value.low, value.high, gain.value, gain.low, gain.high)
        found |= {f"{short}_{n}": x for n, x in zip(NUMBERS, numbers, strict=True)}
        found[f"{short}_error_on_old"] = facts.errors.get(estimator)
    return found


@plain_jax()
def measure(tasks: list[str], out: Path) -> None:
    """Judges all policies; tasks that are in the file already are left out."""
    lines = list(csv.DictReader(out.open())) if out.exists() else []
    for task in tasks:
        if any(one["task"] == task for one in lines):
            continue
        setup = ready(task)
        ensemble, snapshots = learned(setup)
        limit = setup.world.limit.steps
        logged = as_logged(setup.dataset, setup.units, setup.world.bounds, limit)
        rule = setup.learner.task.terminated_fn
        case = Case(logged, setup.units, rule, ensemble, replicates=REPLICATES, cloning=CLONING)
        evaluator = Evaluator(setup)
        for name, kind, weights in all_policies(setup, snapshots):
            returns = evaluator.deterministic(weights).returns
            act_mode = setup.learner.algorithm.agent.act_mode
            judged = case.judge(JudgedController(act_mode, weights))
            told = line(task, name, kind, returns, judged)
            lines.append(told)
            write(out, lines)
            values = [told[f"{short}_value"] or np.nan for short in ESTIMATORS]
            print(task, name, told["verdict"], *np.round([told["truth"], *values], 1), flush=True)
        evaluator.close()


def write(path: Path, lines: list[dict]) -> None:
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(
            {name: f"{x:.5g}" if isinstance(x, float) else x for name, x in one.items()}
            for one in lines
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", default=TASKS, metavar="TASK")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    measure(args.tasks, args.out)


if __name__ == "__main__":
    main()
