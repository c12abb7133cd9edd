"""Connections that cannot be held up: a request must arrive in time, and its head must be short."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from moore.serving.answers import answer_of
from moore.serving.forms import malformed
from moore.serving.limits import ServerLimits

_HEAD = 65_536  # bytes


def bounded_connections(limits: ServerLimits) -> type[HttpToolsProtocol]:
    """The class of uvicorn's connections, with these limits; it has none of its own for them."""

    class Bounded(HttpToolsProtocol):
        _late: asyncio.TimerHandle | None = None
        _head: int | None = 0  # bytes of a head that is not complete

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # Or the system holds back an answer's body until the client has confirmed its head.
            plug = transport.get_extra_info("socket")
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) > limits.connections:
                transport.abort()
            self._late = self.loop.call_later(limits.arrival, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._head is not None:
                self._head += len(data)
            super().data_received(data)
            if self._head is not None and self._head > _HEAD and not self.transport.is_closing():
                self.send_400_response("The head of the request is too long.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_time()
            self._late = self.loop.call_later(limits.arrival, self.transport.abort)

        def on_headers_complete(self) -> None:
            self._head = None
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_time()
            self._head = 0
            super().on_message_complete()

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

        def send_400_response(self, msg: str) -> None:
            """Says in the form of all errors that this is no HTTP."""
            answer = answer_of(malformed("This is no request of HTTP/1.1."))
            head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n"
            head += f"content-type: {answer.kind}\r\ncontent-length: {len(answer.body)}\r\n\r\n"
            self.transport.write(head.encode() + answer.body)
            self.transport.close()

    return Bounded
