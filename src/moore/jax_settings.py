"""The settings of JAX that results depend on, and keys from seeds of 64 bits.

A user's program may compute in 64 bits, forbid promotions or look for NaN (JAX_ENABLE_X64=1,
jax_numpy_rank_promotion, jax_debug_nans). A run does what it always does in the middle of that: its
entry points are within `plain_jax`, and the user's own code that it calls, an environment for
instance, within `users_jax`. Everything else, such as devices and jax_disable_jit, is the user's.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

_PLAIN = {
    "enable_x64": False,
    "numpy_dtype_promotion": "standard",
    "numpy_rank_promotion": "allow",
    # Updates with NaN are undone and counted; that is no bug to stop at.
    "debug_nans": False,
    "debug_infs": False,
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
}
_given = threading.local()


def _now() -> dict[str, Any]:
    values = {name: getattr(jax.config, f"jax_{name}") for name in _PLAIN}
    return {name: getattr(value, "value", value) for name, value in values.items()}


@contextlib.contextmanager
def _set(values: dict[str, Any]) -> Iterator[None]:
    """Only what differs: another setting, though of the same value, would compile all anew."""
    with contextlib.ExitStack() as stack:
        for name, value in _now().items():
            if value != values[name]:
                stack.enter_context(getattr(jax, name)(values[name]))
        yield


@contextlib.contextmanager
def plain_jax() -> Iterator[None]:
    """Here JAX has the settings that the package is made for; also a decorator. Nests."""
    outer = getattr(_given, "values", None)
    if outer is None:
        _given.values = _now()
    try:
        with _set(_PLAIN):
            yield
    finally:
        _given.values = outer


@contextlib.contextmanager
def users_jax() -> Iterator[None]:
    """Here, within `plain_jax`, JAX has the settings that the user gave; for the user's code."""
    if not settings_differ():
        yield
        return
    values, _given.values = _given.values, None
    try:
        with _set(values):
            yield
    finally:
        _given.values = values


def settings_differ() -> bool:
    """Whether, within `plain_jax`, the user's settings are others."""
    return getattr(_given, "values", None) not in (None, _PLAIN)


def as_the_user(function: Callable) -> Callable:
    """A function of the user's that is called within `plain_jax`."""

    @functools.wraps(function)
    def called(*args, **kwargs):
        with users_jax():
            return function(*args, **kwargs)

    return called


def key_of(seed: int) -> jax.Array:
    """The key of a seed in [0, 2**64); all its bits count.

    `jax.random.key` drops the upper 32 where JAX computes in 32 bits. Below 2**32 it is the same.
    """
    return jax.random.wrap_key_data(
        np.asarray([seed >> 32, seed & 0xFFFFFFFF], np.uint32), impl="threefry2x32"
    )
