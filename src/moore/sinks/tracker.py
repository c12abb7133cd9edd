"""A sink for a service that keeps runs by an id; each row is sent once, also across resumes."""

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator
from json import dumps
from pathlib import Path
from typing import Protocol, runtime_checkable

from moore.errors import InputError
from moore.files import read_object, write_whole
from moore.sinks.json_lines import jsonable
from moore.sinks.sink import scalars


@runtime_checkable
class Service(Protocol):
    """One open run of a tracking service, which takes numbers."""

    def log(self, numbers: dict[str, int | float], step: int) -> None:
        """Sends the numbers of one row; `step` is the row's place in metrics.jsonl, from 0."""

    def finish(self) -> None:
        """Sends the remaining rows and closes the run."""


class Tracker:
    """A sink that sends rows to a service and remembers in the run folder what it has sent.

    `track-NAME.json` holds the id under which the service knows the run, and the number of rows
    sent. A resumed run continues the same run of the service: rows that the service has missed are
    sent first, and repeated rows are not sent again.

    If the service fails during the run, one line says so and it gets no more rows. metrics.jsonl
    has every row, and the next resume sends the missing ones.
    """

    def __init__(
        self,
        name: str,
        begin: Callable[[str], Service],
        *,
        folder: Path,
        rows: Iterable[dict],
        say: Callable[[str], None],
    ):
        """Opens the run of this folder, or continues it.

        Args:
            name: name of the service.
            begin: opens the service's run with the given id, or continues it if it exists.
            folder: the run folder.
            rows: the rows that metrics.jsonl holds.
            say: prints a line for the user.

        Raises:
            InputError: the service refuses the run, or the folder cannot be written.
        """
        self._name, self._say = name, say
        self._memory = folder / f"track-{name}.json"
        self._id, self._sent = self._remembered()
        self._place = 0
        self._remember()  # before the service knows the id: a kill must not lose it
        self._service: Service | None = None
        try:
            with _prints_on_stderr():
                self._service = begin(self._id)
        except Exception as error:  # whatever the service raises
            raise InputError(
                f"{name} cannot begin ({_first_line(error)}). Put it right, or leave {name} out of "
                "--track; metrics.jsonl has every number anyway."
            ) from error
        for row in rows:
            self._take(row)
        self._remember()

    def write(self, row: dict) -> None:
        """Sends a row, unless it was sent before.

        Raises:
            InputError: the number of rows sent cannot be written to the run folder.
        """
        before = self._sent
        self._take(row)
        if self._sent != before:
            self._remember()

    def close(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            self._attempt(service.finish)

    def _take(self, row: dict) -> None:
        service = self._service
        if service is not None and self._place >= self._sent:
            numbers, place = scalars(jsonable(row)), self._place
            if self._attempt(lambda: service.log(numbers, place)):
                self._sent = place + 1
        self._place += 1

    def _attempt(self, action: Callable[[], None]) -> bool:
        """Tries an action of the service; False if it failed, and the service gets no more rows."""
        try:
            with _prints_on_stderr():
                action()
        except Exception as error:  # whatever the service raises: the run is worth more
            self._service = None
            self._say(
                f"{self._name} failed ({_first_line(error)}) and gets no more rows; metrics.jsonl "
                "has them, and a resume sends those that are missing."
            )
            return False
        return True

    def _remembered(self) -> tuple[str, int]:
        if not self._memory.exists():
            return uuid.uuid4().hex[:12], 0
        found = read_object(self._memory)
        if type(found.get("id")) is not str or type(found.get("rows")) is not int:
            raise InputError(
                f"{self._memory} is damaged: it must hold an id and a number of rows. Delete it "
                f"to begin a new run of {self._name}."
            )
        return found["id"], found["rows"]

    def _remember(self) -> None:
        write_whole(self._memory, dumps({"id": self._id, "rows": self._sent}))


@contextlib.contextmanager
def _prints_on_stderr() -> Iterator[None]:
    """Sends what the service prints to stderr, because --json prints its result on stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
