"""Making Gymnasium environments, and reading their ids and spaces."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from moore.envs.adapter import MAX_BAD_READINGS, Adapter, check_interface
from moore.envs.bounds import Bounds
from moore.envs.limits import step_limit
from moore.errors import InputError
from moore.jax_settings import users_jax


@dataclass(frozen=True)
class Registered:
    """An environment by its Gymnasium id.

    Attributes:
        env_id: `Name-v0`, or `module:Name-v0`, whose module is imported.
        arguments: arguments of `gymnasium.make` as a JSON object; empty if there are none.
    """

    env_id: str
    arguments: str = ""

    def __call__(self) -> gym.Env:
        try:
            with warnings.catch_warnings():
                # The v4 tasks are what D4RL's data call for; their age is no news to the user.
                warnings.filterwarnings("ignore", message=".*out of date.*")
                return gym.make(self.env_id, **parse_arguments(self.arguments))
        except InputError:
            raise
        except Exception as error:  # what an environment's constructor raises is its own business
            first = (str(error).splitlines() or [type(error).__name__])[0]
            given = f" with {self.arguments}" if self.arguments else ""
            raise InputError(
                f"environment '{self.env_id}'{given} cannot be made: {first}"
            ) from error

    @property
    def __name__(self) -> str:
        return self.env_id


# Of an action's entry, between its bounds.
_FEWEST_STEPS = 1000

# A Gymnasium id, or a function without arguments that makes an environment.
EnvSource = str | Registered | Callable[[], gym.Env]


def parse_arguments(text: str) -> dict[str, Any]:
    """Arguments of `gymnasium.make` from a JSON object; an empty text gives none.

    Raises:
        InputError: the text is no JSON object.
    """
    try:
        arguments = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InputError(f"env_args is {text!r}, which is not JSON: {error}.") from None
    if not isinstance(arguments, dict):
        raise InputError(
            f"env_args is {text!r}; expected a JSON object, such as '{{\"load\": 5}}'."
        )
    return arguments


def make_env(
    source: EnvSource,
    *,
    limit: int | None = None,
    name: str | None = None,
    max_bad_readings: int = MAX_BAD_READINGS,
) -> Adapter:
    """Makes an environment with actions in [-1, 1] and checked readings; it is not reset.

    Args:
        source: a Gymnasium id, or a function without arguments that makes an environment.
        limit: cut episodes after this many steps, if the environment does not end them before.
        name: name of the environment in errors; by default the id or the function's name.
        max_bad_readings: see `Adapter`.

    Raises:
        InputError: the id is unknown, a dependency is missing, the interface is not Gymnasium's,
            or a space is not a vector with finite action bounds.
    """
    if not callable(source) and not isinstance(source, str):
        raise InputError(
            f"env is a {type(source).__name__}; give an id or a function that makes it."
        )
    if isinstance(source, str):
        source = Registered(source)
    name = str(name or getattr(source, "__name__", "the environment"))
    with users_jax():
        env = source()
    try:
        check_interface(env, name)
        _check_spaces(env, name)
    except InputError:
        if hasattr(env, "close"):
            env.close()
        raise
    return Adapter(env, name=name, limit=limit, max_bad_readings=max_bad_readings)


def _check_spaces(env: gym.Env, name: str) -> None:
    obs, action = env.observation_space, env.action_space
    if not isinstance(action, gym.spaces.Box):
        raise InputError(
            f"{name} has the action space {action}; moore needs a continuous one (Box)."
        )
    if not isinstance(obs, gym.spaces.Box) or len(obs.shape) != 1 or 0 in obs.shape:
        raise InputError(
            f"{name} has the observation space {obs}; moore needs a flat Box "
            "(gymnasium.wrappers.FlattenObservation makes one)."
        )
    if len(action.shape) != 1 or 0 in action.shape:
        raise InputError(
            f"{name} has the action space {action}, of shape {action.shape}; moore needs a flat "
            "vector, shape (n,): wrap it in gymnasium.wrappers.TransformAction, and give the log's "
            "actions the same shape."
        )
    if action.dtype.kind != "f":
        raise InputError(
            f"{name} has the action space {action}, of whole numbers ({action.dtype}); moore needs "
            "floating-point actions: give it a float Box and round inside the environment."
        )
    _check_bounds(action, name)


def _check_bounds(action: gym.spaces.Box, name: str) -> None:
    low, high = (np.asarray(bound, np.float64) for bound in (action.low, action.high))
    with np.errstate(invalid="ignore"):
        reach = high - low
    if not np.all(reach <= np.finfo(np.float32).max):  # False for NaN, too
        raise InputError(
            f"{name} has the action space {action}; its bounds must be finite, and so must their "
            "differences as float32; give it the bounds of the actuators. (ClipAction of Gymnasium "
            "hides them: leave it out, since moore sends nothing beyond the bounds.)"
        )
    if (low > high).any() or (low == high).all():
        raise InputError(
            f"{name} has the action space {action}: its bounds leave nothing to choose from."
        )
    steps = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
    coarse = (reach > 0) & (reach < _FEWEST_STEPS * steps)
    if coarse.any():
        entry = int(coarse.argmax())
        raise InputError(
            f"{name} has the action space {action}: between the bounds of entry {entry}, "
            f"{low[entry]:.10g} and {high[entry]:.10g}, there are fewer than {_FEWEST_STEPS} "
            "numbers in float32, which moore computes in; subtract an offset inside the "
            "environment."
        )


def action_bounds(env: Adapter) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action of the environment that the user gave, (action,) float32."""
    return env.bounds.low, env.bounds.high


def episode_seed(run_seed: int, purpose: str, episode: int) -> int:
    """The reset seed of an episode; each purpose has its own stream of seeds."""
    streams = {"act": 1, "evaluate": 2, "random": 3, "baseline": 4, "collect": 5, "units": 6}
    streams |= {"probe": 7}
    sequence = np.random.SeedSequence([run_seed, streams[purpose], episode])
    # Simulators in C take a signed number of 32 bits.
    return int(sequence.generate_state(1)[0]) & 0x7FFFFFFF


__all__ = [
    "Adapter",
    "Bounds",
    "EnvSource",
    "Registered",
    "action_bounds",
    "episode_seed",
    "make_env",
    "parse_arguments",
    "step_limit",
]
