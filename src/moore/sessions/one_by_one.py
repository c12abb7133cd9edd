"""One call of a session at a time, in the process that has opened it.

Two calls at once would write two steps with one number, and the log could not be read any more. So
a call from another thread waits for the one that goes on. The copy of a process that `os.fork`
makes has no such lock in common with it, and is refused.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from moore.errors import InputError
from moore.jax_settings import plain_jax

F = TypeVar("F", bound=Callable)


def alone(method: F) -> F:
    """A method of a `Turntaking` object that waits until no other thread is in one."""

    @functools.wraps(method)
    def waiting(self: "Turntaking", *args: Any, **kwargs: Any) -> Any:
        self.check_process()
        with self.lock:
            return method(self, *args, **kwargs)

    return waiting  # type: ignore[return-value]


def one_by_one(method: F) -> F:
    """`alone`, for a method that computes in JAX: there JAX has the settings that it needs."""
    return alone(plain_jax()(method))


class Turntaking:
    """Belongs to one process, in which several threads may call it.

    Attributes:
        lock: held during a call.
    """

    def __init__(self) -> None:
        self.lock, self._process = threading.RLock(), os.getpid()

    @property
    def is_at_home(self) -> bool:
        """Whether this is the process that has made it."""
        return os.getpid() == self._process

    def check_process(self) -> None:
        """Raises InputError in a copy of the process that has made it."""
        if not self.is_at_home:
            raise InputError(
                f"this session belongs to process {self._process}, of which this one is a copy "
                "(os.fork, multiprocessing); call it there, or serve it with moore serve."
            )

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "a session cannot be pickled or copied as an object; copy it by save(path), and open "
            "the copy by moore.Session.resume(path)."
        )
