"""Who acts in the live system: the newest policy, one that a gate lets through, or trials."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from moore.experience.protocol import Metrics
from moore.replay.buffer import Transition
from moore.stages.learner import Learner, LearnerState


@runtime_checkable
class Chooser(Protocol):
    """Decides who acts; the online stage asks it at every step."""

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool
    ) -> tuple[np.ndarray, LearnerState]:
        """Line 10: an action in [-1, 1]; `random`: a uniform one."""

    def observed(
        self, state: LearnerState, transition: Transition | None, *, in_episode: bool
    ) -> LearnerState:
        """After line 11: what came of it; None where that was not measured whole."""

    def consider(
        self, state: LearnerState, epoch: int, returns: Sequence[float], *, in_episode: bool
    ) -> tuple[LearnerState, Metrics]:
        """After line 16: may the newest policy act? `returns`: of the episodes that have ended."""

    def new_episode(self, state: LearnerState) -> LearnerState:
        """The running episode was left without an end."""

    def metrics(self) -> dict[str, float]:
        """For the epoch's row."""

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """As JSON and arrays, for a checkpoint."""


class Gatekeeper:
    """The gate of the learner, or none: then the newest policy acts (line 10)."""

    def __init__(self, learner: Learner):
        self._learner = learner

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool
    ) -> tuple[np.ndarray, LearnerState]:
        return self._learner.act(state, obs, random=random)

    def observed(
        self, state: LearnerState, transition: Transition | None, *, in_episode: bool
    ) -> LearnerState:
        del transition, in_episode
        return state

    def consider(
        self, state: LearnerState, epoch: int, returns: Sequence[float], *, in_episode: bool
    ) -> tuple[LearnerState, Metrics]:
        return self._learner.pass_gate(state, epoch, returns, in_episode=in_episode)

    def new_episode(self, state: LearnerState) -> LearnerState:
        return self._learner.new_episode(state)

    def metrics(self) -> dict[str, float]:
        return {}

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Where a gate stands is in the learner's state."""
        return {}, {}
