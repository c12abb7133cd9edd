"""The environments' own termination tests as pure functions; they end imagined rollouts.

A rule is `(obs, action, next_obs) -> bool` for one transition, without a batch axis; `jax.vmap`
maps it. MOPO and MBPO also give the model the true rule (mopo/static/*.py). That is privileged
information, since the rule is not learned from the log; for environments without a rule here,
`moore.dynamics.terminal_fit` learns one. The tests are Gymnasium's (gymnasium/envs/mujoco), for
the default observations, which leave out the torso's horizontal position.

A rule of this file also takes arrays of NumPy with transitions along a second axis, so that rows of
a log can be tested without a program being compiled.

Note: the environment tests the simulator's float64 state, but a rule tests the observation. That is
float32, with velocities clipped at 10 (Hopper, Walker2d), so a rule cannot see a velocity beyond
Hopper's limit of 100. Every rule except `never` also ends at an entry that is not finite, which
Walker2d, InvertedDoublePendulum and Humanoid themselves do not test.
"""

import re
from collections.abc import Callable
from typing import Protocol, TypeVar, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from moore.errors import InputError
from moore.imports import import_function

TerminationFn = Callable[[Array, Array, Array], Array]
_Any = jax.Array | np.ndarray
Kind = TypeVar("Kind", jax.Array, np.ndarray)  # ends are arrays as the observations are
Obs = Float[_Any, " obs_dim *rows"]
Action = Float[_Any, " action_dim *rows"]


class Rule(Protocol):
    """A rule of this file: for one transition, or for NumPy's rows along a second axis."""

    @overload
    def __call__(self, obs: Array, action: Array, next_obs: Array, /) -> Array: ...

    @overload
    def __call__(self, obs: np.ndarray, action: np.ndarray, next_obs: np.ndarray, /) -> _Any: ...


def never(obs: Obs, action: Action, next_obs: Obs) -> Bool[Array, " *rows"]:
    """No state ends an episode: HalfCheetah, Swimmer, Reacher, Pusher, Pendulum."""
    return jnp.zeros(next_obs.shape[1:], bool)


def hopper(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """Healthy: height z > 0.7, |pitch| < 0.2, every entry after z within (-100, 100)."""
    z, pitch = next_obs[0], next_obs[1]
    in_range = (abs(next_obs[1:]) < 100.0).all(axis=0)
    return ~(_finite(next_obs) & in_range & (z > 0.7) & (abs(pitch) < 0.2))


def walker2d(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """Healthy: 0.8 < z < 2 and -1 < pitch < 1."""
    z, pitch = next_obs[0], next_obs[1]
    return ~(_finite(next_obs) & (z > 0.8) & (z < 2.0) & (abs(pitch) < 1.0))


def ant(obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]) -> Bool[Kind, " *rows"]:
    """Healthy: 0.2 <= z <= 1, both bounds included."""
    return ~(_finite(next_obs) & (next_obs[0] >= 0.2) & (next_obs[0] <= 1.0))


def humanoid(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """Healthy: 1 < z < 2."""
    return ~(_finite(next_obs) & (next_obs[0] > 1.0) & (next_obs[0] < 2.0))


def inverted_pendulum(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """An episode ends at a pole angle beyond 0.2 rad."""
    return ~(_finite(next_obs) & (abs(next_obs[1]) <= 0.2))


def inverted_double_pendulum(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """An episode ends when the tip is at height 1 or lower.

    The two poles have 0.6 m and the second angle is relative to the first, so the height of the tip
    is 0.6 cos(a) + 0.6 cos(a + b), from the entries x, sin a, sin b, cos a, cos b.
    """
    sin_a, sin_b, cos_a, cos_b = next_obs[1:5]
    height = 0.6 * (cos_a + cos_a * cos_b - sin_a * sin_b)
    return ~(_finite(next_obs) & (height > 1.0))


def mountain_car(
    obs: Obs, action: Action, next_obs: Float[Kind, " obs_dim *rows"]
) -> Bool[Kind, " *rows"]:
    """An episode ends at the goal: position >= 0.45, velocity >= 0."""
    return ~_finite(next_obs) | ((next_obs[0] >= 0.45) & (next_obs[1] >= 0.0))


def termination_rule(
    env_id: str | None, *, spec: str = "auto", has_terminals: bool
) -> TerminationFn:
    """The rule that ends imagined rollouts.

    Args:
        env_id: Gymnasium id of the environment; None if it has none.
        spec: "auto" (the rule of `env_id`), "never", the id of a known environment, or
            "module:function", a function with the signature of the rules here. ("learned" needs
            the log: `moore.runs.termination_choice.make_rule`.)
        has_terminals: whether any row of the log is terminated. If not, an unknown environment is
            assumed never to terminate.

    Raises:
        InputError: the environment is unknown and its log has terminals, or the spec names no
            function.
    """
    if spec == "never":
        return never
    if ":" in spec:
        return import_function(
            spec,
            what="--termination",
            example="my_plant.rules:ends",
            takes="(obs, action, next_obs), returning one bool",
        )
    rule = known_rule(env_id if spec == "auto" else spec)
    if rule is not None:
        return rule
    if spec != "auto":
        raise InputError(
            f"--termination {spec}: expected auto, learned, never, module:function or a known "
            "environment: " + ", ".join(known_environments())
        )
    if not has_terminals:
        return never
    raise InputError(
        f"no termination rule is known for {env_id or 'this log, which names no environment'}, and "
        "the log has terminals; learn one from these with --termination learned, or give one with "
        "--termination module:function, a jax function (obs, action, next_obs) -> bool of one "
        "transition, or --termination ID, one of: " + ", ".join(known_environments())
    )


def known_environments() -> list[str]:
    """Ids of the environments that have a rule, sorted."""
    return sorted(f"{name}-v{v}" for name, (versions, _) in _FAMILIES.items() for v in versions)


def _finite(next_obs: Float[Kind, " obs_dim *rows"]) -> Bool[Kind, " *rows"]:
    return abs(next_obs).max(axis=0) < float("inf")  # the largest of some with NaN is NaN


def known_rule(env_id: str | None) -> Rule | None:
    """The rule of an environment; None if it has none here."""
    match = re.fullmatch(r"(\w+)-v(\d+)", env_id or "")
    versions, rule = _FAMILIES.get(match[1], ((), None)) if match else ((), None)
    return rule if match and int(match[2]) in versions else None


_FAMILIES: dict[str, tuple[tuple[int, ...], Rule]] = {
    "Ant": ((4, 5), ant),
    "HalfCheetah": ((4, 5), never),
    "Hopper": ((4, 5), hopper),
    "Humanoid": ((4, 5), humanoid),
    "HumanoidStandup": ((4, 5), never),
    "InvertedDoublePendulum": ((4, 5), inverted_double_pendulum),
    "InvertedPendulum": ((4, 5), inverted_pendulum),
    "MountainCarContinuous": ((0,), mountain_car),
    "Pendulum": ((1,), never),
    "Pusher": ((4, 5), never),
    "Reacher": ((4, 5), never),
    "Swimmer": ((4, 5), never),
    "Walker2d": ((4, 5), walker2d),
}
