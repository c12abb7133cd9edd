"""Online learning, one call at a time: lines 7 to 19 of Algorithm 1 for whoever has the clock.

A loop over an environment (`moore.stages.online`) and a session that a control system calls
(`moore.sessions`) both drive `OnlineLearning`; the numbers in comments are lines of Algorithm 1.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from moore.experience.protocol import OnPass
from moore.replay.buffer import Transition
from moore.stages.choosing import Chooser
from moore.stages.epoch import Epoch
from moore.stages.learner import Learner, LearnerState
from moore.stages.lengthen import lengthened
from moore.stages.supervised import SupervisedTrials
from moore.trees import copied


class OnlineLearning:
    """The online stage, which waits for its caller between any two of its steps.

    `act` and `observe` belong to a step in the system, `learn` does what is due after one step.
    Learning may lag behind: every step is learned from once, in order, whenever `learn` is called.

    Attributes:
        learner: the operations of Algorithm 1.
        state: the newest state, after the last call that ended.
        chooser: decides who acts.
        epoch: the epoch under way: the one whose steps are learned from.
        verdict: whether the newest policy was accepted when it was considered last; None if
            nobody has considered one.
        accepted: number of times that it was, in this process.
    """

    def __init__(
        self, learner: Learner, state: LearnerState, chooser: Chooser, *, epoch: Epoch | None = None
    ):
        """Goes on with an epoch; None: the first one begins, right after the hand-over."""
        self.learner, self.chooser = learner, chooser
        self.verdict: bool | None = None
        self.accepted = 0
        self._from_scratch = int(learner.offline.size) == 0
        self.state, self._acted = state, state
        if epoch is None:
            self.state, _ = learner.start(state)
            self.begin_epoch(1)
        else:
            self.epoch = epoch

    @property
    def warm_up(self) -> int:
        """Number of steps at the beginning without any update."""
        config = self.learner.config.online
        return max(config.random_steps, config.frozen_steps)

    def _since_hand_over(self, step: int) -> int:
        """Number of steps since the hand-over, after this step of the epoch."""
        return (self.epoch.number - 1) * self.learner.config.online.steps_per_epoch + step

    @property
    def random(self) -> bool:
        """Whether the next action is a random one."""
        taken = self._since_hand_over(self.epoch.observed + 1)
        return taken <= self.learner.config.online.random_steps

    def begin_epoch(self, number: int, *, observed: int = 0) -> None:
        """Begins an epoch, in which `observed` steps were taken while the last was learned from."""
        in_episode = True if not observed else self.epoch.in_episode
        self._settle(self.learner.summarise_data(self.state))
        self.epoch = Epoch(number, observed=observed, in_episode=in_episode)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """The action in [-1, 1] for one observation, in the agents' units; `observe` is next."""
        action, self._acted = self.chooser.act(self.state, obs, random=self.random)  # 10
        return action

    def observe(self, transition: Transition | None, *, in_episode: bool) -> None:
        """Takes a step in the system, which one of these policies has made.

        Args:
            transition: in the agents' units; None if it was not measured completely.
            in_episode: whether the episode goes on.
        """
        state = self._acted
        if transition is not None:
            state = self.learner.observe(state, transition)  # 11
        else:  # the next row does not follow the newest one
            state = self.learner.cut(state)
        epoch, dropped = self.epoch, transition is None
        epoch.observe(epoch.observed + 1, in_episode=in_episode, dropped=dropped)
        self._settle(self.chooser.observed(state, transition, in_episode=epoch.in_episode))

    def add(self, transition: Transition | None) -> None:
        """Takes a step that somebody else has made: nobody's returns count it."""
        if transition is not None:
            self._settle(self.learner.observe(self.state, transition))
        epoch = self.epoch
        epoch.observe(epoch.observed + 1, in_episode=epoch.in_episode, dropped=transition is None)

    def alarmed(self) -> None:
        """A guard does not trust the policy that acts: promotions in trials are taken back."""
        if isinstance(self.chooser, SupervisedTrials):
            self._settle(self.chooser.alarmed(self.state))

    def _settle(self, state: LearnerState) -> None:
        self.state = self._acted = state

    def cut(self) -> None:
        """The next row of D_on does not follow the newest one, as it otherwise does."""
        self._settle(self.learner.cut(self.state))

    def abandon(self) -> None:
        """The running episode is over, and nobody knows how it ended."""
        self.epoch.in_episode = False
        self._settle(self.chooser.new_episode(self.state))

    def rehearse(self) -> None:
        """Compiles what `observe` needs, so that the first call takes no longer than the others."""
        row = jax.tree.map(lambda column: np.zeros_like(column[0]), self.state.online.data)
        copy = dataclasses.replace(self.state, online=copied(self.state.online))
        self.learner.observe(copy, row)

    def grow(self) -> None:
        """Makes room for an online stage of twice the length."""
        config = self.learner.config
        longer = dataclasses.replace(config.online, epochs=2 * max(config.online.epochs, 1))
        self.learner = self.learner.changed(config=dataclasses.replace(config, online=longer))
        self.chooser.use(self.learner)
        self._settle(lengthened(self.learner, self.state))

    @property
    def steps_learned(self) -> int:
        """Number of steps since the hand-over that were learned from."""
        return self._since_hand_over(self.epoch.learned)

    @property
    def steps_observed(self) -> int:
        """Number of steps since the hand-over."""
        return self._since_hand_over(self.epoch.observed)

    @property
    def ready(self) -> bool:
        """Whether the warm-up is over and there is anything to learn from."""
        return self.steps_learned >= self.warm_up and self.has_data

    @property
    def has_data(self) -> bool:
        """Whether there is anything to learn from."""
        return not self._from_scratch or int(self.state.online.size) > 0

    @property
    def due(self) -> int:
        """Number of steps in the system that `learn` has not been called for."""
        return self.epoch.observed - self.epoch.learned

    def learn(
        self, take_returns: Callable[[], Sequence[float]], *, on_pass: OnPass | None = None
    ) -> int:
        """Does what is due after the next step that was not learned from; the number of updates.

        Args:
            take_returns: returns of the episodes that ended since it was called last.
            on_pass: function that is told about the progress of a refit.
        """
        config, step, updates = self.learner.config.online, self.epoch.learned + 1, 0
        taken = self._since_hand_over(step)
        if taken >= self.warm_up and self.has_data:
            if step % config.refit_every == 0 or taken == self.warm_up:  # 12
                self.refresh(take_returns, on_pass=on_pass)
            if taken > self.warm_up and step % config.update_every == 0:
                updates = self.update()
        self.epoch.learned = step
        return updates

    def refresh(
        self, take_returns: Callable[[], Sequence[float]], *, on_pass: OnPass | None = None
    ) -> None:
        """Refits the models, makes rollouts in them, and asks whether the newest policy may act."""
        learner, epoch = self.learner, self.epoch
        state, fresh = learner.refresh(self.state, epoch.number, on_pass=on_pass)  # 13-16
        returns = take_returns()  # after the refit: a run that is stopped in it has lost none
        state, gates = self.chooser.consider(
            state, epoch.number, returns, in_episode=epoch.in_episode, on_pass=on_pass
        )
        if (accepted := gates.get("gate/accepted")) is not None:
            self.verdict = bool(accepted)
            self.accepted += self.verdict
        epoch.refreshed(fresh, returns, gates)
        self._settle(state)

    def update(self) -> int:
        """One group of gradient updates; their number."""
        updates = self.learner.config.online.updates_per_group
        state, loss = self.learner.update(self.state, self.epoch.number, updates)  # 18
        self.epoch.measured["losses"].append(loss)
        self._settle(state)
        return updates

    def end_epoch(self, returns: Sequence[float]) -> dict:
        """The epoch's metrics; `returns`: of episodes that ended since the last refresh."""
        return self.learner.reported(self.epoch.metrics(returns)) | self.chooser.metrics()
