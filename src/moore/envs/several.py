"""Several environments of one kind, of which either all are open or none."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import gymnasium as gym

Env = TypeVar("Env", bound=gym.Env)


def open_all(make: Callable[[], Env], count: int) -> list[Env]:
    """Makes `count` environments; if one cannot be made, those before it are closed."""
    envs: list[Env] = []
    try:
        for _ in range(count):
            envs.append(make())
    except BaseException:
        close_all(envs)
        raise
    return envs


def close_all(envs: Iterable[gym.Env]) -> None:
    """Closes every environment, even if closing one of them fails."""
    with contextlib.ExitStack() as stack:
        for env in envs:
            stack.callback(env.close)


def is_held(env: gym.Env, function: object) -> bool:
    """Whether a function holds this environment, so that it will return the same one again."""
    owner = getattr(function, "__self__", function)
    held: list[Any] = [owner, *getattr(owner, "__dict__", {}).values()]
    if isinstance(function, functools.partial):
        held += [*function.args, *function.keywords.values()]
    with contextlib.suppress(TypeError, ValueError):  # no function of Python's own kind
        names = inspect.getclosurevars(function)  # type: ignore[arg-type]
        held += [*names.nonlocals.values(), *names.globals.values()]
    return any(isinstance(one, gym.Env) and one.unwrapped is env.unwrapped for one in held)
