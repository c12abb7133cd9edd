"""A controller behind HTTP: a server that answers observations with actions, as JSON.

    POST URL      {"obs": [[0.1, -0.3], ...]}
    200           {"action": [[1.5], ...]}

Always as rows, also for one observation. Only Python's own HTTP client is used. It follows no
redirects and opens no other kind of address.

Each question is asked in a thread of its own, which is left behind when the time is over: the
time-out of a socket begins anew with every byte, and none holds while a name is looked up.
"""

import contextlib
import http.client
import json
import math
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.numbers import as_measured

_LARGEST_ANSWER = 2**20


@dataclass(eq=False)
class HttpController:
    """A server as a controller. The connection is kept open between calls.

    Attributes:
        url: address of the server, http or https.
        timeout: seconds that all of connecting, asking and hearing the answer may take.
    """

    url: str
    timeout: float = 0.5
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InputError(
                f"the controller's address is {self.url}; expected one such as "
                "http://localhost:8700/act."
            )
        if not (math.isfinite(self.timeout) and self.timeout > 0.0):
            raise InputError(f"the time-out is {self.timeout}; expected seconds, more than 0.")

    def act(self, obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows action"]:
        """The server's actions.

        Raises:
            InputError: it does not answer in time, or not with a list of actions.
        """
        body = json.dumps({"obs": np.atleast_2d(obs).tolist()}, allow_nan=False)
        status, content = self._ask(body)
        if status != 200:
            raise InputError(f"{self.url} answered with status {status}; expected 200.")
        if len(content) > _LARGEST_ANSWER:
            raise InputError(f"{self.url} answered with more than {_LARGEST_ANSWER} bytes.")
        try:
            actions = as_measured(json.loads(content)["action"], "the action")
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise InputError(
                f"{self.url} answered {content[:60]!r}; expected "
                '{"action": [[...], ...]} with one list of numbers for each observation.'
            ) from None
        rows = 1 if obs.ndim == 1 else len(obs)
        if actions.ndim != 2 or len(actions) != rows:
            raise InputError(
                f"{self.url} answered with actions of shape {actions.shape}; expected {rows} rows."
            )
        return actions.reshape(*obs.shape[:-1], -1)

    def _ask(self, body: str) -> tuple[int, bytes]:
        end = time.monotonic() + self.timeout
        # The server may have closed a connection that was kept open since the last question.
        for is_last in (True,) if self._connection is None else (False, True):
            try:
                return self._exchange(body, end)
            except TimeoutError:
                self.close()
                raise InputError(f"{self.url} did not answer within {self.timeout:g} s.") from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                told = str(error) or type(error).__name__
                if is_last:
                    raise InputError(f"{self.url} cannot be asked ({told}).") from None
        raise AssertionError("The last exchange returns or raises.")

    def _exchange(self, body: str, end: float) -> tuple[int, bytes]:
        """Status and content, or what the thread that asks has raised, at `end` at the latest."""
        if self._connection is None:
            self._connection = self._opened()
        answers: queue.SimpleQueue = queue.SimpleQueue()
        asking = threading.Thread(
            target=_put, args=(answers, self._connection, self._path, body), daemon=True
        )
        asking.start()
        try:
            found, goes_on = answers.get(timeout=max(end - time.monotonic(), 0.0))
        except queue.Empty:
            raise TimeoutError from None
        if not goes_on:
            self.close()
        if isinstance(found, Exception):
            raise found
        return found

    def _opened(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self.timeout)

    @property
    def _path(self) -> str:
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def __del__(self) -> None:
        """Leaves no connection behind: whoever asks does not know that there is one."""
        self.close()

    def close(self) -> None:
        """Closes the connection; the next call opens another one."""
        if self._connection is not None:
            if self._connection.sock is not None:
                with contextlib.suppress(OSError):  # also wakes a thread that still listens
                    self._connection.sock.shutdown(socket.SHUT_RDWR)
            self._connection.close()
            self._connection = None


def _put(
    answers: queue.SimpleQueue, connection: http.client.HTTPConnection, path: str, body: str
) -> None:
    """Asks, and puts what came of it: an answer or an error, and whether the connection stays."""
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        if hasattr(socket, "TCP_QUICKACK"):
            # A server that sends the head and the content one after the other would wait 40 ms.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        answer = connection.getresponse()
        content = answer.read(_LARGEST_ANSWER + 1)
        goes_on = not answer.will_close and len(content) <= _LARGEST_ANSWER
        answers.put(((answer.status, content), goes_on))
    except Exception as error:  # told by whoever waits for the answer
        answers.put((error, False))
