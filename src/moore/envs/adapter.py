"""The one adapter that every environment passes through, a simulator or the live system.

Everything that the environment returns is copied and checked, because environments reuse their
buffers, sensors fail, and older interfaces return other values. Every action that is sent is finite
and within the bounds, whatever the policy has computed and whatever the sensors show.
"""

import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from moore.envs.bounds import Bounds
from moore.errors import InputError, in_short
from moore.jax_settings import settings_differ, users_jax
from moore.numbers import as_measured

# Bad readings in a row after which an environment is taken to be broken.
MAX_BAD_READINGS = 10
_LARGEST = float(np.finfo(np.float32).max)

# What older interfaces tell in the info where an episode ends: its last observation, if step()
# returns the first one of the next episode, and a time-out that is flagged as a termination.
_TRUE_LAST = ("final_obs", "final_observation", "terminal_observation")
_TIMED_OUT = "TimeLimit.truncated"

_INTERFACE = (
    "moore speaks the interface of gymnasium.Env: reset(seed=...) returns (observation, info), and "
    "step(action) returns (observation, reward, terminated, truncated, info)"
)


class Adapter(gym.Wrapper):
    """An environment with actions in [-1, 1], true copies, finite readings and a step limit.

    A reading is bad if an entry of the observation, or the reward, is no finite float32. Then
    `fault` says what is wrong, the observation is the last good one (zeros if there was none), and
    a reward that was not measured is NaN. While the newest observation is bad, the last action
    that was computed from a good one is sent again, or the middle of the bounds if there was none.

    Attributes:
        bounds: bounds of the environment's own actions.
        limit: steps after which an episode is cut; None if the environment ends its episodes
            itself.
        fault: what is wrong with the newest reading; None if it is good.
        blind: whether the newest observation is bad.
    """

    def __init__(
        self,
        env: gym.Env,
        *,
        name: str = "the environment",
        limit: int | None = None,
        max_bad_readings: int = MAX_BAD_READINGS,
    ):
        """Wraps the environment without stepping or resetting it.

        Args:
            env: an environment with flat observations and bounded action vectors.
            name: name of the environment in errors.
            limit: see above.
            max_bad_readings: more bad readings in a row than this raise InputError.
        """
        super().__init__(env)
        space: Any = env.action_space  # a Box, which make_env has checked
        low, high = (np.array(bound, np.float32) for bound in (space.low, space.high))
        self.bounds = Bounds(low, high)
        self.action_space = gym.spaces.Box(-1.0, 1.0, low.shape, np.float32)
        self.limit = limit
        self.fault: str | None = None
        self._name, self._max_bad = name, max_bad_readings
        self._dtype = space.dtype
        self._low, self._high = space.low.copy(), space.high.copy()
        self._obs_shape = env.observation_space.shape or ()
        self._used = False
        self._bad_in_a_row = 0
        self._forget_episode()

    def _forget_episode(self) -> None:
        self._steps = 0
        self._seen = np.zeros(self._obs_shape, np.float32)
        self.blind = False
        self._last_action = np.asarray(self.bounds.middle, self._dtype)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begins an episode; the observation (obs,) float32 is a copy."""
        how: dict[str, Any] = (
            {"seed": seed} if options is None else {"seed": seed, "options": options}
        )
        result = self._call("reset", lambda: self.env.reset(**how))
        if not (isinstance(result, tuple) and len(result) == 2):
            raise InputError(f"{self._name}: reset() returns {_kind(result)}; {_INTERFACE}.")
        if not isinstance(result[1], dict):
            raise InputError(
                f"{self._name}: the info of reset() is {_kind(result[1])}; expected a dictionary, "
                "which may be empty."
            )
        self._check_space()
        self._forget_episode()
        self._read(result[0], 0.0)
        return self._seen.copy(), result[1]

    def step(self, action: np.ndarray):
        """One step with an action in [-1, 1]; bad readings are replaced as described above."""
        sound = bool(np.isfinite(action).all())
        sent = self._choose(np.asarray(action), sound=sound)
        result = self._call("step", lambda: self.env.step(sent.copy()))
        if not (isinstance(result, tuple) and len(result) == 5):
            raise InputError(f"{self._name}: step() returns {_kind(result)}; {_INTERFACE}.")
        obs, reward, terminated, truncated, info = result
        reward = self._scalar("reward", reward)
        if abs(reward) > _LARGEST:  # what overflows as float32 is not finite
            reward = math.copysign(math.inf, reward)
        self._used = True
        self._steps += 1
        before = self._seen
        self._read(obs, reward, None if sound else np.asarray(action))
        cut = self.limit is not None and self._steps >= self.limit
        terminated = self._flag("terminated", terminated)
        truncated = self._flag("truncated", truncated)
        if (terminated or truncated) and isinstance(info, dict):
            self._check_last(before, info)
            if terminated and not truncated and info.get(_TIMED_OUT) is not None:
                truncated = self._flag(_TIMED_OUT, info[_TIMED_OUT])
                terminated = not truncated
        return self._seen.copy(), reward, terminated, truncated or cut, info

    def _check_last(self, before: np.ndarray, info: dict) -> None:
        """Refuses an episode whose last observation is already the first one of the next.

        The two are told apart by their distance to the observation before them.
        """
        for key in _TRUE_LAST:
            last = np.asarray(info.get(key))
            if self.blind or last.dtype.kind not in "fiu" or last.shape != self._obs_shape:
                continue
            if np.abs(last - before).max() < np.abs(self._seen - before).max():
                raise InputError(
                    f"{self._name} resets itself: where an episode ends, step() returns another "
                    f"observation than info['{key}'], the last one. Let step() return the last "
                    "observation of the episode; moore resets."
                )

    def _check_space(self) -> None:
        """Refuses other action bounds than those by which actions have been scaled so far."""
        now = self.env.action_space  # perhaps the same object with other numbers in it
        low, high = (getattr(now, name, np.nan) for name in ("low", "high"))
        if not (np.array_equal(low, self._low) and np.array_equal(high, self._high)):
            raise InputError(
                f"{self._name}: its actions were within {self.bounds} when it was made, and are "
                f"within {low} to {high} after a reset; moore scales logged and new actions by one "
                "space. Let the environment state the widest bounds from the beginning, and clip "
                "inside."
            )

    @property
    def obs_dim(self) -> int:
        """Number of entries of an observation."""
        return self._obs_shape[0]

    @property
    def seen(self) -> np.ndarray:
        """The last good observation (obs,) float32; zeros before the first one."""
        return self._seen.copy()

    def close(self) -> None:
        """Closes the environment; if that fails, it is a warning, since all is done by then."""
        try:
            with users_jax():
                self.env.close()
        except Exception as error:  # an environment may raise anything
            warnings.warn(f"{self._name}: close() fails with {in_short(error)}.", stacklevel=2)

    def action(self, action: np.ndarray) -> np.ndarray:
        """An action in [-1, 1] in the environment's units, as it would be sent."""
        own = self.bounds.own(action).astype(self._dtype)
        return np.minimum(np.maximum(own, self._low), self._high)

    def _choose(self, action: np.ndarray, *, sound: bool) -> np.ndarray:
        """The action to send: the given one, or the last good one."""
        if self.blind:
            return self._last_action
        if action.shape != self.bounds.low.shape:
            raise InputError(
                f"{self._name} takes actions of shape {self.bounds.low.shape}, not {action.shape}."
            )
        if sound:
            self._last_action = self.action(action)
        return self._last_action

    def _read(self, obs: Any, reward: float, unsound: np.ndarray | None = None) -> None:
        """Records whether a reading is good; too many bad ones in a row raise InputError."""
        seen = self._observation(obs)
        self.blind = not np.isfinite(seen).all()
        self.fault = None
        if self.blind:
            entry = int(np.argmin(np.isfinite(seen)))
            self.fault = f"observation entry {entry} is {seen[entry]}"
        else:
            self._seen = seen
            if not math.isfinite(reward):
                self.fault = f"the reward is {reward}"
            elif unsound is not None:
                self.fault = f"the policy's action is {unsound.tolist()}"
        self._bad_in_a_row = 0 if self.fault is None else self._bad_in_a_row + 1
        if self._bad_in_a_row > self._max_bad:
            raise InputError(
                f"{self._name} has given {self._bad_in_a_row} readings in a row that are not "
                f"finite (the last: {self.fault}); look at its sensors, or allow more with "
                "--online.max-bad-readings."
            )

    def _observation(self, obs: Any) -> np.ndarray:
        """A float32 copy, because the environment may change its array later."""
        try:
            seen = as_measured(obs, f"{self._name}: the observation")
        except InputError:
            raise
        except (TypeError, ValueError):
            raise InputError(
                f"{self._name}: the observation is {_kind(obs)}; expected an array of numbers of "
                f"shape {self._obs_shape}, as its observation_space says."
            ) from None
        if seen.shape != self._obs_shape:
            raise InputError(
                f"{self._name}: the observation has shape {seen.shape}; its observation_space says "
                f"{self._obs_shape}; make the two agree."
            )
        return seen

    def _scalar(self, what: str, value: Any) -> float:
        """One number, also from an array with a single entry."""
        if isinstance(value, float):  # as nearly all are
            return float(value)
        try:
            number = as_measured(value, f"{self._name}: the {what}", np.float64)
        except InputError:
            raise
        except (TypeError, ValueError):
            number = np.zeros(2)
        if number.size != 1:
            raise InputError(f"{self._name}: the {what} is {_kind(value)}; expected one number.")
        return float(number.reshape(()))

    def _flag(self, what: str, value: Any) -> bool:
        if isinstance(value, bool | np.bool_):
            return bool(value)
        number = None if value is None else self._scalar(f"flag {what}", value)
        if number not in (0.0, 1.0):  # None and NaN are none of them
            raise InputError(f"{self._name}: {what} is {value!r}; expected True or False.")
        return bool(number)

    def _call(self, what: str, act: Callable[[], Any]) -> Any:
        """Calls the environment; a failure at the first call becomes a one-line error."""
        if self._used:
            if not settings_differ():
                return act()
            with users_jax():
                return act()
        try:
            with users_jax():
                return act()
        except InputError:
            raise
        except Exception as error:  # an environment may raise anything
            raise InputError(
                f"{self._name}: its first {what}() fails with {in_short(error)}. {_INTERFACE}."
            ) from error


