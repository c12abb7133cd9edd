"""Decides who acts in the live system: the newest policy, one that passed a gate, or trials."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import PyTree

from moore.experience.protocol import Metrics, OnPass
from moore.replay.buffer import Transition
from moore.stages.gatekeeping import pass_gate
from moore.stages.learner import Learner, LearnerState


class Turn(NamedTuple):
    """Whose turn it is to act, for a caller that computes the action itself.

    Attributes:
        of: an object that is another one as soon as another policy acts.
        policy: returns this policy.
        drawn: whether the action is drawn; if not, it is the policy's action without noise.
    """

    of: object
    policy: Callable[[], PyTree]
    drawn: bool


@runtime_checkable
class Chooser(Protocol):
    """Decides who acts; the online stage asks it at every step."""

    def turn(self, state: LearnerState) -> Turn:
        """Who acts on the next step, unless that is a random one."""

    def use(self, learner: Learner) -> None:
        """Told that the learner was replaced by one with more room."""

    def act(
        self, state: LearnerState, obs: np.ndarray, *, random: bool
    ) -> tuple[np.ndarray, LearnerState]:
        """Line 10: an action in [-1, 1]; `random`: a uniform one."""

    def observed(
        self, state: LearnerState, transition: Transition | None, *, in_episode: bool
    ) -> LearnerState:
        """After line 11: takes the transition; None if it was not measured completely."""

    def consider(
        self,
        state: LearnerState,
        epoch: int,
        returns: Sequence[float],
        *,
        in_episode: bool,
        on_pass: OnPass | None = None,
    ) -> tuple[LearnerState, Metrics]:
        """After line 16: may the newest policy act? `returns`: those of ended episodes.

        `on_pass` is called now and then if this takes long; see `moore.stages.rehearsal`.
        """

    @property
    def over(self) -> bool:
        """Whether the running episode is to be cut, where the next one can begin at any time."""

    def new_episode(self, state: LearnerState) -> LearnerState:
        """Told that the running episode was abandoned."""

    def metrics(self) -> dict[str, float]:
        """Entries of the epoch's row of metrics."""

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The state as JSON and arrays, for a checkpoint."""


class Gatekeeper:
    """The gate of the learner; without one the newest policy acts (line 10)."""

    over = False

    def __init__(self, learner: Learner):
        self._learner = learner

    def use(self, learner: Learner) -> None:
        self._learner = learner

    def turn(self, state: LearnerState) -> Turn:
        of = state.agent if state.gate is None else state.gate.acting
        return Turn(of, lambda: self._learner.policy(state), drawn=True)

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
        self,
        state: LearnerState,
        epoch: int,
        returns: Sequence[float],
        *,
        in_episode: bool,
        on_pass: OnPass | None = None,
    ) -> tuple[LearnerState, Metrics]:
        del on_pass
        return pass_gate(self._learner, state, epoch, returns, in_episode=in_episode)

    def new_episode(self, state: LearnerState) -> LearnerState:
        return self._learner.new_episode(state)

    def metrics(self) -> dict[str, float]:
        return {}

    def pack(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Nothing: the state of the gate is part of the learner's state."""
        return {}, {}
