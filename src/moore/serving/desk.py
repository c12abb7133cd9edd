"""The session at work: one call at a time, in the order in which they came."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np

from moore.numbers import with_nulls
from moore.serving.refusal import Refusal
from moore.sessions.session import Session
from moore.sessions.telling import Status


class Desk:
    """Gives each request, and each stretch of learning, its turn with the session.

    Short calls run in the thread of the event loop. Long ones run aside in a thread, and the loop
    goes on refusing and telling meanwhile.
    """

    def __init__(self, session: Session, patience: float):
        """`patience`: seconds after which a request that did not get its turn is refused."""
        self.session, self._patience = session, patience
        self._turn = asyncio.Lock()  # whoever asks first has it first
        self._last = session.status

    @contextlib.asynccontextmanager
    async def turn(self, *, patient: bool = False) -> AsyncIterator[Session]:
        """The session, for one call.

        Args:
            patient: wait as long as it takes.

        Raises:
            Refusal: the session was busy for too long; nothing was done.
        """
        try:
            async with asyncio.timeout(None if patient else self._patience):
                await self._turn.acquire()
        except TimeoutError:
            sentence = "The session is learning or saving; nothing was done, so ask again."
            raise Refusal(503, "busy", sentence, retry_after="1") from None
        try:
            yield self.session
        finally:
            self._turn.release()

    async def aside(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Runs a long call in a thread; only by whoever has the turn."""
        self._last = self.session.status
        return await asyncio.to_thread(function, *args, **kwargs)

    def status(self) -> dict[str, Any]:
        """How the session stands, or stood before the long call that is under way, for JSON."""
        if not self._turn.locked():
            self._last = self.session.status
        return plain_status(self._last)


def plain_status(status: Status) -> dict[str, Any]:
    """A status for JSON, where the names of a table are texts and units may be numbers."""
    told = {field.name: getattr(status, field.name) for field in dataclasses.fields(status)}
    counts, awaited, standing = told.pop("open"), told.pop("awaited"), told.pop("standing")
    told["units"] = [
        {"unit": unit, "open": counts.get(unit, 0), "awaited": awaited.get(unit)}
        | (dataclasses.asdict(standing[unit]) if unit in standing else {})
        for unit in {**counts, **standing}
    ]
    plain = {name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in told.items()}
    return with_nulls(plain)
