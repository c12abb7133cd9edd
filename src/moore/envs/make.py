"""Gymnasium at the edge: making environments whose actions lie in [-1, 1]."""

import warnings
from collections.abc import Callable

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RescaleAction, TimeLimit

from moore.envs.users import in_users_jax
from moore.errors import InputError
from moore.jax_settings import users_jax

EnvSource = str | Callable[[], gym.Env]

# For environments that set no time limit of their own, so that every episode ends.
DEFAULT_MAX_EPISODE_STEPS = 1000


def make_env(source: EnvSource) -> gym.Env:
    """An environment with a flat observation, actions in [-1, 1] and a time limit.

    Args:
        source: a Gymnasium id, or a function without arguments that makes an environment.

    Raises:
        InputError: unknown id, missing dependency, or spaces that are not continuous and bounded.
    """
    if not callable(source) and not isinstance(source, str):
        raise InputError(
            f"env is a {type(source).__name__}; give an id or a function that makes it."
        )
    with users_jax():
        env = source() if callable(source) else _make_by_id(source)
    name = source if isinstance(source, str) else getattr(source, "__name__", "the environment")
    try:
        _check_spaces(env, name)
    except InputError:
        env.close()
        raise
    if step_limit(env) is None:
        env = TimeLimit(env, DEFAULT_MAX_EPISODE_STEPS)
    return RescaleAction(in_users_jax(env), np.float32(-1.0), np.float32(1.0))


def step_limit(env: gym.Env) -> int | None:
    """After how many steps an episode is cut: the lowest limit of its wrappers; None: none has one.

    Not `env.spec`'s, which an environment that is not registered does not have.
    """
    limits = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)


def _make_by_id(env_id: str) -> gym.Env:
    try:
        with warnings.catch_warnings():
            # The v4 tasks are what D4RL's data call for; their age is no news to the user.
            warnings.filterwarnings("ignore", message=".*out of date.*")
            return gym.make(env_id)
    except (gym.error.Error, ImportError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"environment '{env_id}' cannot be made: {first}") from None


def _check_spaces(env: gym.Env, name: str) -> None:
    obs, action = env.observation_space, env.action_space
    if not isinstance(action, gym.spaces.Box):
        raise InputError(
            f"{name} has the action space {action}; moore needs a continuous one (Box)."
        )
    if not isinstance(obs, gym.spaces.Box) or len(obs.shape) != 1:
        raise InputError(
            f"{name} has the observation space {obs}; moore needs a flat Box "
            "(gymnasium.wrappers.FlattenObservation makes one)."
        )
    if len(action.shape) != 1 or not np.all(np.isfinite([action.low, action.high])):
        raise InputError(f"{name} has the action space {action}; its bounds must be finite.")


def action_bounds(env: gym.Env) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action of the environment itself, before the scaling to [-1, 1]."""
    space = env.unwrapped.action_space
    return space.low.astype(np.float32), space.high.astype(np.float32)


def episode_seed(run_seed: int, purpose: str, episode: int) -> int:
    """The reset seed of an episode, in [0, 2**31): what a simulator in C can take as an int.

    Each purpose has a stream of its own.
    """
    streams = {"act": 1, "evaluate": 2, "random": 3, "baseline": 4, "collect": 5}
    sequence = np.random.SeedSequence([run_seed, streams[purpose], episode])
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF
