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

from moore.formats.live_steps import Step
from moore.runs.setup import Setup
from moore.sessions.acting import ReadyPolicy, ready
from moore.sessions.feeder import transition_of
from moore.sessions.learner_side import knows_episode
from moore.stages.booking import book, drop_others
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.choosing import Chooser, Turn
from moore.stages.state import LearnerState
from moore.stages.supervised import SupervisedBudget, SupervisedTrials
from moore.stages.trials import Trials


class Published(NamedTuple):
    """A policy that came from the learner process, its number, and the setbacks known before it."""

    number: int
    policy: ReadyPolicy
    heard: int = 0


@runtime_checkable
class Turns(Protocol):
    """Decides who acts.

    Attributes:
        heard: number of the setbacks that the learner knew when it accepted the newest policy
            that was taken up.
    """

    heard: int

    @property
    def budget(self) -> DipBudget | None:
        """The account and its decisions; None without a dip budget."""

    @property
    def turn(self) -> Turn:
        """Whose turn it is by what was decided so far."""

    def decide(
        self,
        newest: Published | None,
        waiting: Sequence[Step],
        obs: Float[np.ndarray, " obs"],
        *,
        trying: bool,
    ) -> tuple[Turn, dict, bool]:
        """Whose turn it is now, what the record of the action must tell, and whether it may try.

        Args:
            newest: the newest policy from the learner; None before the first one.
            waiting: steps of the unit that did not come out yet.
            obs: the unit's observation.
            trying: whether the loss budget alone decides if a policy tries beside a controller.
        """

    def add(self, step: Step) -> None:
        """Takes a step that came out."""


def turns_of(setup: Setup, chooser: Chooser, state: LearnerState) -> Turns:
    """Goes on from the decisions of a learner in this process."""
    if isinstance(chooser, SupervisedTrials):
        return SupervisedTurns(setup, chooser)
    if isinstance(chooser, Trials):
        return TrialTurns(setup, chooser)
    return NewestTurns(ready(setup.policy(chooser.turn(state).policy())))


def _turn(policy: ReadyPolicy, *, drawn: bool) -> Turn:
    return Turn(policy, lambda: policy.policy.weights, drawn)


class NewestTurns:
    """The newest policy acts, from the first action after it has come."""

    budget = None

    def __init__(self, policy: ReadyPolicy):
        self.turn, self.heard = _turn(policy, drawn=True), 0

    def decide(
        self,
        newest: Published | None,
        waiting: Sequence[Step],
        obs: Float[np.ndarray, " obs"],
        *,
        trying: bool = False,
    ) -> tuple[Turn, dict, bool]:
        del waiting, obs, trying
        if newest is not None and newest.policy is not self.turn.of:
            self.turn, self.heard = _turn(newest.policy, drawn=True), newest.heard
        return self.turn, {}, False

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
        self.budget, self.heard = trials.budget, 0
        self._policies = {
            number: ready(setup.policy(policy)) for number, policy in trials.policies.items()
        }
        self._booked = 0  # number of the last step that was booked
        self._notes: dict = {}  # that no record holds yet
        self._heard = 0  # `heard`, as soon as a record holds them

    @property
    def turn(self) -> Turn:
        return _turn(self._policies[self.budget.running.acting], drawn=False)

    def decide(
        self,
        newest: Published | None,
        waiting: Sequence[Step],
        obs: Float[np.ndarray, " obs"],
        *,
        trying: bool = False,
    ) -> tuple[Turn, dict, bool]:
        del trying
        self._forget_notes(waiting)
        if len(waiting) == 1 and waiting[0].number > self._booked:
            self._book(_after_act(waiting[0], obs))
        if any(not step.settled and step.number > self._booked for step in waiting):
            held = self._notes | {"held": True}
            return _turn(self._policies[REFERENCE], drawn=False), held, False
        self._take_up(newest)
        return _turn(self._policies[self.budget.acting], drawn=False), self._notes, False

    def add(self, step: Step) -> None:
        self._forget_notes([step])
        if step.number == 0:
            self.budget.end(terminated=False)
        elif step.own and step.number > self._booked:
            self._book(step)

    def _take_up(self, newest: Published | None) -> None:
        """Offers the newest policy for a trial, if an episode begins."""
        if newest is None or newest.number <= self._taken or self.budget.running.planned:
            return
        self._taken = newest.number
        if self.budget.offer(newest.number):
            self._policies[newest.number] = newest.policy
            self._notes, self._heard = {"offer": newest.number}, newest.heard

    def _forget_notes(self, steps: Sequence[Step]) -> None:
        """Once the record of a step holds what is to be told, it is not told again."""
        if self._notes and any(step.offer is not None for step in steps):
            self._notes, self.heard = {}, self._heard

    def _book(self, step: Step) -> None:
        """Counts a step in the account once everything is known of it that ever will be."""
        if not step.settled:
            return
        self._booked = step.number
        self._told(step)
        transition = transition_of(step, self._setup) if step.whole else None
        book(self.budget, self._setup.units, transition, in_episode=not step.ends)
        self._after(step)
        drop_others(self._policies, self.budget)

    def _told(self, step: Step) -> None:
        """Before a step is booked the account hears who has acted."""
        if step.reference_only:
            self.budget.withhold()

    def _after(self, step: Step) -> None:
        """After a step was booked."""


class SupervisedTurns(TrialTurns):
    """Trials beside a controller, where a supervisor decides who acts, and the account is told.

    A policy is taken up at the beginning of an episode, if every reward before it is known.
    """

    budget: SupervisedBudget

    @property
    def turn(self) -> Turn:
        return _turn(self._policies[self.budget.candidate(self._policies)], drawn=False)

    def decide(
        self,
        newest: Published | None,
        waiting: Sequence[Step],
        obs: Float[np.ndarray, " obs"],
        *,
        trying: bool = False,
    ) -> tuple[Turn, dict, bool]:
        del obs
        self._forget_notes(waiting)
        if not waiting:
            self._take_up(newest)
        # Asked first, because the account may decide now whose turn it is.
        affordable = trying and knows_episode(waiting) and self.budget.lets_others_act
        return self.turn, self._notes, affordable

    def _told(self, step: Step) -> None:
        if step.decision is not None:
            candidate = self.budget.candidate(self._policies)
            by_reference = step.actor == "old"
            self.budget.told(by_reference=by_reference, free=step.may_try, policy=candidate)

    def _after(self, step: Step) -> None:
        if step.alarmed:
            self.budget.take_back()


def _after_act(step: Step, obs: Float[np.ndarray, " obs"]) -> Step:
    """The newest step of a unit as it will be known after the next action in `obs`."""
    if not step.seen:
        return replace(step, lost=True)
    return step if step.next_obs is not None else replace(step, next_obs=obs)
