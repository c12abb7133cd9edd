"""Hands complete steps to the learner, whole stretches of one unit after the other.

Some agents read returns from rows that follow one another, so the rows of two units must not be
mixed. One unit's steps go on at once. As soon as there is a second one, every unit's steps wait
until its episode ends or is cut, or until there are `STRETCH` of them.
"""

import math

import numpy as np

from moore.data.live_steps import Step, Unit
from moore.envs.returns import Return
from moore.replay.buffer import Transition
from moore.runs.setup import Setup
from moore.stages.online_learning import OnlineLearning

STRETCH = 250


class Feeder:
    """The steps on their way to the learner.

    Attributes:
        fed: number of steps that the learner has, in the order in which they came.
        finished: returns of the session's own episodes that ended, until somebody takes them.
    """

    def __init__(self, setup: Setup, learning: OnlineLearning, *, skip: int = 0):
        """`skip`: number of steps at the beginning that the learner has already."""
        self._setup, self._learning, self._skip = setup, learning, skip
        self._waiting: dict[Unit, list[Step]] = {}
        self._returns: dict[Unit, Return] = {}
        self._tail: Unit | None = None
        self._rows = int(learning.state.online.size)
        self.fed = 0
        self.finished: list[float] = []

    def add(self, step: Step) -> None:
        """Takes the next step that came out."""
        self._waiting.setdefault(step.unit, []).append(step)
        for unit, steps in self._waiting.items():
            complete = steps and (steps[-1].ends or steps[-1].lost or len(steps) >= STRETCH)
            if len(self._waiting) == 1 or complete:
                self._waiting[unit] = []
                for one in steps:
                    self._feed(one)

    def take_returns(self) -> list[float]:
        """Returns of the episodes that ended since the last call."""
        found, self.finished = self.finished, []
        return found

    def _feed(self, step: Step) -> None:
        self.fed += 1
        self._count(step)
        follows, self._tail = self._tail == step.unit, step.unit if _goes_on(step) else None
        if self.fed <= self._skip:
            self._open = self._tail is not None or (self._open and not step.whole)
            return
        if step.whole and self._open and not follows:
            self._learning.cut()
        if step.number == 0:
            self._learning.abandon()
            return
        transition = self._transition(step) if step.whole else None
        if transition is not None:
            self._make_room()
            self._open = not step.ends
        if step.policy is None:
            self._learning.add(transition)
        else:
            self._learning.observe(transition, in_episode=not step.ends)

    # Whether the newest row of D_on is one whose successor row would be taken to follow it.
    _open = False

    def _make_room(self) -> None:
        if self._rows == self._learning.state.online.capacity:
            self._learning.grow()
        self._rows += 1

    def _transition(self, step: Step) -> Transition:
        """The step in the agents' units."""
        bounds = self._setup.world.bounds
        seen = Transition(
            obs=step.obs,
            action=bounds.scaled(step.action).astype(np.float32),
            reward=np.asarray(step.reward, np.float32),
            next_obs=step.next_obs,
            terminated=np.asarray(step.terminated, bool),
            truncated=np.asarray(step.truncated and not step.terminated, bool),
        )
        return self._setup.units.transition_in(seen)

    def _count(self, step: Step) -> None:
        """Adds up the return of the session's own episodes."""
        if step.number == 0:
            self._returns.pop(step.unit, None)
        elif step.policy is not None:
            total = self._returns.setdefault(step.unit, Return())
            total.add(math.nan if step.lost or step.reward is None else step.reward)
            if step.ends:
                earned = self._returns.pop(step.unit).total
                self.finished += [] if earned is None else [earned]


def _goes_on(step: Step) -> bool:
    """Whether a row of this step may be followed by a row of the next."""
    return step.whole and not step.ends
