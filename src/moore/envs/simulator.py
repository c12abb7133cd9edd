"""An environment's facts (bounds, time limit), and its bare simulator, made without noise."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.envs.make import action_bounds, make_env


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class EnvFacts:
    """What a log of the environment must keep to."""

    env_id: str
    obs_dim: int
    action_low: np.ndarray  # (action_dim,) float32, the environment's own
    action_high: np.ndarray
    step_limit: int | None  # steps after which an episode is cut; None: it sets no limit


def env_facts(env_id: str | None) -> EnvFacts | None:
    """Facts of an environment, None if it cannot be made here, for whatever reason."""
    if env_id is None:
        return None
    try:
        with quiet_mujoco():
            env = make_env(env_id)
            low, high = action_bounds(env)
            env.close()
        limit = gym.spec(env_id).max_episode_steps
    except Exception:  # an environment's constructor may raise anything; its facts are optional
        return None
    return EnvFacts(env_id, env.observation_space.shape[0], low, high, limit)


@contextlib.contextmanager
def quiet_mujoco() -> Iterator[None]:
    """Keeps MuJoCo's warnings (old model files, unstable states) off the terminal and the disk."""
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)
