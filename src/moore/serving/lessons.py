"""Learning between requests, in stretches so short that an action hardly waits for them.

This is the only place of the server that learns. A session whose learner is a process of its own is
only told here what is wanted, and no request waits for it.
"""

import asyncio
import sys
import time
import traceback
from dataclasses import dataclass

from moore.errors import WriteError
from moore.serving.desk import Desk
from moore.serving.refusal import Refusal


@dataclass
class _Goal:
    """How long a client has asked to learn; without a number and a time, the updates that are due.

    Attributes:
        updates: number of updates that are left.
        until: when to stop, by the monotonic clock.
    """

    updates: int | None = None
    until: float | None = None

    @property
    def seconds(self) -> float | None:
        """How long it may still learn."""
        return None if self.until is None else max(self.until - time.monotonic(), 0.0)


class Lessons:
    """Learns in the background, in turns with the requests.

    A group of updates and a refit of the models are not interrupted, so they may take longer than
    a stretch should.

    Attributes:
        failed: whether an error has ended it; the session must be resumed then.
    """

    def __init__(self, desk: Desk, *, stretch: float, between: bool):
        """Call `run` to begin.

        Args:
            desk: gives the turns.
            stretch: seconds that it should learn at a time.
            between: learn what is due without being asked.
        """
        self._desk, self._stretch, self._between = desk, stretch, between
        self._goal: _Goal | None = None
        self._pace: float | None = None  # seconds of an update, as measured last
        self._wake = asyncio.Event()
        self._ends = self.failed = False

    def ask(self, *, updates: int | None, seconds: float | None) -> None:
        """Begins to learn; an earlier wish is forgotten, so 0 updates end it.

        Raises:
            Refusal: learning has failed.
        """
        self.check_sound()
        self._goal = _Goal(updates, None if seconds is None else time.monotonic() + seconds)
        self._wake.set()

    def check_sound(self) -> None:
        """Raises Refusal if an error has ended learning, so that there is nothing to save."""
        if self.failed:
            sentence = "Learning was ended by an error; start the server again to resume."
            raise Refusal(409, "learning_failed", sentence)

    def steps_may_have_come(self) -> None:
        """Wakes the learning between steps, if it is wanted: there may be rows to learn from."""
        if self._between and not self.failed:
            self._wake.set()

    def told(self) -> dict[str, bool]:
        """How learning stands, for JSON."""
        return {"wanted": self._goal is not None, "between": self._between, "failed": self.failed}

    async def run(self) -> None:
        """Learns whenever there is a wish, until `end`."""
        while not self._ends:
            await self._wake.wait()
            self._wake.clear()
            try:
                while not self._ends and await self._learn():
                    pass
            except WriteError as error:  # the next wish, or step, tries again
                print(error, file=sys.stderr)
            except Exception:  # whatever learning raises: acting goes on
                traceback.print_exc()
                self.failed, self._goal = True, None

    def end(self) -> None:
        """Makes `run` return after the stretch that is under way."""
        self._ends = True
        self._wake.set()

    async def _learn(self) -> bool:
        """One stretch; False if there is nothing more to do."""
        async with self._desk.turn(patient=True) as session:
            goal = self._goal
            if session.learner.process is not None:
                self._goal = None
                if goal is not None:
                    session.learn(updates=goal.updates, seconds=goal.seconds)
                return False
            count = self._count(goal, session.due)
            begin = time.monotonic()
            made = await self._desk.aside(session.learn, updates=count) if count else 0
            if made:
                self._pace = (time.monotonic() - begin) / made
            if goal is not None and goal.updates is not None:
                goal.updates -= made
            if not made and goal is self._goal:
                self._goal = None
            return made > 0 or goal is not self._goal

    def _count(self, goal: _Goal | None, due: int) -> int:
        """Number of updates of the next stretch."""
        fits = 1 if self._pace is None else max(int(self._stretch / self._pace), 1)
        if goal is None:
            return min(fits, due) if self._between else 0
        if goal.updates is not None:
            return min(fits, max(goal.updates, 0))
        if goal.until is not None:
            return fits if time.monotonic() < goal.until else 0
        return min(fits, due)
