"""Requests of HTTP: who may ask, for what, and how much."""

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from moore.serving.calls import CALLS
from moore.serving.forms import F32, JSON, malformed
from moore.serving.limits import Rates, ServerLimits
from moore.serving.refusal import Refusal

PREFIX = "/v1/"
_POSTS = {*CALLS, "learn"}
_GETS = {"status"}
_ID = re.compile(r"[!-~]{1,64}")  # printable ASCII without the blank
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Request:
    """A request that may be answered.

    Attributes:
        name: name of the call.
        kind: type of the body; empty where there is none.
        query: the query of the address, as it came.
        id: id of the request, by which it can be repeated.
    """

    name: str
    kind: str
    query: bytes
    body: bytes
    id: str | None

    @property
    def content(self) -> bytes:
        """What a repetition must agree in."""
        return b"\n".join((self.name.encode(), self.kind.encode(), self.query, self.body))


class Porter:
    """Lets in the requests that may be answered."""

    def __init__(self, limits: ServerLimits, token: str | None):
        """`token`: what clients must know; None: they need none, and only this machine has it."""
        self._limits, self._rates = limits, Rates(limits.rate)
        self._token = None if token is None else token.encode()

    async def admit(self, scope: dict[str, Any], receive: Receive) -> Request:
        """The request of an ASGI scope.

        Raises:
            Refusal: it is not answered.
        """
        headers = {key.decode("latin-1"): x.decode("latin-1") for key, x in scope["headers"]}
        self._check_client(headers, scope.get("client"))
        name = _called(scope["method"], scope["path"])
        if name in _GETS:
            return Request(name, "", b"", b"", None)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        calls_binary = name in CALLS and CALLS[name].binary is not None
        kinds = (JSON, F32) if calls_binary else (JSON,)
        if kind not in kinds:
            sentence = f"The type of the content is '{kind}'; expected {' or '.join(kinds)}."
            raise Refusal(415, "unsupported_type", sentence)
        identity = headers.get("request-id")
        if identity is not None and not _ID.fullmatch(identity):
            raise malformed("Request-Id is no id; expected 1 to 64 printable ASCII signs.")
        body = await _body(headers, receive, self._limits.body)
        return Request(name, kind, scope["query_string"], body, identity)

    def _check_client(self, headers: dict[str, str], client: tuple | None) -> None:
        if not self._rates.allow(str(client[0]) if client else ""):
            sentence = f"There are more than {self._limits.rate:g} requests per second; slow down."
            raise Refusal(429, "too_many_requests", sentence, retry_after="1")
        if "origin" in headers:
            raise Refusal(403, "forbidden", "Pages of a browser are not answered.")
        if self._token is None:
            if not is_loopback(_host(headers.get("host", ""))):
                sentence = "Without a token only this machine is answered, as localhost."
                raise Refusal(403, "forbidden", sentence)
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not known:
            sentence = "The token is missing or wrong; send Authorization: Bearer TOKEN."
            how = {"www_authenticate": "Bearer", "connection": "close"}
            raise Refusal(401, "unauthorized", sentence, **how)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host by this name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(text: str) -> str:
    """The host of a header, without its port."""
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _called(method: str, path: str) -> str:
    name = path.removeprefix(PREFIX) if path.startswith(PREFIX) else ""
    if name not in _POSTS | _GETS:
        listed = ", ".join(PREFIX + one for one in sorted(_POSTS | _GETS))
        raise Refusal(404, "not_found", f"There is no such address; the known ones are {listed}.")
    wanted = "GET" if name in _GETS else "POST"
    if method != wanted:
        sentence = f"The method is {method}; {PREFIX}{name} takes {wanted}."
        raise Refusal(405, "method_not_allowed", sentence, allow=wanted)
    return name


async def _body(headers: dict[str, str], receive: Receive, most: int) -> bytes:
    """The body, which is not read further than the limit."""
    length, body = headers.get("content-length", "0"), b""
    if not length.isascii() or not length.isdigit() or len(length) > 18:
        raise malformed("Content-Length is no number.")
    if int(length) > most:
        raise _too_large(most)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise malformed("The connection ended before the body.")
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return body


def _too_large(most: int) -> Refusal:
    sentence = f"The body has more than {most} bytes; send less."
    return Refusal(413, "too_large", sentence, connection="close")
