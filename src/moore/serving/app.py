"""The application: from a request of HTTP to a call of the session, and back (ASGI)."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from moore.errors import InputError
from moore.numbers import counted
from moore.serving import forms
from moore.serving.answers import (
    Answered,
    HttpAnswer,
    answer_in_json,
    answer_in_numbers,
    answer_of,
)
from moore.serving.calls import CALLS, QUERY, Entries, SessionCall, Sizes, units_named
from moore.serving.desk import Desk
from moore.serving.forms import F32, invalid
from moore.serving.lessons import Lessons
from moore.serving.limits import ServerLimits
from moore.serving.refusal import Refusal, refusal_of
from moore.serving.requests import Porter, Receive, Request

Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """Answers requests; docs/serve.md is its protocol.

    A request is read and checked completely before it gets its turn, and a request that is refused
    changes nothing.
    """

    def __init__(self, desk: Desk, lessons: Lessons, limits: ServerLimits, token: str | None):
        """`token`: what clients must know; None: they need none."""
        self._desk, self._lessons, self._limits = desk, lessons, limits
        self._porter, self._answered = Porter(limits, token), Answered()
        status = desk.session.status
        self._units = set(status.open)
        self._sizes = Sizes(status.obs_size, len(status.action_low))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answers one request, whatever it holds."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(await self._porter.admit(scope, receive))
        except Refusal as refusal:
            answer = answer_of(refusal)
        except Exception:
            traceback.print_exc()
            sentence = "The server has an error of its own; its console says more."
            answer = answer_of(Refusal(500, "internal", sentence))
        headers = {
            "content-type": answer.kind,
            "content-length": str(len(answer.body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **answer.headers,
        }
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        start = {"type": "http.response.start", "status": answer.status, "headers": pairs}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: Request) -> HttpAnswer:
        if request.name == "status":
            return answer_in_json(self._desk.status() | {"learning": self._lessons.told()})
        if request.name == "learn":
            return await self._learn(request)
        call = CALLS[request.name]
        entries = self._entries(request, call)
        if answer := self._answered.find(request.id, request.content):
            return answer
        async with self._desk.turn():
            answer = self._answered.find(request.id, request.content)  # it may have waited too
            if answer is None:
                answer = await self._make(request, call, entries)
                self._answered.keep(request.id, request.content, answer)
        self._lessons.steps_may_have_come()
        return answer

    def _entries(self, request: Request, call: SessionCall) -> Entries:
        """The entries of the message, checked as far as they can be without the session."""
        if request.kind == F32:
            assert call.binary is not None
            query = forms.query_of(request.query, QUERY[request.name])
            given = call.binary(forms.floats_of(request.body), query, self._sizes)
        else:
            forms.query_of(request.query, ())
            given = forms.entries_of_json(request.body)
        entries = call.entries(given)
        obs = entries.get("obs")
        rows = len(obs) if obs is not None and np.ndim(obs) else 0
        if call.is_long and rows > self._limits.rows:
            sentence = f"There are {rows} rows; expected at most {self._limits.rows} in a request."
            raise Refusal(413, "too_large", sentence)
        return entries

    async def _make(self, request: Request, call: SessionCall, entries: Entries) -> HttpAnswer:
        """Makes the call; the request has its turn."""
        if request.name == "save":
            self._lessons.check_sound()
        named: set = set()
        if request.name in ("act", "gap", "episode", "log"):
            default = "episodes" if call.is_long else None
            named = set(units_named(entries, default=default))
        if len(self._units | named) > self._limits.units:
            most = counted(self._limits.units, "unit")
            sentence = f"The session would have more than {most}."
            raise Refusal(409, "too_many_units", sentence)
        session = self._desk.session
        try:
            if call.is_long:
                content = await self._desk.aside(call.make, session, **entries)
            else:
                content = call.make(session, **entries)
        except InputError as error:
            raise refusal_of(error) from None
        self._units |= named
        return answer_in_numbers(content) if request.kind == F32 else answer_in_json(content)

    async def _learn(self, request: Request) -> HttpAnswer:
        """Begins to learn, and answers at once."""
        forms.query_of(request.query, ())
        call = SessionCall(_wish)
        wish = call.make(None, **call.entries(forms.entries_of_json(request.body)))
        answer = self._answered.find(request.id, request.content)
        if answer is None:
            self._lessons.ask(**wish)
            answer = answer_in_json({}, 202)
            self._answered.keep(request.id, request.content, answer)
        return answer


def _wish(session: None, updates: Any = None, seconds: Any = None) -> dict[str, Any]:
    """How long to learn; with neither, what is due."""
    if updates is not None and seconds is not None:
        raise invalid("The message has updates and seconds; give one of them.")
    return {"updates": updates, "seconds": seconds}
