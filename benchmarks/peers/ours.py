"""moore: the same programs that a run calls, at the sizes of all."""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np
from cases import Sizes as CaseSizes
from cases import ensemble_case, rollout_case
from work import ROLLOUTS, STEP, UPDATE, Operation, Sizes, made_rows

from moore.algorithms import find
from moore.config import Config
from moore.envs.termination import never
from moore.experience.protocol import Task
from moore.presets import preset
from moore.replay.buffer import Transition, empty_replay, full_replay
from moore.stages.learner import Learner
from moore.version import __version__

WHO = "moore"


def config_of(sizes: Sizes) -> Config:
    """The paper's configuration at these sizes."""
    base = preset("paper/halfcheetah-medium-replay")
    decay = base.model.weight_decay
    return dataclasses.replace(
        base,
        rollout_length=sizes.length,
        rollout_chunk=sizes.starts,
        sac=dataclasses.replace(base.sac, hidden=sizes.hidden, batch_size=sizes.batch),
        model=dataclasses.replace(
            base.model,
            members=sizes.members,
            elites=sizes.elites,
            hidden=sizes.model_hidden,
            weight_decay=decay[: len(sizes.model_hidden)] + decay[-2:],
            batch_size=sizes.batch,
        ),
    )


def updates(sizes: Sizes) -> Operation:
    """Updates of SAC on rows of the replay buffer."""
    made, row = made_rows(sizes), find("sac")
    ends = np.zeros(sizes.rows, bool)
    columns = (made["obs"], made["action"], made["reward"], made["next_obs"], ends, ends)
    rows = full_replay(
        Transition(*map(jax.numpy.asarray, columns)),
        np.ones(sizes.rows, bool),
        jax.random.key(1),
        holdout_fraction=0.0,
        max_holdout=1,
    )
    log = empty_replay(1, sizes.obs, sizes.action, max_holdout=1)
    learner = Learner(row, Task(config_of(sizes), row.agent, log, never, scheme=row.scheme))
    fresh = learner.hand_over(learner.init(jax.random.key(0)))
    state = dataclasses.replace(fresh, online=rows)

    def update() -> None:
        nonlocal state
        state, _ = learner.update(state, 1, sizes.updates)
        jax.block_until_ready(state.agent)

    includes = "draws from the replay buffer, one compiled loop"
    return Operation(UPDATE, WHO, includes, sizes.updates, update)


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of the library."""
    del threads  # XLA has read the environment
    shared = CaseSizes(
        obs=sizes.obs,
        action=sizes.action,
        log_rows=sizes.rows,
        online_rows=max(sizes.rows // 4, 1),
        steps=sizes.steps,
        config=config_of(sizes),
    )
    fit, rollouts = ensemble_case(shared), rollout_case(shared)
    return [
        updates(sizes),
        Operation(
            STEP,
            WHO,
            "draws and gathers the rows of a pass, and compares on one held-out row",
            sizes.steps,
            lambda: fit.ours(fit.prepare()),
        ),
        Operation(
            ROLLOUTS,
            WHO,
            "policy, all members, penalty, ends of episodes, and the push into D_model",
            sizes.length * sizes.starts / 10_000,
            lambda: rollouts.ours(None),
        ),
    ], f"{__version__}, jax {jax.__version__}"
