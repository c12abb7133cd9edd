"""The acting policy's environment, restorable in the middle of an episode."""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.envs.make import episode_seed
from moore.replay.buffer import Transition
from moore.units import AS_GIVEN, Units


@dataclass(frozen=True)
class Snapshot:
    """A running episode: how it began and what was done in it.

    Attributes:
        episode: its number; the reset seed follows from it and the run's seed.
        actions: (steps, action) float32, since the reset.
        obs: (obs,) float32, the last observation, to verify a replay; zeros before the first.
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

    Every transition's `next_obs` is the true successor, also where the episode ends. What it shows
    and returns is in the agents' units; returns and snapshots are in the user's.
    """

    def __init__(self, env: gym.Env, run_seed: int, units: Units = AS_GIVEN):
        self._env = env
        self._run_seed = run_seed
        self._units = units
        self._finished: list[float] = []
        self._next_episode(0)

    def _next_episode(self, episode: int) -> None:
        """It begins when it is first looked at: a system is not moved before it is used."""
        self._episode, self._obs = episode, None
        self._actions: list[np.ndarray] = []
        self._return = 0.0

    def observation(self) -> np.ndarray:
        """What the system shows now, in the agents' units; the first look begins an episode."""
        return self._units.obs_in(self._look())

    def _look(self) -> np.ndarray:
        """The same in the user's units."""
        if self._obs is None:
            seed = episode_seed(self._run_seed, "act", self._episode)
            self._obs = np.asarray(self._env.reset(seed=seed)[0], np.float32)
        return self._obs

    def step(self, action: np.ndarray) -> Transition:
        """One step with an action in [-1, 1]; the transition in the agents' units."""
        obs = self._look()
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
            self._next_episode(self._episode + 1)
        return self._units.transition_in(transition)

    def take_episode_returns(self) -> list[float]:
        """Undiscounted returns of the episodes that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def snapshot(self) -> Snapshot:
        """The running episode, for a checkpoint."""
        actions = np.asarray(self._actions, np.float32)
        unbegun = np.zeros(self._env.observation_space.shape, np.float32)
        return Snapshot(
            self._episode,
            actions.reshape(-1, *self._env.action_space.shape),
            unbegun if self._obs is None else self._obs,
            self._return,
            tuple(self._finished),
        )

    def restore(self, snapshot: Snapshot, *, replay: bool = True) -> bool:
        """Replays the running episode from its seed; False if it came out differently.

        In that case, and without `replay`, the next one is to begin, with a seed of its own. One
        that had no step yet is to begin as it would have.
        """
        self._finished = list(snapshot.finished_returns)
        self._next_episode(snapshot.episode)
        if not len(snapshot.actions):
            return True
        same = replay and self._replay(snapshot)
        if not same:
            self._next_episode(snapshot.episode + 1)
        return same

    def _replay(self, snapshot: Snapshot) -> bool:
        obs = self._look()
        for action in snapshot.actions:
            obs, reward, terminated, truncated, _ = self._env.step(action)
            self._actions.append(action)
            self._return += float(reward)
            if terminated or truncated:
                break
        self._obs = np.asarray(obs, np.float32)
        whole = len(self._actions) == len(snapshot.actions)
        return whole and np.array_equal(self._obs, snapshot.obs)

    def close(self) -> None:
        self._env.close()
