"""The settings of JAX that results depend on, and keys from seeds of 64 bits.

A user's program may compute in 64 bits, forbid promotions or look for NaN (JAX_ENABLE_X64=1,
jax_numpy_rank_promotion, jax_debug_nans). A run gives the same result under any of them: its entry
points are within `plain_jax`, and the user's own code that it calls, an environment for instance,
is within `users_jax`. All other settings, such as devices and jax_disable_jit, stay the user's.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PLAIN = {
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
    values = {name: getattr(jax.config, f"jax_{name}") for name in PLAIN}
    return {name: getattr(value, "value", value) for name, value in values.items()}


@contextlib.contextmanager
def _set(values: dict[str, Any]) -> Iterator[None]:
    """Sets only the values that differ; JAX compiles anew if a setting is set, even to the same."""
    with contextlib.ExitStack() as stack:
        for name, value in _now().items():
            if value != values[name]:
                stack.enter_context(getattr(jax, name)(values[name]))
        yield


class _Program:
    """What the user's program has set, and the settings that were made against it since.

    Attributes:
        values: the user's settings.
        undone: settings that user code made inside `plain_jax`, undone until `plain_jax` ends.
    """

    def __init__(self, undone: contextlib.ExitStack):
        self.values, self.undone = _now(), undone


@contextlib.contextmanager
def plain_jax() -> Iterator[None]:
    """Gives JAX the settings that this package needs; also a decorator, and can be nested."""
    outer = getattr(_given, "program", None)
    with contextlib.ExitStack() as undone:
        if outer is None:
            _given.program = _Program(undone)
        try:
            with _set(PLAIN):
                yield
        finally:
            _given.program = outer


@contextlib.contextmanager
def users_jax() -> Iterator[None]:
    """Within `plain_jax`, gives JAX the user's settings again, for calls of the user's code.

    What that code sets (an environment that is computed in 64 bits does so when it is made) counts
    as the user's from then on, and does not reach this package.
    """
    program = getattr(_given, "program", None)
    if program is None:
        yield
        return
    _given.program = None
    try:
        with _set(program.values):
            before = _now()
            try:
                yield
            finally:
                changed = {n: v for n, v in _now().items() if v != before[n]}
    finally:
        _given.program = program
        program.values.update(changed)
        for name in changed:
            program.undone.enter_context(getattr(jax, name)(PLAIN[name]))


def settings_differ() -> bool:
    """Whether the user's settings differ from those of `plain_jax`."""
    program = getattr(_given, "program", None)
    return program is not None and program.values != PLAIN


def as_the_user(function: Callable) -> Callable:
    """Wraps a function of the user's so that it can be called within `plain_jax`."""

    @functools.wraps(function)
    def called(*args, **kwargs):
        with users_jax():
            return function(*args, **kwargs)

    return called


def key_of(seed: int) -> jax.Array:
    """The key of a seed in [0, 2**64), which depends on all bits of the seed.

    `jax.random.key` drops the upper 32 bits when JAX computes in 32 bits. Below 2**32 both agree.
    """
    halves = jnp.asarray(np.asarray([seed >> 32, seed & 0xFFFFFFFF], np.uint32))
    return jax.random.wrap_key_data(halves, impl="threefry2x32")
