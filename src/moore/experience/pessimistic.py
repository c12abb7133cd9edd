"""Imagination in the pessimistic decision process of MOReL (`moore.dynamics.pessimistic`).

It differs from `moore.experience.imagination` in one point: a rollout that reaches an unknown state
and action halts there, with a reward that is below the value of every state of the system. What is
known is measured on the log after every fit. Online, the models also learn from the collected rows,
so that what these show becomes known.

Note:
    The paper has no online stage. There is no penalty besides the halt, so `penalty_coef` should be
    0. If it is not, u is the disagreement that halts rollouts.
"""

from functools import partial

from moore.dynamics.fit import ModelState
from moore.dynamics.pessimistic import SECTION, Halt, halt_reward, known_limit
from moore.errors import InputError
from moore.experience.imagination import Imagination
from moore.experience.protocol import ExperienceKind, Task


def halt_of(model: ModelState, task: Task) -> Halt:
    """The limit at which rollouts in these models halt, and the reward there.

    Raises:
        InputError: the discount is 1, under which no finite reward stands for a cost at every step.
    """
    discount, config = task.agent_config.discount, task.config.pessimism
    if discount >= 1.0:
        raise InputError(
            f"{task.agent.name}.discount is {discount:g}; the halt of {task.config.algorithm} "
            "needs one below 1."
        )
    limit = known_limit(model.ensemble, task.log, config)
    return Halt(limit, halt_reward(task.log, discount, config))


KIND = ExperienceKind(
    "pessimistic",
    partial(Imagination, halt_of=halt_of),
    has_models=True,
    from_disk=True,
    sections=(SECTION,),
)
