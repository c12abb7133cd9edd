"""Imagination in the pessimistic decision process of MOReL (`moore.dynamics.pessimistic`).

All else is as in `moore.experience.imagination`: a rollout that reaches an unknown state and action
halts there, at a reward that no state of the system is worth less than. What is known is measured
on the log, anew after every fit. Online the models learn from the collected rows too, and so what
they show becomes known.

Note:
    The paper has no online stage. There is no penalty beside the halt, so `penalty_coef` is to be
    0; where it is not, u is the disagreement that halts rollouts.
"""

from functools import partial

from moore.dynamics.fit import ModelState
from moore.dynamics.pessimistic import SECTION, Halt, halt_reward, known_limit
from moore.errors import InputError
from moore.experience.imagination import Imagination
from moore.experience.protocol import ExperienceKind, Task


def halt_of(model: ModelState, task: Task) -> Halt:
    """Where imagination in these models ends.

    Raises:
        InputError: a discount of 1, under which no finite reward stands for a cost at every step.
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
    "pessimistic", partial(Imagination, halt_of=halt_of), has_models=True, sections=(SECTION,)
)
