"""Hands complete steps to the learner, whole stretches of one unit after the other.

Some agents read returns from rows that follow one another, so the rows of two units must not be
mixed. If the session acts in one unit, its steps go on at once. As soon as it acts in a second one,
a unit's steps wait until its episode ends or is cut, or until there are `STRETCH` of them. Steps
that somebody else made come as whole blocks, and go on at once.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import PyTree

from moore.envs.returns import Return
from moore.formats.live_steps import Step, Unit
from moore.replay.buffer import Transition, measured
from moore.runs.setup import Setup
from moore.stages.online_learning import OnlineLearning
from moore.stages.supervised import SupervisedTrials
from moore.stages.trials import Trials

STRETCH = 250


class Feeder:
    """The steps on their way to the learner.

    Attributes:
        fed: number of steps that the learner has, in the order in which they came.
        finished: returns of episodes in which the session's policy alone acted, as they ended,
            until somebody takes them.
    """

    def __init__(
        self,
        setup: Setup,
        learning: OnlineLearning,
        *,
        skip: int = 0,
        finished: Sequence[float] = (),
        published: Callable[[int], PyTree] | None = None,
    ):
        """Goes on where the learner has the first `skip` steps, and `finished` were not taken.

        `published` finds a policy that was offered for trials, by its number.
        """
        self._setup, self._learning, self._skip = setup, learning, skip
        self._published = published
        self._at_skip, self.finished = list(finished), list(finished)
        self._waiting: dict[Unit, list[Step]] = {}
        self._acting: set[Unit] = set()
        self._returns: dict[Unit, Return] = {}
        self._shared: set[Unit] = set()  # units in whose episode another controller has acted
        self._tail: tuple[Unit] | None = None
        online = learning.state.online
        self._rows = int(online.size)
        ended = online.data.terminated | online.data.truncated
        # Whether the next row of D_on would be taken to follow the newest one.
        self._open = self._rows > 0 and not bool(ended[self._rows - 1])
        self.fed = 0

    def add(self, step: Step) -> None:
        """Takes the next step that came out."""
        if step.own:
            self._acting.add(step.unit)
        waiting = self._waiting.setdefault(step.unit, [])
        waiting.append(step)
        at_once = len(self._acting) <= 1 or not step.own
        if at_once or step.ends or step.lost or len(waiting) >= STRETCH:
            self._waiting[step.unit] = []
            for one in waiting:
                self._feed(one)

    def take_returns(self) -> list[float]:
        """Returns of the episodes that ended since the last call."""
        found, self.finished = self.finished, []
        return found

    def _feed(self, step: Step) -> None:
        self.fed += 1
        self._count(step)
        follows, was_open = self._tail == (step.unit,), self._open
        self._tail = (step.unit,) if step.whole and not step.ends else None
        if step.whole:
            self._open = not step.ends
        if self.fed <= self._skip:
            self.finished = list(self._at_skip)
            return
        if step.whole and was_open and not follows:
            self._learning.cut()
        if step.number == 0:
            self._learning.abandon()
            return
        transition = transition_of(step, self._setup) if step.whole else None
        if transition is not None:
            if self._rows == self._learning.state.online.capacity:
                self._learning.grow()
            self._rows += 1
        if not step.own:
            self._learning.add(transition)
            return
        self._repeat(step)
        self._learning.observe(transition, in_episode=not step.ends)
        if step.alarmed:
            self._learning.alarmed()

    def make_room(self) -> None:
        """Doubles the room for rows as soon as half of it is used, and prepares for it.

        This takes seconds, so it is done while learning, and not when it is too late.
        """
        if 2 * self._rows >= self._learning.state.online.capacity:
            self._learning.grow()
            self._learning.rehearse()

    def _repeat(self, step: Step) -> None:
        """What was decided about trials before this step, where it was acted."""
        chooser = self._learning.chooser
        if not isinstance(chooser, Trials):
            return
        if step.offer is not None and self._published is not None:
            chooser.take_up(step.offer, self._published(step.offer))
        if step.reference_only:
            chooser.budget.withhold()
        if step.decision is not None and isinstance(chooser, SupervisedTrials):
            chooser.told(by_reference=step.actor == "old", free=step.may_try)

    def _count(self, step: Step) -> None:
        """Adds up the return of the session's own episodes."""
        if step.number == 0:
            self._returns.pop(step.unit, None)
            self._shared.discard(step.unit)
        elif step.own:
            total = self._returns.setdefault(step.unit, Return())
            total.add(math.nan if step.lost or step.reward is None else step.reward)
            if step.actor == "old":
                self._shared.add(step.unit)
            if step.ends:
                earned = self._returns.pop(step.unit).total
                if earned is not None and step.unit not in self._shared:
                    self.finished.append(earned)
                self._shared.discard(step.unit)


def transition_of(step: Step, setup: Setup) -> Transition:
    """A step that was measured completely, in the agents' units."""
    assert step.reward is not None and step.next_obs is not None  # `step.whole` says so
    bounds = setup.world.bounds
    action = bounds.scaled(step.action).astype(np.float32)
    cut = step.truncated and not step.terminated
    ends = {"terminated": step.terminated, "truncated": cut}
    seen = measured(step.obs, action, step.reward, step.next_obs, **ends)
    return setup.units.transition_in(seen)
