"""A plant of which only the signals are known: enough to learn from its log."""

from collections.abc import Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.errors import InputError


@dataclass(frozen=True)
class PlantSpec:
    """The signals of a plant, in place of an environment, for a run that never steps one.

    It is given to `moore.run` as `env`, with `stages="offline"` and `evaluation.episodes = 0`. Then
    a `moore.Session` acts in the plant itself.

    Attributes:
        obs_dim: number of entries of an observation.
        action_low: lower bounds of each entry of an action.
        action_high: upper bounds of each entry of an action.
        episode_steps: number of steps after which an episode is cut; None: found in the log.

    Examples:
        >>> plant = PlantSpec(2, action_low=[0.0], action_high=[5.0])
        >>> plant().action_space.shape
        (1,)
    """

    obs_dim: int
    action_low: Sequence[float]
    action_high: Sequence[float]
    episode_steps: int | None = None

    @property
    def __name__(self) -> str:
        return "the plant's specification"

    def __call__(self) -> gym.Env:
        """An environment that has spaces and cannot be stepped.

        Raises:
            InputError: the numbers describe no plant.
        """
        low, high = (np.asarray(x, np.float64) for x in (self.action_low, self.action_high))
        fits = type(self.obs_dim) is int and self.obs_dim > 0 and low.ndim == 1 and low.size > 0
        fits = fits and low.shape == high.shape and bool((low <= high).all())
        if not (fits and np.isfinite([low, high]).all()):
            raise InputError(
                f"{self!r} describes no plant: expected a positive obs_dim, and as many finite "
                "lower bounds of the actions as upper ones."
            )
        env = _Spaces(self.obs_dim, low, high)
        if self.episode_steps is None:
            return env
        return gym.wrappers.TimeLimit(env, self.episode_steps)


class _Spaces(gym.Env):
    """Spaces alone."""

    def __init__(self, obs_dim: int, low: np.ndarray, high: np.ndarray):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
        self.action_space = gym.spaces.Box(low, high, dtype=np.float64)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        del seed, options
        raise InputError(_NOT_STEPPED)

    def step(self, action: np.ndarray):
        del action
        raise InputError(_NOT_STEPPED)


_NOT_STEPPED = (
    "a PlantSpec describes a plant and cannot be stepped: run the offline stage alone "
    '(stages="offline") with evaluation.episodes = 0, then act in the plant with a moore.Session.'
)
