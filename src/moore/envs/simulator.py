"""An environment's facts (bounds, time limit), found without MuJoCo's warnings on the terminal."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from moore.data.checks import shown
from moore.envs.make import action_bounds, make_env, step_limit
from moore.errors import InputError


@dataclass(frozen=True, eq=False)  # arrays have no single truth value, so identity is equality
class EnvFacts:
    """The action bounds and the step limit that a log of the environment has to respect."""

    env_id: str
    obs_dim: int
    action_low: np.ndarray  # (action_dim,) float32, the environment's own
    action_high: np.ndarray
    step_limit: int | None  # steps after which an episode is cut; None: it states no limit


def env_facts(env_id: str) -> EnvFacts:
    """Facts of an environment, which is made as `moore run` makes it.

    Args:
        env_id: Gymnasium id; the module of `module:Id` is imported, so only the user may name one.

    Raises:
        InputError: the environment cannot be made here; the message says why.
    """
    try:
        with quiet_mujoco(), contextlib.closing(make_env(env_id)) as env:
            low, high = action_bounds(env)
            return EnvFacts(env_id, env.obs_dim, low, high, step_limit(env))
    except InputError:
        raise
    except Exception as error:  # an environment's constructor may raise anything
        raise InputError(
            f"environment '{shown(env_id)}' cannot be made: {type(error).__name__}: {shown(error)}"
        ) from error


@contextlib.contextmanager
def quiet_mujoco() -> Iterator[None]:
    """Keeps MuJoCo's warnings (old model files, unstable states) off the terminal and the disk."""
    try:
        import mujoco
    except ImportError:  # then no environment of this kind can be made
        yield
        return
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)
