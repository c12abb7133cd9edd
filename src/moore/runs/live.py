"""A wrapper of the live system that notes whether the system itself failed."""

from moore.envs.collector import Collector
from moore.replay.buffer import Transition
from moore.stages.online import System


class Guarded(System):
    """A system that notes its failures, so that the data collected before one are kept.

    Attributes:
        failed: whether the last call raised an error.
    """

    def __init__(self, collector: Collector):
        self._collector = collector
        self.failed = False

    def observation(self):
        self.failed = True
        obs = self._collector.observation()
        self.failed = False
        return obs

    @property
    def in_episode(self) -> bool:
        return self._collector.in_episode

    def step(self, action) -> Transition | None:
        self.failed = True
        transition = self._collector.step(action)
        self.failed = False
        return transition

    def cut_episode(self) -> None:
        self._collector.cut_episode()

    def take_episode_returns(self) -> list[float]:
        return self._collector.take_episode_returns()
