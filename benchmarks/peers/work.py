"""What every library is asked to do: the sizes, the made data, and the form of an answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

# What is timed, in the order of the table, and its unit.
UPDATE, STEP, ROLLOUTS = "SAC update", "ensemble step", "rollouts"
UNITS = {UPDATE: "1 update", STEP: "1 step", ROLLOUTS: "10,000 transitions"}


@dataclass(frozen=True)
class Sizes:
    """The shapes, equal for all: HalfCheetah's dimensions, SAC's and MOPO's constants.

    Attributes:
        obs, action: entries of an observation and of an action.
        rows: transitions in the replay buffer, or in the log that models are fitted to.
        batch: transitions in the batch of an update, and of a member's step.
        hidden: widths of the actor and of both critics.
        members, elites, model_hidden: the ensemble.
        length, starts: steps of a rollout, and rollouts in a call.
        updates, steps: of one call.
    """

    obs: int = 17
    action: int = 6
    rows: int = 100_000
    batch: int = 256
    hidden: tuple[int, ...] = (256, 256)
    members: int = 7
    elites: int = 5
    model_hidden: tuple[int, ...] = (200, 200, 200, 200)
    length: int = 5
    starts: int = 10_000
    updates: int = 100
    steps: int = 50


@dataclass(frozen=True)
class Operation:
    """Something that is timed.

    Attributes:
        name: UPDATE, STEP or ROLLOUTS.
        who: the library, and the algorithm where it has several.
        includes: what is timed, in words.
        units: units that a call of `run` does.
        run: does the work, and returns when the results are there.
    """

    name: str
    who: str
    includes: str
    units: float
    run: Callable[[], Any]


def made_rows(sizes: Sizes, seed: int = 0) -> dict[str, np.ndarray]:
    """Transitions of no system: numbers of the usual size, of which none ends an episode."""
    rng = np.random.default_rng(seed)
    shape = (sizes.rows, sizes.obs)
    obs = rng.standard_normal(shape, np.float32)
    return {
        "obs": obs,
        "action": rng.uniform(-1.0, 1.0, (sizes.rows, sizes.action)).astype(np.float32),
        "reward": rng.standard_normal(sizes.rows, np.float32),
        "next_obs": obs + 0.1 * rng.standard_normal(shape, np.float32),
    }
