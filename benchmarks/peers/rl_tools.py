"""rltools: SAC in C++, which is compiled here when it is first asked for.

Its loop makes a step in the environment and an update; the environment, a Python one that does
nothing, is part of the time.
"""

from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import rltools
from work import UPDATE, Operation, Sizes


class Nothing:
    """An environment of the right shape, in which nothing happens."""

    def __init__(self, sizes: Sizes):
        self.observation_space = SimpleNamespace(shape=(sizes.obs,))
        self.action_space = SimpleNamespace(
            shape=(sizes.action,), low=-np.ones(sizes.action), high=np.ones(sizes.action)
        )
        self.spec = SimpleNamespace(max_episode_steps=1000)
        self._obs = np.zeros(sizes.obs, np.float32)

    def reset(self, **options):
        return self._obs, {}

    def step(self, action):
        return self._obs, 0.0, False, False, {}


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of the library."""
    del threads  # it has one
    depth = len(sizes.hidden) + 1
    sac = rltools.SAC(
        lambda: Nothing(sizes),
        enable_evaluation=False,
        ACTOR_BATCH_SIZE=sizes.batch,
        CRITIC_BATCH_SIZE=sizes.batch,
        ACTOR_HIDDEN_DIM=sizes.hidden[0],
        CRITIC_HIDDEN_DIM=sizes.hidden[0],
        ACTOR_NUM_LAYERS=depth,
        CRITIC_NUM_LAYERS=depth,
        OPTIMIZER_ALPHA=3e-4,
        STEP_LIMIT=sizes.rows,
    )
    state = sac.State(0)
    for _ in range(sizes.batch + 1):
        state.step()  # it begins to learn once it has a batch

    def update() -> None:
        for _ in range(sizes.updates // 5):
            state.step()

    includes = "draws from its replay buffer; a step in a Python environment that does nothing"
    operation = Operation(UPDATE, "rltools SAC", includes, sizes.updates // 5, update)
    return [operation], version("rltools")
