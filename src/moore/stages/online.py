"""The online stage: MOORe, lines 3 to 20 of Algorithm 1. The numbers in comments are its lines."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import numpy as np

from moore.replay.buffer import Transition
from moore.stages.learner import Learner, LearnerState
from moore.stages.offline import fit_metrics
from moore.stages.watch import surprise


@runtime_checkable
class System(Protocol):
    """The live system: an environment, a robot, a process. Actions lie in [-1, 1].

    Observations and transitions are in the learner's units, returns in the user's.
    """

    def observation(self) -> np.ndarray:
        """What it shows now (obs,); where an episode has ended, the next one begins with it."""

    def step(self, action: np.ndarray) -> Transition | None:
        """Acts once; None where what came of it was not measured whole."""

    @property
    def in_episode(self) -> bool:
        """Whether an episode is running."""

    def take_episode_returns(self) -> list[float]:
        """Returns of the episodes that ended since the last call."""

    def take_dropped(self) -> int:
        """Steps since the last call whose transition was not measured whole."""


def online_stage(
    learner: Learner,
    state: LearnerState,
    system: System,
    *,
    done: int = 0,
    on_epoch: Callable[[int, LearnerState, dict], bool | None],
) -> LearnerState:
    """Algorithm 1 from the hand-over on.

    Args:
        learner: the operations.
        state: from `learner.hand_over` (4, 5), or from a checkpoint.
        system: what to act on.
        done: epochs that are done.
        on_epoch: evaluates, logs and saves; True ends the stage.
    """
    config = learner.config.online
    warm_up = max(config.random_steps, config.frozen_steps)
    if done == 0 and config.epochs > 0 and learner.imagines and int(learner.offline.size):
        # The updates start with the first step, the refits phi steps later: the offline models
        # imagine once before, or as often as D_model has room for.
        refits = config.retain_epochs * (config.steps_per_epoch // config.refit_every)
        for _ in range(refits if config.start_full else 1):
            state, _ = learner.imagine(state, 1, config.rollout_batch, learner.rollout_length(1))

    for epoch in range(done + 1, config.epochs + 1):  # 7, 8
        state = learner.look(state)
        surprises, fits, imagined, gates, losses, returns = [], [], [], [], [], []
        for step in range(1, config.steps_per_epoch + 1):  # 9
            taken = (epoch - 1) * config.steps_per_epoch + step
            random = taken <= config.random_steps
            action, state = learner.act(state, system.observation(), random=random)  # 10
            transition = system.step(action)
            if transition is not None:
                state = learner.observe(state, transition)  # 11
            if taken < warm_up:
                continue
            refit_due = step % config.refit_every == 0 or taken == warm_up
            if refit_due and learner.imagines:  # 12
                surprises.append(surprise(learner, state))
                first = taken == warm_up and not learner.algorithm.uses_log
                state, report = learner.refit(state, epoch, first=first)  # 13
                length = learner.rollout_length(epoch)
                state, rollouts = learner.imagine(  # 14-16
                    state, epoch, config.rollout_batch, length
                )
                ended = system.take_episode_returns()
                state, decision = learner.pass_gate(
                    state, epoch, ended, in_episode=system.in_episode
                )
                returns += ended
                fits.append(report)
                imagined.append(rollouts)
                gates.append(decision)
            if taken > warm_up:
                state, loss = learner.update(  # 18
                    state, epoch, config.updates_per_step, config.real_ratio
                )
                losses.append(loss)
        metrics = mean_metrics(surprises) | fit_metrics(fits) | mean_metrics(imagined)
        metrics = learner.reported(metrics | mean_metrics(gates) | mean_metrics(losses))
        earned = {
            "online/episode_returns": returns + system.take_episode_returns(),
            "online/dropped_transitions": system.take_dropped(),
        }
        if on_epoch(epoch, state, earned | metrics):
            break
    return state


def mean_metrics(rows: list[dict]) -> dict:
    """Means over an epoch; counts are summed, maxima stay maxima, undone updates are left out."""
    rows = jax.device_get(rows)
    columns = {name: np.asarray([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    result = {}
    for name, values in columns.items():
        finite = values[np.isfinite(values)]
        if name.endswith("skipped_updates"):
            result[name] = float(values.sum())
        elif not finite.size:
            result[name] = None
        else:
            result[name] = float(finite.max() if name.endswith("_max") else finite.mean())
    return result
