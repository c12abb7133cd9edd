"""A company of runs in lock step: each in a thread of its own, one of which goes on at a time.

A run goes on until it calls a program. When all have come to a call, those that are least far are
answered: together, where their calls are equal. So nobody waits for a run that has ended, failed or
gone another way, and the order does not depend on time.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from moore.jax_settings import plain_jax
from moore.lockstep.common import Common
from moore.lockstep.program import Call, Place, take_seat
from moore.lockstep.stacked import Stacked

Task = Callable[[], None]


class Dismissed(BaseException):
    """The company was left before this run had ended."""


class _Member:
    """One run and its thread."""

    def __init__(self, name: str, task: Task, company: "Company"):
        self.name, self._task, self._company = name, task, company
        self.place: Place = (0, 0, 0)
        self._call: Call | None = None
        self.answer: tuple[Any, Exception | None] = (None, None)
        self.ended = self.dismissed = False
        self.error: BaseException | None = None
        self._turn, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        # A daemon: where the program ends at once, nobody waits for it.
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def _live(self) -> None:
        self._turn.acquire()
        take_seat(self)
        try:
            if not self.dismissed:
                self._task()
        except BaseException as error:
            self.error = error
        self.ended = True
        self._stopped.release()

    def go_on(self) -> None:
        """Lets the run go on, and returns when it has ended or come to a call."""
        self._call = None
        self._turn.release()
        self._stopped.acquire()

    @property
    def call(self) -> Call:
        """Where it has stopped, unless it has ended."""
        assert self._call is not None
        return self._call

    def ask(self, call: Call) -> Any:
        """As `Seat.ask`, called in the run's own thread."""
        if self.dismissed:
            raise Dismissed
        self._call = call
        self._stopped.release()
        self._turn.acquire()
        if self.dismissed:
            raise Dismissed
        (result, error), self.answer = self.answer, (None, None)
        if error is not None:
            raise error
        return result

    def same(self, tree: PyTree) -> PyTree:
        """As `Seat.same`."""
        return self._company.common.same(tree)


class Company:
    """Runs tasks in lock step.

    Attributes:
        common: arrays that the runs share.
    """

    def __init__(self, *, stacked: bool, say: Callable[[str], None] = lambda text: None):
        """A company without runs.

        Args:
            stacked: whether equal calls are answered by one program that is mapped over the runs.
                If not, they take turns at the program of a single run.
            say: told once of every run whose programs differ from those of the others.
        """
        self.common = Common()
        self._stacked = Stacked(self.common) if stacked else None
        self._say, self._told = say, set[str]()
        self._unmappable: set[tuple] = set()

    @plain_jax()
    def run(
        self,
        tasks: Mapping[str, Task],
        on_end: Callable[[str, BaseException | None], None] = lambda name, error: None,
    ) -> None:
        """Runs all tasks to their ends.

        Args:
            tasks: tasks by name; each runs in a thread of its own, and never two at a time.
            on_end: told when a task ends, with what it has raised; the others go on.
        """
        members = [_Member(name, task, self) for name, task in tasks.items()]
        try:
            ready = members
            while members:
                for member in ready:
                    member.go_on()
                    if member.ended:
                        on_end(member.name, member.error)
                members = [member for member in members if not member.ended]
                ready = self._served(members) if members else []
        finally:
            for member in members:
                member.dismissed = True
                member._turn.release()

    def _served(self, members: Sequence[_Member]) -> list[_Member]:
        """Answers the calls of those that are least far; returns them."""
        first = min(members, key=lambda m: (m.place, not m.call.program.repeats))
        here = [m for m in members if m.place == first.place]
        here = [m for m in here if m.call.program is first.call.program]
        group = [m for m in here if m.call.signature == first.call.signature]
        if len(group) < len(here):
            self._tell(first.call, [m for m in here if m not in group])
        answers = self._answers([m.call for m in group], len(members))
        for member, answer in zip(group, answers, strict=True):
            member.answer = answer
        return group

    def _answers(self, calls: Sequence[Call], most: int) -> list[tuple[Any, Exception | None]]:
        call, stacked = calls[0], self._stacked
        mappable = most > 1 and call.signature not in self._unmappable
        if stacked is not None and mappable and (len(calls) > 1 or stacked.knows(call)):
            try:
                return [(result, None) for result in stacked.answer(calls, most)]
            except Exception as error:  # one of them may be the cause: each is tried alone
                self._unmappable.add(call.signature)
                self._say(f"{call.program.__name__} is not run together: {error!r}")
        return [_alone(call) for call in calls]

    def _tell(self, call: Call, others: Sequence[_Member]) -> None:
        if self._stacked is None:
            return
        for name in sorted({m.name for m in others} - self._told):
            self._told.add(name)
            self._say(
                f"{name} is not run together with the others: its {call.program.__name__} has "
                "other settings or sizes"
            )


def _alone(call: Call) -> tuple[Any, Exception | None]:
    try:
        return call.alone(), None
    except Exception as error:
        return None, error
