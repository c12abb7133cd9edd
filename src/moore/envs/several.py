"""Several environments of one kind: all of them are open, or none is."""

import contextlib
from collections.abc import Callable, Iterable

import gymnasium as gym


def open_all(make: Callable[[], gym.Env], count: int) -> list[gym.Env]:
    """`count` environments; where one cannot be made, those before it are closed."""
    envs = []
    try:
        for _ in range(count):
            envs.append(make())
    except BaseException:
        close_all(envs)
        raise
    return envs


def close_all(envs: Iterable[gym.Env]) -> None:
    """Closes every one, also where closing another fails."""
    with contextlib.ExitStack() as stack:
        for env in envs:
            stack.callback(env.close)
