"""Several environments of one kind, of which either all are open or none."""

import contextlib
from collections.abc import Callable, Iterable

import gymnasium as gym


def open_all(make: Callable[[], gym.Env], count: int) -> list[gym.Env]:
    """Makes `count` environments; if one cannot be made, those before it are closed."""
    envs = []
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
