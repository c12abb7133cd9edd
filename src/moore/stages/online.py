"""The online stage: MOORe, lines 3 to 20 of Algorithm 1. The numbers in comments are its lines."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from moore.replay.buffer import Transition
from moore.stages.choosing import Chooser, Gatekeeper
from moore.stages.epoch import Epoch
from moore.stages.learner import Learner, LearnerState


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
    warm_up = max(config.random_steps, config.frozen_steps)
    from_scratch = int(learner.offline.size) == 0
    chooser = chooser or Gatekeeper(learner)
    if done == 0 and epoch is None and config.epochs > 0:
        state, _ = learner.start(state)

    for number in range(done + 1, config.epochs + 1):  # 7, 8
        if epoch is None or epoch.number != number:
            state, epoch = learner.summarise_data(state), Epoch(number)
        for step in epoch.steps(config.steps_per_epoch):  # 9
            on_step(epoch, state)
            taken = (number - 1) * config.steps_per_epoch + step
            if step > epoch.observed:  # otherwise the step was taken before the run was stopped
                random = taken <= config.random_steps
                action, acted = chooser.act(state, system.observation(), random=random)  # 10
                transition = system.step(action)
                seen = transition is not None
                state = learner.observe(acted, transition) if seen else acted  # 11
                epoch.observe(step, in_episode=system.in_episode, dropped=not seen)
                state = chooser.observed(state, transition, in_episode=epoch.in_episode)
                on_step(epoch, state)
            if taken < warm_up or (from_scratch and not int(state.online.size)):
                continue
            if step % config.refit_every == 0 or taken == warm_up:  # 12
                state, fresh = learner.refresh(state, number, on_pass=on_pass)  # 13-16
                ended = system.take_episode_returns()
                state, gates = chooser.consider(state, number, ended, in_episode=epoch.in_episode)
                epoch.refreshed(fresh, ended, gates)
            if taken > warm_up and step % config.update_every == 0:
                updates = config.updates_per_step * config.update_every
                state, loss = learner.update(state, number, updates)  # 18
                epoch.measured["losses"].append(loss)
        metrics = learner.reported(epoch.metrics(system.take_episode_returns())) | chooser.metrics()
        if on_epoch(number, state, metrics):
            break
    return state
