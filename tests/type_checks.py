"""The shapes of the package's functions are checked in tests, at little cost.

jaxtyping's import hook puts its decorator `jaxtyped` on every function and class. That binds the
arguments of each call, checks them twice, and makes four functions for one, shapes or not: for much
of the package this took longer than the function itself. The decorator here checks once, and only
where a signature has shapes: by beartype, within a context of jaxtyping's for the sizes. Other
types are mypy's business, which needs no call.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, ForwardRef, get_args, get_type_hints

import jaxtyping
from beartype import beartype

_jaxtyped = jaxtyping.jaxtyped


def use() -> None:
    """From now on jaxtyping's import hook takes the decorator of this file."""
    jaxtyping.jaxtyped = checked


def checked(fn: Any = None, *, typechecker: Any = None) -> Any:
    """The function, or the class with an `__init__`; with checks if the signature has shapes."""
    if fn is None:
        return checked
    if not inspect.isclass(fn):
        return _checked_function(fn)
    own = vars(fn).get("__init__")
    if dataclasses.is_dataclass(fn) and own is not None and not hasattr(own, "is_checked"):
        fn.__init__ = _checked_function(own)
        fn.__init__.is_checked = True
    return fn


def _checked_function(fn: Callable) -> Callable:
    """The function, whose arguments and result are checked; itself if it has no shapes."""
    for name, hint in fn.__annotations__.items():
        if any(isinstance(part, str | ForwardRef) for part in _parts(hint)):
            fn.__annotations__[name] = _looked_up(hint, fn)
    hints = fn.__annotations__.values()
    if not any(isinstance(part, _kinds_of_shapes()) for hint in hints for part in _parts(hint)):
        return fn
    typed = beartype(fn)
    sizes = _jaxtyped("context")  # has no state of its own: it uses a stack of jaxtyping's

    @functools.wraps(fn)
    def with_sizes(*args, **kwargs):
        with sizes:
            return typed(*args, **kwargs)

    return with_sizes


@functools.cache
def _kinds_of_shapes() -> tuple[type, ...]:
    """Not known before the first use: jaxtyping imports jax for them, whose settings come first."""
    return type(jaxtyping.AbstractArray), type(jaxtyping.PyTree)


def _parts(hint: Any) -> Iterator[Any]:
    """The hint and all that stands in its brackets."""
    yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from _parts(part)


def _looked_up(hint: Any, fn: Callable) -> Any:
    """What is named in the hint; anything if it is not there yet, or for type checkers alone."""

    def probe(value): ...

    probe.__annotations__ = {"value": hint}
    try:
        return get_type_hints(probe, fn.__globals__, include_extras=True)["value"]
    except Exception:
        return Any
