"""Whether the values that the example's online stage begins with are right, and what they teach.

    (cd examples/plant && sh prepare.sh runs/plant)
    python benchmarks/plant_values.py --out docs/results/plant-values.csv

The critics of examples/plant learn the values of the policy of the offline stage from the log,
before anything acts. What they should say is known here: from states that the PID controller has
reached, the simulation plays that policy on, with the set point held as in the batches of the log.
Then the policy learns from rows of the log, as much as in the six batches of shadow; what it earns
after that is the mean of some days. A line for each set of settings.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rows_file import write_rows

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "plant"))

import learn
from good import reward
from pid import Pid
from tank import BATCH_MIN, Readings, Tank

from moore.agents import td3
from moore.agents.critics import q_values
from moore.agents.td3_config import TD3Config
from moore.replay.buffer import Replay, as_batch, take
from moore.sessions.start import begin
from moore.stages.learner import Learner

COLUMNS = ("target_noise", "critic_subset", "warm_up", "said", "earned", "noise", "lowest",
           "before", "after")  # fmt: skip
SEED, DAYS, MINUTES = 100, (100, 101), (0, 8, 20, 40)  # of the batch, in which states are taken
AHEAD = 5 * 45  # minutes: what comes later weighs less than 1%
LEARNERS, UPDATES = 4, 1800
Act = Callable[[Readings], float]


def acting(learner: Learner, actor: Any) -> Act:
    """The output of an actor in percent."""
    mode = jax.jit(lambda obs: 100.0 * td3.mean_action(actor, obs)[0])
    return lambda seen: float(mode(learner.units.obs_in(np.array(seen, np.float32))))


def rewards(tank: Tank, act: Act, minutes: int) -> np.ndarray:
    """What a controller earns in each of the next minutes, (minutes,); the tank goes on."""
    seen, rows = tank.read(), []
    for _ in range(minutes):
        output = act(seen)
        tank.run(output)
        before, seen = seen, tank.read()
        rows.append((before, [output], seen))
    obs, action, after = (np.array(column) for column in zip(*rows, strict=True))
    return reward(obs, action, after)


def states() -> list[Tank]:
    """The tank as the PID controller has it in some minutes of the choosing day."""
    tank, pid, found = Tank(SEED), Pid(), []
    for minute in range(12 * BATCH_MIN):
        if minute >= 2 * BATCH_MIN and minute % BATCH_MIN in MINUTES:
            found.append(copy.deepcopy(tank))
        tank.run(float(pid.act(np.array(tank.read()))[0]))
    return found


def earned(tank: Tank, act: Act, discount: float) -> float:
    """The discounted return from here, with the set point held."""
    held = copy.deepcopy(tank)
    held._recipe = lambda: None  # type: ignore[method-assign]
    return float(rewards(held, act, AHEAD) @ discount ** np.arange(AHEAD))


def of_a_batch(act: Act) -> float:
    """What a controller earns in a batch, in the mean of the days without their first two hours."""
    days = [rewards(Tank(seed), act, 12 * BATCH_MIN)[2 * BATCH_MIN :] for seed in DAYS]
    return float(BATCH_MIN * np.mean(days))


@partial(jax.jit, static_argnames=("config",))
def learned(state: td3.TD3State, log: Replay, key: jax.Array, config: TD3Config) -> td3.TD3State:
    """After as many updates as in six batches, each with rows of the log."""

    def step(state, key):
        key_rows, key_update = jax.random.split(key)
        rows = td3._some_rows(log, key_rows, config)
        return td3.update(state, as_batch(take(log.data, rows), rows), key_update, config)[0], None

    return jax.lax.scan(step, state, jax.random.split(key, UPDATES))[0]


def line(learner: Learner, policy: Any, config: TD3Config) -> dict[str, Any]:
    """What is found with these settings."""
    log, act, units = learner.offline, acting(learner, policy), learner.units
    fresh = td3.begin_with(td3.init(jax.random.key(1), *learner.dims, config), policy, config)
    state = jax.jit(td3.summarise_data, static_argnums=3)(fresh, log, log, config)
    tanks = states()
    obs = jnp.asarray(units.obs_in(np.array([copy.deepcopy(t).read() for t in tanks], np.float32)))
    action = td3.mean_action(policy, obs)
    noise = config.target_noise * jax.random.normal(jax.random.key(2), (200, *action.shape))
    limit = config.target_noise_limit
    noisy = jnp.clip(action + jnp.clip(noise, -limit, limit), -1.0, 1.0)
    unit = float(state.scale) * units.reward_scale
    said = np.asarray(q_values(state.critics, obs, action)) / unit
    said_noisy = np.asarray(jax.vmap(lambda a: q_values(state.critics, obs, a))(noisy)) / unit
    lowest = said.min(0).mean() if config.critic_subset == len(said) else said.mean()
    actors = [learned(state, log, jax.random.key(seed), config).actor for seed in range(LEARNERS)]
    found: dict[str, Any] = {"said": said.mean(), "noise": said_noisy.mean() - said.mean()}
    found |= {"earned": np.mean([earned(tank, act, config.discount) for tank in tanks])}
    found |= {"lowest": lowest - said.mean(), "before": of_a_batch(act)}
    found |= {"after": np.mean([of_a_batch(acting(learner, actor)) for actor in actors])}
    rounded = {name: round(float(x), 2) for name, x in found.items()}
    return {name: getattr(config, name) for name in COLUMNS[:3]} | rounded


def rows(prepared: Path) -> Iterator[dict[str, Any]]:
    """All lines of the file: the defaults of TD3, one change alone, both, all."""
    found = begin(
        prepared / "offline", dataset=str(prepared / "log.hdf5"), at="newest", accept=("hand-over",)
    ).learning
    learner, own = found.learner, found.learner.agent_config.online
    chosen, usual = learn.settings(1).td3, TD3Config()
    names = ("target_noise", "target_noise_limit", "critic_subset", "warm_up")
    for changed in ((), names[:2], names[2:3], names[:3], names):
        values = {name: getattr(chosen if name in changed else usual, name) for name in names}
        yield line(learner, learner.policy(found.state), replace(own, **values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=Path("examples/plant/runs/plant"))
    parser.add_argument("--out", type=Path, default=Path("plant-values.csv"))
    args = parser.parse_args()
    write_rows(args.out, COLUMNS, (print(row, flush=True) or row for row in rows(args.prepared)))


if __name__ == "__main__":
    main()
