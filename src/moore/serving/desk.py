"""The session at work: one call at a time, in the order in which they came."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from moore.serving.refusal import Refusal
from moore.sessions.session import Session
from moore.sessions.telling import plain_status


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
