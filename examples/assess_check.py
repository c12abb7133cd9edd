"""Can the answers of `moore assess` be trusted? Policies whose return is known are judged.

    python examples/assess_check.py tank quick/pendulum --out assess-check.csv

For each task the models of a run are fitted to the log, and these policies are judged by the log
and the models alone: those of every epoch of an offline stage, clones of four parts of the log, and
clones whose weights are disturbed. Each also acts in the simulator; that is the truth. Where the
log has the densities of its actions, the policies are also sampled there, because weights speak of
sampled policies. A line a policy is written. docs/assess.md has tables of them, which
tools/tables_assess.py makes.
"""

import argparse
import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import gymnasium as gym
import jax
import numpy as np
from jaxtyping import PyTree

from moore.agents.bc import BCConfig
from moore.agents.nets import Actor
from moore.assessing.controller import JudgedController
from moore.assessing.estimate import DOUBLY_ROBUST, FITTED_Q, IMPORTANCE, MODELS
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
# Episodes of 12 steps, many of them, in which a random controller acted whose densities are logged.
DENSE, DENSE_STEPS, DENSE_EPISODES, DENSE_NOISE = "tank with densities", 12, 600, 0.3
TASKS = (TANK, "quick/pendulum", LONGER, DENSE)
# What `LONGER` has instead: another seed, more learning, and a policy of every other epoch alone.
LONGER_EPOCHS, LONGER_UPDATES = 24, 500
# Sizes that a core can do in minutes.
FIT_STEPS, EPOCHS, UPDATES, ROLLOUTS, REPLICATES = 1000, 10, 200, 1000, 6
CLONING = BCConfig(hidden=(64, 64), updates=800)
PARTS = {"rule": None, "tenth": 0.1, "half": 0.5, "all": 1.0}
DISTURBANCES, DRAWS = (0.05, 0.1, 0.2, 0.4), 4
# There: smaller ones, and more, so that the weights of some are worth enough.
DENSE_DISTURBANCES, DENSE_DRAWS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3), 14
EPISODES, SAMPLED = {TANK: 200, DENSE: 500}, 2000
ESTIMATORS = {
    "models": MODELS, "fitted_q": FITTED_Q, "importance": IMPORTANCE,
    "doubly_robust": DOUBLY_ROBUST,
}  # fmt: skip
NUMBERS = ("value", "low", "high", "gain", "gain_low", "gain_high")
SHARES = ("states_outside", "actions_outside", "actions_outside_in_log", "at_bounds")
COLUMNS = (
    *("task", "policy", "kind", "truth", "standard_error", "old", "old_truth", "best"),
    "verdict",
    *("knows_old", "knows_new", "agree", *SHARES),
    *(f"{name}_{number}" for name in ESTIMATORS for number in NUMBERS),
    *(f"{name}_error_on_old" for name in ("models", "fitted_q")),
    *("truth_sampled", "standard_error_sampled"),
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


def make_tank(steps: int = 60) -> gym.Env:
    return gym.wrappers.TimeLimit(Tank(), steps)


def make_short_tank() -> gym.Env:
    return make_tank(DENSE_STEPS)


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


def in_tank(
    drawn: Callable[[np.ndarray, np.ndarray], np.ndarray], episodes: int, seed: int
) -> dict[str, np.ndarray]:
    """Episodes of the short tank side by side: (steps, episodes, ...) arrays.

    `drawn(obs, noise)` gives actions for standard normal noise.
    """
    rng, columns = np.random.default_rng(seed), []
    state = np.stack([rng.uniform(-2.0, 2.0, episodes), np.zeros(episodes)], axis=1)
    for _ in range(DENSE_STEPS):
        obs, noise = state.astype(np.float32), rng.normal(size=(episodes, 1))
        action = drawn(obs, noise)
        reward = -(state[:, 0] ** 2) - 0.02 * action[:, 0] ** 2
        level = 0.95 * state[:, 0] + 0.1 * state[:, 1] + 0.02 * rng.normal(size=episodes)
        state = np.stack([level, 0.7 * state[:, 1] + 0.6 * action[:, 0]], axis=1)
        columns.append((obs, action, reward, state.astype(np.float32), noise))
    names = ("obs", "action", "reward", "next_obs", "noise")
    return dict(zip(names, map(np.stack, zip(*columns, strict=True)), strict=True))


def random_controller(obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """tanh of a Gaussian around the timid controller's wish."""
    return np.tanh(-0.25 * obs[:, :1] + DENSE_NOISE * noise)


def dense_log() -> tuple[Dataset, np.ndarray]:
    """Its log, and the logarithm of the density of every action."""
    found = in_tank(random_controller, DENSE_EPISODES, seed=0)
    rows = {name: np.concatenate(np.swapaxes(column, 0, 1)) for name, column in found.items()}
    noise, action = rows.pop("noise")[:, 0], rows["action"][:, 0]
    density = -0.5 * noise**2 - np.log(DENSE_NOISE * np.sqrt(2.0 * np.pi)) - np.log1p(-(action**2))
    ends = np.tile(np.arange(DENSE_STEPS) == DENSE_STEPS - 1, DENSE_EPISODES)
    return from_log(
        Log(**rows, terminated=np.zeros(ends.size, bool), truncated=ends, name=DENSE)
    ), density


def sampled(weights: Actor) -> np.ndarray:
    """Returns of episodes in which the policy is sampled."""
    act = jax.jit(lambda obs: weights(obs))

    def drawn(obs: np.ndarray, noise: np.ndarray) -> np.ndarray:
        mean, log_std = map(np.asarray, act(obs))
        return np.tanh(mean + np.exp(log_std) * noise)

    return in_tank(drawn, SAMPLED, seed=1)["reward"].sum(axis=0)


@cache
def old_truth(task: str) -> float | None:
    """What the controller that made the log earns, where it can be run again."""
    if task == DENSE:
        return float(in_tank(random_controller, 5000, seed=2)["reward"].sum(axis=0).mean())
    return float(tank_log(1000).episode_returns.mean()) if task == TANK else None


def ready(task: str) -> Setup:
    """Log, environments and learner of a task, at small sizes."""
    config = preset("quick/pendulum" if task in (TANK, LONGER, DENSE) else task, algorithm="moore")
    given, epochs, updates = {}, EPOCHS, UPDATES
    if task == LONGER:
        config, epochs, updates = replace(config, seed=1), LONGER_EPOCHS, LONGER_UPDATES
    if task in (TANK, DENSE):
        config = replace(config, env_id="", dataset="", termination="never")
        given = {"dataset": tank_log(), "env": make_tank}
    if task == DENSE:
        given = {"dataset": dense_log()[0], "env": make_short_tank}
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


def disturbed(
    policies: dict[str, PyTree], sizes: tuple[float, ...] = DISTURBANCES, draws: int = DRAWS
) -> dict[str, PyTree]:
    """Copies with noise on the weights, relative to the deviation of each array."""
    rng = np.random.default_rng(5)
    names, found = sorted(policies), {}
    for size in sizes:
        for draw in range(draws):
            name = names[draw % len(names)]
            again = f" ({draw // len(names) + 1})" if draw >= len(names) else ""
            found[f"{name}, disturbed by {size:g}{again}"] = jax.tree.map(
                lambda x, size=size: (
                    x + size * (x.std() + 0.02) * rng.normal(size=x.shape)
                ).astype(np.float32),
                policies[name],
            )
    return found


def all_policies(task: str, setup: Setup, snapshots: dict) -> Iterator[tuple[str, str, PyTree]]:
    """Name, kind and weights."""
    if len(snapshots) > EPOCHS:
        for name, weights in [*snapshots.items()][1::2]:
            yield name, "learned", weights
        return
    cloned = clones(setup)
    how = (DENSE_DISTURBANCES, DENSE_DRAWS) if task == DENSE else ()
    kinds = {"learned": snapshots, "clone": cloned, "disturbed": disturbed(cloned, *how)}
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
        if estimator in facts.errors:
            found[f"{short}_error_on_old"] = facts.errors[estimator]
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
        case = Case(
            logged, setup.units, rule, ensemble, replicates=REPLICATES, cloning=CLONING,
            density=dense_log()[1] if task == DENSE else None,
        )  # fmt: skip
        evaluator = Evaluator(setup)
        for name, kind, weights in all_policies(task, setup, snapshots):
            returns = evaluator.deterministic(weights).returns
            act_mode = setup.learner.algorithm.agent.act_mode
            judged = case.judge(JudgedController(act_mode, weights))
            told = line(task, name, kind, returns, judged)
            if task == DENSE:
                drawn = sampled(weights)
                told["truth_sampled"] = float(drawn.mean())
                told["standard_error_sampled"] = float(drawn.std(ddof=1) / np.sqrt(drawn.size))
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
