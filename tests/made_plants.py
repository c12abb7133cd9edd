"""Systems that misbehave as real ones do, around one small plant: s' = 0.9 s + 0.2 a, r = -s^2."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np

STEPS = 20


class Tank(gym.Env):
    """Two levels; ends by itself after `own_limit` steps, terminated or truncated as it likes."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, *, own_limit: int | None = None, terminates: bool = False):
        self.own_limit, self.terminates = own_limit, terminates
        self.sent: list[np.ndarray] = []
        self.level, self.steps = np.zeros(2, np.float32), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.level = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        self.steps = 0
        return self.level.copy(), {}

    def step(self, action):
        self.sent.append(np.array(action))
        self.steps += 1
        reward = -float(self.level @ self.level)
        self.level = (0.9 * self.level + 0.2 * np.nan_to_num(action[0])).astype(np.float32)
        over = self.steps == self.own_limit
        return self.level.copy(), reward, over and self.terminates, over and not self.terminates, {}


class Shown(gym.Wrapper):
    """Alters what a step shows: `alter(steps so far, the five values) -> the five values`."""

    def __init__(self, env: gym.Env, alter: Callable):
        super().__init__(env)
        self.alter, self.count = alter, 0

    def step(self, action):
        self.count += 1
        return self.alter(self.count, *super().step(action))


def bad_reading(*steps: int, value: float = np.nan) -> Callable:
    """The first observation entry is not finite after these steps."""

    def alter(count, obs, *rest):
        if count in steps:
            obs = np.array(obs, np.float32)
            obs[0] = value
        return obs, *rest

    return alter


def bad_reward(*steps: int, value: float = np.nan) -> Callable:
    """The reward is not finite after these steps."""

    def alter(count, obs, reward, *rest):
        return obs, value if count in steps else reward, *rest

    return alter


class InPlace(Tank):
    """Hands out its own state array, and changes it in place."""

    def reset(self, *, seed=None, options=None):
        self.level[:] = super().reset(seed=seed)[0]
        return self.level, {}

    def step(self, action):
        held = self.level
        _, *rest = super().step(action)
        held[:], self.level = self.level, held
        return self.level, *rest


def tank_log(rows: int = 200, *, seed: int = 0, **changed) -> dict[str, np.ndarray]:
    """Arrays of a log of the tank, in episodes of 20 steps; `changed` replaces some."""
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-1.0, 1.0, (rows, 2)).astype(np.float32)
    action = rng.uniform(-1.0, 1.0, (rows, 1)).astype(np.float32)
    log = {
        "obs": obs,
        "action": action,
        "reward": -(obs**2).sum(axis=1),
        "next_obs": 0.9 * obs + 0.2 * action,
        "terminated": np.zeros(rows, bool),
        "truncated": np.arange(rows) % STEPS == STEPS - 1,
    }
    return log | changed
