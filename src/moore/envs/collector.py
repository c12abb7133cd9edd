"""The acting policy's environment, restorable in the middle of an episode."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.envs.make import episode_seed
from moore.replay.buffer import Transition


@dataclass(frozen=True)
class Snapshot:
    """A running episode: how it began and what was done in it.

    Attributes:
        episode: its number; the reset seed follows from it and the run's seed.
        actions: (steps, action) float32, since the reset.
        obs: (obs,) float32, the last observation, to verify a replay.
        episode_return: reward so far.
        finished_returns: returns of the episodes that ended in the epoch under way.
    """

    episode: int
    actions: np.ndarray
    obs: np.ndarray
    episode_return: float
    finished_returns: tuple[float, ...] = ()


class Collector:
    """Steps one environment and starts the next episode where one ends.

    Every transition's `next_obs` is the true successor, also where the episode ends.
    """

    def __init__(self, env: gym.Env, run_seed: int):
        self._env = env
        self._run_seed = run_seed
        self._finished: list[float] = []
        self._episode, self._obs = 0, None

    def _start(self, episode: int) -> None:
        self._episode = episode
        obs, _ = self._env.reset(seed=episode_seed(self._run_seed, "act", episode))
        self._obs = np.asarray(obs, np.float32)
        self._actions: list[np.ndarray] = []
        self._return = 0.0

    @property
    def obs(self) -> np.ndarray:
        if self._obs is None:
            self._start(self._episode)
        return self._obs

    def step(self, action: np.ndarray) -> Transition:
        """One step with an action in [-1, 1]."""
        obs = self.obs
        next_obs, reward, terminated, truncated, _ = self._env.step(action)
        transition = Transition(
            obs=obs,
            action=action,
            reward=np.asarray(reward, np.float32),
            next_obs=np.asarray(next_obs, np.float32),
            terminated=np.asarray(terminated, bool),
            truncated=np.asarray(truncated and not terminated, bool),
        )
        self._actions.append(action)
        self._return += float(reward)
        self._obs = transition.next_obs
        if terminated or truncated:
            self._finished.append(self._return)
            self._start(self._episode + 1)
        return transition

    def take_episode_returns(self) -> list[float]:
        """Undiscounted returns of the episodes that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def snapshot(self) -> Snapshot:
        """The running episode, for a checkpoint."""
        obs = self.obs
        actions = np.asarray(self._actions, np.float32)
        return Snapshot(
            self._episode,
            actions.reshape(-1, *self._env.action_space.shape),
            obs,
            self._return,
            tuple(self._finished),
        )

    def restore(self, snapshot: Snapshot, *, replay: bool = True) -> bool:
        """Replays the running episode from its seed; False if it came out differently.

        In that case, and without `replay`, the next episode is started, with a seed of its own.
        """
        self._finished = list(snapshot.finished_returns)
        if not replay:
            self._start(snapshot.episode + 1)
            return False
        self._start(snapshot.episode)
        for action in snapshot.actions:
            obs, reward, terminated, truncated, _ = self._env.step(action)
            self._actions.append(action)
            self._return += float(reward)
            self._obs = np.asarray(obs, np.float32)
            if terminated or truncated:
                break
        same = len(self._actions) == len(snapshot.actions) and np.array_equal(
            self._obs, snapshot.obs
        )
        if not same:
            self._start(snapshot.episode + 1)
        return same

    def close(self) -> None:
        self._env.close()
