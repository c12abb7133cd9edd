"""Compiled programs that runs in lock step may call as one.

A run alone calls a `Program` as it would call what `jax.jit` returns. In a thread of a `Company`
(`moore.lockstep.company`) the call is handed to the company, which answers it when every run has
come to a call. So the loops of a run need not know whether there are others.
"""

import functools
import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jaxtyping import PyTree

P = ParamSpec("P")
R = TypeVar("R")

# (stage, epoch, step) of a run; runs that are behind go on first.
Place = tuple[int, int, int]


@runtime_checkable
class Seat(Protocol):
    """The place of one run in a company, as its thread sees it."""

    place: Place

    def ask(self, call: "Call") -> Any:
        """The result of the call; the others may go on meanwhile."""

    def same(self, tree: PyTree) -> PyTree:
        """The tree, with arrays of other runs in place of its own where they hold the same."""


_here = threading.local()


def take_seat(seat: Seat) -> None:
    """From now on this thread calls programs through the company."""
    _here.seat = seat


def _seat() -> Seat | None:
    return getattr(_here, "seat", None)


def reached(stage: int, epoch: int, step: int = 0) -> None:
    """Tells the company, if there is one, how far this run is: stage 0 is the offline one."""
    if (seat := _seat()) is not None:
        seat.place = (stage, epoch, step)


def shared(tree: PyTree) -> PyTree:
    """A tree that no program changes, such as the log, so that runs in lock step hold it once.

    Alone it is the tree itself.
    """
    seat = _seat()
    return tree if seat is None else seat.same(tree)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a program.

    Attributes:
        program: the program.
        args, kwargs: what it was called with.
        static: the arguments among these that it is compiled for, by name.
        leaves, tree: the other arguments, flattened.
    """

    program: "Program"
    args: tuple
    kwargs: dict[str, Any]
    static: dict[str, Any]
    leaves: Sequence[Any]
    tree: Any

    @cached_property
    def signature(self) -> tuple:
        """Equal for calls that one compiled program can answer."""
        kinds = tuple((np.shape(x), getattr(x, "dtype", type(x))) for x in self.leaves)
        return self.program, tuple(sorted(self.static.items())), self.tree, kinds

    @property
    def traced(self) -> bool:
        """Whether it is made while another program is traced."""
        return any(isinstance(x, jax.core.Tracer) for x in self.leaves)

    def alone(self) -> Any:
        """The result, by the program of a single run."""
        return self.program.alone(*self.args, **self.kwargs)


class Program(Generic[P, R]):
    """A function that is compiled when it is called.

    Attributes:
        function: what is computed.
        alone: its compiled form, for one run.
        repeats: whether runs call it more or less often before they go on, as in a loop until
            convergence. Those that have gone on wait for the others.
    """

    __name__: str  # that of the function

    def __init__(
        self, function: Callable[P, R], *, repeats: bool, static: tuple[str, ...], options: dict
    ):
        functools.update_wrapper(self, function)
        self.function, self.repeats = function, repeats
        self.alone = jax.jit(function, static_argnames=static, **options)
        self._static = frozenset(static)
        self._parameters = inspect.signature(function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        seat = _seat()
        if seat is None:
            return self.alone(*args, **kwargs)
        given = self._parameters.bind(*args, **kwargs).arguments
        static = {name: value for name, value in given.items() if name in self._static}
        dynamic = {name: value for name, value in given.items() if name not in self._static}
        leaves, tree = jax.tree.flatten(dynamic)
        call = Call(self, args, kwargs, static, leaves, tree)
        return call.alone() if call.traced else seat.ask(call)

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """As of `jax.jit`."""
        return self.alone.lower(*args, **kwargs)


def program(
    *,
    static_argnames: tuple[str, ...] = (),
    donate_argnames: tuple[str, ...] = (),
    repeats: bool = False,
) -> Callable[[Callable[P, R]], Program[P, R]]:
    """Decorates a function like `jax.jit`, so that runs in lock step can share its calls.

    Args:
        static_argnames: arguments that the program is compiled for; hashable.
        donate_argnames: arguments whose memory it may use; the caller must not use them again.
        repeats: see `Program`.
    """
    options = {"donate_argnames": donate_argnames} if donate_argnames else {}
    return lambda function: Program(
        function, repeats=repeats, static=static_argnames, options=options
    )
