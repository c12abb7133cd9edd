"""Who acts, decided in the process that acts, while learning runs in another one.

Without a dip budget the newest policy that was published acts. With one, this process keeps the
account (`moore.stages.budget`), because only here every reward is known as soon as it is told. What
it decides stands in the records of the actions, so that the learner, which follows the log, and a
session that is resumed keep the same account by repeating the same steps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from moore.data.live_steps import Step
from moore.runs.setup import Setup
from moore.sessions.acting import Ready, ready
from moore.sessions.feeder import transition_of
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.choosing import Chooser, Turn
from moore.stages.state import LearnerState
from moore.stages.trials import Trials, book, drop_others


class Published(NamedTuple):
    """A policy that came from the learner process, and its number."""

    number: int
    policy: Ready


@runtime_checkable
class Turns(Protocol):
    """Decides who acts.

    Attributes:
        budget: the account and its decisions; None without a dip budget.
    """

    budget: DipBudget | None

    @property
    def turn(self) -> Turn:
        """Whose turn it is by what was decided so far."""

    def decide(
        self, newest: Published | None, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"]
    ) -> tuple[Turn, dict]:
        """Whose turn it is now, and what the record of the action must tell.

        Args:
            newest: the newest policy from the learner; None before the first one.
            waiting: steps of the unit that did not come out yet.
            obs: the unit's observation.
        """

    def add(self, step: Step) -> None:
        """Takes a step that came out."""


def turns_of(setup: Setup, chooser: Chooser, state: LearnerState) -> Turns:
    """Goes on from the decisions of a learner in this process."""
    if isinstance(chooser, Trials):
        return TrialTurns(setup, chooser)
    return NewestTurns(ready(setup.policy(chooser.turn(state).policy())))


def _turn(policy: Ready, *, drawn: bool) -> Turn:
    return Turn(policy, lambda: policy.policy.weights, drawn)


class NewestTurns:
    """The newest policy acts, from the first action after it has come."""

    budget = None

    def __init__(self, policy: Ready):
        self.turn = _turn(policy, drawn=True)

    def decide(
        self, newest: Published | None, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"]
    ) -> tuple[Turn, dict]:
        del waiting, obs
        if newest is not None and newest.policy is not self.turn.of:
            self.turn = _turn(newest.policy, drawn=True)
        return self.turn, {}

    def add(self, step: Step) -> None:
        del step


class TrialTurns:
    """Trials within a dip budget; policies act without noise.

    A policy is taken up at the beginning of an episode, if every reward before it is known. Where
    one is not known in time, the reference acts until the episode ends.

    Attributes:
        budget: the account and its decisions.
    """

    def __init__(self, setup: Setup, trials: Trials):
        self._setup, self._taken = setup, trials.offered
        self.budget: DipBudget = trials.budget
        self._policies = {
            number: ready(setup.policy(policy)) for number, policy in trials.policies.items()
        }
        self._booked = 0  # number of the last step that was booked
        self._notes: dict = {}  # that no record holds yet

    @property
    def turn(self) -> Turn:
        return _turn(self._policies[self.budget.running.acting], drawn=False)

    def decide(
        self, newest: Published | None, waiting: Sequence[Step], obs: Float[np.ndarray, " obs"]
    ) -> tuple[Turn, dict]:
        self._forget_notes(waiting)
        if len(waiting) == 1 and waiting[0].number > self._booked:
            self._book(_after_act(waiting[0], obs))
        if any(not step.settled and step.number > self._booked for step in waiting):
            return _turn(self._policies[REFERENCE], drawn=False), self._notes | {"held": True}
        begins = not self.budget.running.planned
        if begins and newest is not None and newest.number > self._taken:
            self._taken = newest.number
            if self.budget.offer(newest.number):
                self._policies[newest.number] = newest.policy
                self._notes = {"offer": newest.number}
        return _turn(self._policies[self.budget.acting], drawn=False), self._notes

    def add(self, step: Step) -> None:
        self._forget_notes([step])
        if step.number == 0:
            self.budget.end(terminated=False)
        elif step.own and step.number > self._booked:
            self._book(step)

    def _forget_notes(self, steps: Sequence[Step]) -> None:
        """Once the record of a step holds what is to be told, it is not told again."""
        if any(step.offer is not None for step in steps):
            self._notes = {}

    def _book(self, step: Step) -> None:
        """Books a step, if all is known of it that ever will be."""
        if not step.settled:
            return
        self._booked = step.number
        if step.held:
            self.budget.withhold()
        transition = transition_of(step, self._setup) if step.whole else None
        book(self.budget, self._setup.units, transition, in_episode=not step.ends)
        drop_others(self._policies, self.budget)


def _after_act(step: Step, obs: Float[np.ndarray, " obs"]) -> Step:
    """The newest step of a unit as it will be known after the next action in `obs`."""
    if not step.seen:
        return replace(step, lost=True)
    return step if step.next_obs is not None else replace(step, next_obs=obs)
