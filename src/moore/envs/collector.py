"""The acting policy's environment, which can be restored in the middle of an episode."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from moore.envs.adapter import Adapter
from moore.envs.make import episode_seed
from moore.envs.returns import Return
from moore.replay.buffer import Transition, measured
from moore.units import AS_GIVEN, Units


@dataclass(frozen=True)
class RunningEpisode:
    """A running episode, with what is needed to replay it.

    Attributes:
        episode: number of the episode; it and the run's seed give the reset seed.
        actions: (steps, action) float32, the actions since the reset.
        obs: (obs,) float32, the last observation, to verify a replay; zeros before the first.
        episode_return: sum of the rewards so far.
        finished_returns: returns of the episodes that ended in the current epoch.
    """

    episode: int
    actions: np.ndarray
    obs: np.ndarray
    episode_return: float
    finished_returns: tuple[float, ...] = ()


class Collector:
    """Steps one environment and starts the next episode where one ends.

    Every transition's `next_obs` is the true successor, also where the episode ends. A transition
    that was not measured completely (a bad reading at either end, no reward) is dropped.
    Observations and transitions are in the agents' units; returns and snapshots in the user's.
    """

    def __init__(
        self,
        env: Adapter,
        run_seed: int,
        units: Units = AS_GIVEN,
        *,
        on_fault: Callable[[str], None] | None = None,
    ):
        """Keeps the environment without resetting it.

        Args:
            env: an environment from `make_env`.
            run_seed: seed from which the reset seeds are derived.
            units: conversion between the user's and the agents' units.
            on_fault: called with what is wrong, at the first of several bad readings in a row.
        """
        self._env = env
        self._run_seed = run_seed
        self._units = units
        self._on_fault = on_fault
        self._finished: list[float] = []
        self._next_episode(0)

    def _next_episode(self, episode: int) -> None:
        """Selects the next episode; the reset happens only when its observation is needed."""
        self._episode = episode
        self._obs: np.ndarray | None = None
        self._actions: list[np.ndarray] = []
        self._return = Return()

    @property
    def in_episode(self) -> bool:
        """Whether an episode has been reset and has not ended."""
        return self._obs is not None

    def observation(self) -> np.ndarray:
        """The current observation, in the agents' units; the first call resets the environment.

        While the readings are bad, it is the last good observation.
        """
        return self._units.obs_in(self._show())

    def _show(self) -> np.ndarray:
        """The current observation in the user's units."""
        if self._obs is None:
            seed = episode_seed(self._run_seed, "act", self._episode)
            self._obs, _ = self._env.reset(seed=seed)
            self._tell(None)
        return self._obs

    def step(self, action: np.ndarray) -> Transition | None:
        """One step with an action in [-1, 1].

        Returns the transition in the agents' units, or None if it was not measured completely.
        """
        obs, was_blind, fault = self._show(), self._env.blind, self._env.fault
        next_obs, reward, terminated, truncated, _ = self._env.step(action)
        self._tell(fault)
        whole = self._env.fault is None and not was_blind
        self._actions.append(action)
        self._return.add(reward)
        self._obs = next_obs
        if terminated or truncated:
            total = self._return.total
            self._finished += [] if total is None else [total]
            self._next_episode(self._episode + 1)
        if not whole:
            return None
        cut = truncated and not terminated
        seen = measured(obs, action, reward, next_obs, terminated=terminated, truncated=cut)
        return self._units.transition_in(seen)

    def cut_episode(self) -> None:
        """Leaves the running episode, whose return does not count; the next one begins."""
        self._next_episode(self._episode + 1)

    def _tell(self, before: str | None) -> None:
        """Reports a bad reading, unless the one before was bad already."""
        if self._on_fault is not None and self._env.fault is not None and before is None:
            self._on_fault(self._env.fault)

    def take_episode_returns(self) -> list[float]:
        """Undiscounted returns of the episodes that ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def running_episode(self) -> RunningEpisode:
        """The running episode, for a checkpoint."""
        actions = np.asarray(self._actions, np.float32)
        unbegun = np.zeros(self._env.obs_dim, np.float32)
        return RunningEpisode(
            self._episode,
            actions.reshape(-1, self._env.bounds.low.size),
            unbegun if self._obs is None else self._obs,
            self._return.measured,
            tuple(self._finished),
        )

    def restore(self, running: RunningEpisode, *, replay: bool = True) -> bool:
        """Replays the running episode from its seed; False if the result differs.

        If it differs, or without `replay`, the next episode begins, with its own seed. An episode
        without a step so far begins with the seed that it had.
        """
        self._finished = list(running.finished_returns)
        self._next_episode(running.episode)
        if not len(running.actions):
            return True
        same = replay and self._replay(running)
        if not same:
            self._next_episode(running.episode + 1)
        return same

    def _replay(self, running: RunningEpisode) -> bool:
        obs = self._show()
        for action in running.actions:
            obs, reward, terminated, truncated, _ = self._env.step(action)
            self._actions.append(action)
            self._return.add(reward)
            if terminated or truncated:
                break
        self._obs = obs
        whole = len(self._actions) == len(running.actions)
        return whole and np.array_equal(self._obs, running.obs)

    def close(self) -> None:
        self._env.close()
