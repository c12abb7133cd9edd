"""What the agent of the online stage learns from the log, before anything acts in the system.

Where an algorithm has an agent for each stage, the second one need not wait for the system: its
values of the policy that is handed over, and steps from it that they speak for, can be learned from
the rows of the log (TD3+BC: Fujimoto and Gu 2021; here within half the agent's reach of that
policy). 16,000 updates took a clone of HalfCheetah-medium from 5419 to 5760, two of Hopper-medium
from 1467 to 2948 and from 1644 to 2216, and one of HalfCheetah-medium-expert from 10628 to 10495;
after 32,000 it earned 7881 (docs/results/log-pilots.csv). Neither values nor models tell which. So
the policy that was handed over acts, and the one that comes out is the goal of the first trials.
"""

import dataclasses
from collections.abc import Callable

from moore.stages.learner import Learner, LearnerState


def learn_from_log(
    learner: Learner, state: LearnerState, *, on_pass: Callable[[int], None] = lambda done: None
) -> LearnerState:
    """Lets the agent of the online stage learn from the log, near the policy that acts.

    Args:
        learner: its algorithm has an agent for each stage; `offline.log_updates` says how many
            updates are made, each with a batch of rows of the log.
        state: at the end of the offline stage.
        on_pass: function that is told how many updates are done; it may raise an error to stop.

    Returns:
        the state with the next key, and with the agent of the online stage as it has learned. Who
        acts stays as it was.
    """
    online, updates = learner.config.online, learner.config.offline.log_updates
    each = online.updates_per_group  # as many as the online stage compiles
    learning = learner.hand_over(state)
    rule = learner.algorithm.agent
    cautious = rule.unjudged(learning.agent, learner.agent_config)
    learning = dataclasses.replace(learning, agent=cautious)
    for done in range(0, updates, each):
        on_pass(done)
        learning, _ = learner.update(learning, 1, min(each, updates - done))
    agent = dataclasses.replace(state.agent, online=learning.agent.online)
    return dataclasses.replace(state, agent=agent, key=learning.key)