def check_interface(env: Any, name: str) -> None:
    """Refuses an object that is no `gymnasium.Env`, without stepping or resetting it.

    Raises:
        InputError: the class is another one, spaces are missing, or `reset` takes no seed.
    """
    if not isinstance(env, gym.Env):
        kind = f"{type(env).__module__}.{type(env).__qualname__}"
        remedy = "Wrap it: the package shimmy has wrappers for gym, dm_control and others"
        if isinstance(env, gym.vector.VectorEnv):
            remedy = "Give a function that makes a single one; moore makes as many as it needs"
        raise InputError(f"{name} is a {kind}, which is no gymnasium.Env; {_INTERFACE}. {remedy}.")
    for space in ("observation_space", "action_space"):
        if getattr(env, space, None) is None:
            raise InputError(f"{name} has no {space}; {_INTERFACE}, and has both spaces.")
    layer = env
    while True:
        if not _takes_seed(layer.reset):
            raise InputError(
                f"{name}: {type(layer).__name__}.reset() takes no seed, as in the older Gym; "
                f"{_INTERFACE}."
            )
        if not isinstance(layer, gym.Wrapper):
            return
        layer = layer.env


def _takes_seed(reset: Callable) -> bool:
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):  # written in C
        return True
    return any(p.name == "seed" or p.kind is p.VAR_KEYWORD for p in parameters)


def _kind(value: Any) -> str:
    """Describes a value in a few words, for errors."""
    if isinstance(value, tuple):
        return f"{len(value)} values"
    if isinstance(value, list):
        return f"a list of {len(value)} values"
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"an array of shape {tuple(shape)}"
    return f"a {type(value).__name__}"
