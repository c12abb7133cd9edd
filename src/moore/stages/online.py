"""The online stage: MOORe, lines 3 to 20 of Algorithm 1. The numbers in comments are its lines.

What each line does is in `moore.stages.online_learning`; here it is driven by an environment.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from moore.replay.buffer import Transition
from moore.stages.choosing import Chooser, Gatekeeper
from moore.stages.epoch import Epoch
from moore.stages.learner import Learner, LearnerState
from moore.stages.online_learning import OnlineLearning


@runtime_checkable
class System(Protocol):
    """The live system: an environment, a robot, a process. Actions lie in [-1, 1]."""

    def observation(self) -> np.ndarray:
        """The current observation (obs,); if an episode has ended, the first one of the next."""

    def step(self, action: np.ndarray) -> Transition | None:
        """Takes one step; returns None if the transition was not measured completely."""

    @property
    def in_episode(self) -> bool:
        """Whether an episode is running."""

    def cut_episode(self) -> None:
        """Leaves the running episode, whose return does not count; the next one begins."""

    def take_episode_returns(self) -> list[float]:
        """Returns of the episodes that ended since the last call."""


def online_stage(
    learner: Learner,
    state: LearnerState,
    system: System,
    *,
    done: int = 0,
    epoch: Epoch | None = None,
    on_epoch: Callable[[int, LearnerState, dict], bool | None],
    on_step: Callable[[Epoch, LearnerState], None] = lambda epoch, state: None,
    on_pass: Callable | None = None,
    chooser: Chooser | None = None,
) -> LearnerState:
    """Algorithm 1 from the hand-over on.

    Args:
        learner: the operations of Algorithm 1.
        state: state from `learner.hand_over` (4, 5) or from a checkpoint.
        system: the live system.
        done: number of epochs that are done.
        epoch: the next epoch, if it was stopped in the middle.
        on_epoch: function that evaluates, logs and saves; if it returns True the stage ends.
        on_step: called before and after every step in the system with the epoch and a state, which
            together are all that is needed to go on from there.
        on_pass: function that is told about the progress of a refit.
        chooser: decides who acts; by default the learner's gate, if it has one.
    """
    config = learner.config.online
    chooser = chooser or Gatekeeper(learner)
    if config.epochs <= done:
        return state
    if epoch is None and done > 0:
        state, epoch = learner.summarise_data(state), Epoch(done + 1)
    online = OnlineLearning(learner, state, chooser, epoch=epoch)

    for number in range(done + 1, config.epochs + 1):  # 7, 8
        if online.epoch.number != number:
            online.begin_epoch(number)
        while online.epoch.learned < config.steps_per_epoch:  # 9
            on_step(online.epoch, online.state)
            if not online.due:  # otherwise the step was taken before the run was stopped
                action = online.act(system.observation())  # 10
                transition = system.step(action)
                online.observe(transition, in_episode=system.in_episode)  # 11
                if chooser.over:
                    system.cut_episode()
                    online.epoch.cut += 1
                    online.cut()
                    online.abandon()
                on_step(online.epoch, online.state)
            online.learn(system.take_episode_returns, on_pass=on_pass)  # 12-18
        metrics = online.end_epoch(system.take_episode_returns())
        if on_epoch(number, online.state, metrics):
            break
    return online.state
