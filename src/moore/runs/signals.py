"""Signals that ask a program to stop: noted at once, obeyed where nothing is lost.

An exception that a signal's handler raises may be lost: if Python is running a callback of the
garbage collector or a destructor, it only prints the exception. A flag is not lost, and an
exception that was lost is raised again.
"""

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

# Ctrl-C, `kill`, and a terminal that goes away.
_ASKING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# What `signal.getsignal` finds: None is a handler that was not set from Python.
_Handler = Callable[[int, FrameType | None], object] | int | None
# Handlers of a program that has none of its own.
_ENDING = (signal.SIG_DFL, signal.default_int_handler)
# A terminal, or a program that passes signals on, may send the same signal twice.
_ONE_WISH = 0.2


class Stopped(KeyboardInterrupt):
    """A signal has asked the program to stop.

    Attributes:
        number: number of the signal.
        in_order: whether `Stop.check` raised it, where nothing is lost, and not the handler.
    """

    def __init__(self, number: int, *, in_order: bool = False):
        super().__init__(signal.Signals(number).name)
        self.number, self.in_order = number, in_order

    @property
    def status(self) -> int:
        """Exit status of the program: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number


class Stop:
    """Notes whether a signal has asked to stop; the program obeys at once or at its next check."""

    def __init__(self, main: "Stop | None" = None):
        """`main`: what the main thread has noted, for a run in another thread that obeys it."""
        self._number: int | None = None
        self._main = main
        self._before: dict[int, _Handler] = {}  # handlers before it listened
        self._asked_at = 0.0
        self._patient, self._answer = False, ""

    @property
    def number(self) -> int | None:
        """Number of the signal that has asked to stop; None if none has."""
        return self._number if self._main is None else self._main.number

    @property
    def asked(self) -> bool:
        return self.number is not None

    def __call__(self, number: int, frame: object) -> None:
        """The handler; inside `patience` it only notes the first signal."""
        again, now = self.asked, time.monotonic()
        if not again:
            self._number, self._asked_at = number, now
        if not self._patient or (again and now - self._asked_at > _ONE_WISH):
            raise Stopped(number)
        if not again and self._answer:
            os.write(2, self._answer.encode())

    def listen(self) -> None:
        """Handles the signals that the program neither handles nor ignores."""
        for number in _ASKING:
            handler = signal.getsignal(number)
            if handler in _ENDING:
                self._before[number] = handler
                signal.signal(number, self)

    def give_back(self) -> None:
        """Gives its signals the handlers that they had before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def lost(self) -> list[str]:
        """Takes back signals that were set to be ignored, or to end the program at once, since.

        Environments, and the libraries that they load, do so. A function that they set is left in
        its place, since it may bring a plant to rest.

        Returns:
            Names of the signals that such a function hears instead.
        """
        others = []
        for number in self._before:
            handler = signal.getsignal(number)
            if handler is signal.SIG_IGN or handler in _ENDING:
                signal.signal(number, self)
            elif handler is not self:
                others.append(signal.Signals(number).name)
        return others

    def check(self) -> None:
        """Raises `Stopped` if a signal has asked to stop, and goes on listening otherwise.

        Raises:
            Stopped: one has.
        """
        self.lost()
        if self.number is not None:
            raise Stopped(self.number, in_order=True)

    @contextlib.contextmanager
    def patience(self, answer: str = "") -> Iterator[None]:
        """Inside, the first signal is only noted for `check`; a second one stops at once.

        `answer`: text written to the terminal at the first signal.
        """
        before = self._patient, self._answer
        self.check()
        self._patient, self._answer = True, answer
        try:
            yield
        finally:
            self._patient, self._answer = before


_listening: Stop | None = None
_obeyed = threading.local()


def obey(stop: Stop) -> None:
    """From now on runs in this thread end where the main thread was asked to stop."""
    _obeyed.stop = stop


@contextlib.contextmanager
def listening() -> Iterator[Stop]:
    """Handles signals in the main thread, except those that the program already handles or ignores.

    In other threads it does nothing, except in those that `obey` the main thread.
    """
    global _listening
    if threading.current_thread() is not threading.main_thread():
        yield Stop(getattr(_obeyed, "stop", None))
        return
    if _listening is not None:
        yield _listening
        return
    stop, ignore = Stop(), sys.unraisablehook
    stop.listen()
    _listening = stop
    sys.unraisablehook = lambda lost: _again(lost.exc_value) or ignore(lost)
    try:
        yield stop
    finally:
        _listening, sys.unraisablehook = None, ignore
        stop.give_back()


def _again(lost: BaseException | None) -> bool:
    """Whether a stop was lost; it is then asked for again a moment later."""
    if not isinstance(lost, Stopped):
        return False
    timer = threading.Timer(0.05, _thread.interrupt_main, (lost.number,))
    timer.daemon = True
    timer.start()
    return True
