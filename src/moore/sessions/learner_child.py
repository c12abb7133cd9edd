"""The learner process of a session, as the process that acts sees it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
import warnings
from dataclasses import replace
from pathlib import Path

from moore.errors import InputError
from moore.files import short_path, writing
from moore.runs.policy import Policy
from moore.sessions.acting import ready
from moore.sessions.publication import (
    LEARNER,
    PULSE,
    STATE,
    Publication,
    read_policy,
    read_publication,
)
from moore.sessions.turns import Published

# Seconds between two looks at what the process has published.
PAUSE = 0.05
# Seconds without a sign of the process, after which it is said that it hangs.
SILENCE = 60.0
# Seconds that it has to end by itself before it is killed.
_GRACE = 10.0
OUTPUT = "output.txt"
_KILL = 9  # signal.SIGKILL, where there is one
# By how much it is nicer than this process, where the system knows that.
NICE = 10


class LearnerChild:
    """Starts the process, gives it orders, and looks at what it publishes, in a thread of its own.

    The thread prepares a new policy completely before it puts it into `newest`. All attributes are
    replaced in one piece, so that they can be read at any time without waiting.

    Attributes:
        told: how far the process is.
        newest: the newest policy that has come from it; None before the first.
        trouble: why it has ended, or that it hangs, as a sentence; "" while it runs.
    """

    def __init__(self, session: Path, instructions: dict, policy: Policy, told: Publication):
        """Starts the process.

        Args:
            session: folder of the session.
            instructions: what the process must know besides, as JSON.
            policy: a policy of the same learner.
            told: what is known before it publishes.

        Raises:
            InputError: the process cannot be started.
        """
        self._session, self._folder = session, session / LEARNER
        self._instructions, self._like = instructions, policy
        self._where = os.getcwd()
        self.told, self._saves = told, 0
        self.newest: Published | None = None
        self.start()

    def start(self) -> None:
        """Starts the process, which goes on from the newest state that was saved.

        Raises:
            InputError: it cannot be started.
        """
        launch = uuid.uuid4().hex
        with writing(self._folder):
            self._folder.mkdir(exist_ok=True)
            with open(self._folder / OUTPUT, "ab") as output:
                self._process = _launched(self._session, output, self._where)
            (self._folder / PULSE).touch()
        self.trouble, self._seen = "", (0, 0, 0)
        self._pulse, self._silent, self._looked, self._hangs = 0, 0.0, time.monotonic(), False
        self._closing = threading.Event()
        self._order(self._instructions | {"launch": launch, "nice": NICE})
        self._watcher = threading.Thread(
            target=self._watch, args=(launch,), name="moore-learner", daemon=True
        )
        self._watcher.start()

    @property
    def id(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def published(self) -> int:
        """Number of the newest policy that has come, 0 before the first."""
        return 0 if self.newest is None else self.newest.number

    @property
    def ended(self) -> bool:
        """Whether the process has ended, or hangs."""
        return self._process.poll() is not None or self._hangs

    def restart(self) -> None:
        """Starts the process again if it has ended; one that hangs is ended before.

        Raises:
            InputError: it cannot be started.
        """
        if self.ended:
            self._process.kill()
            self._watcher.join()
            self.start()

    def learn(self, *, updates: int | None, seconds: float | None) -> None:
        """Orders more updates than the schedule asks for: so many, or for so many seconds."""
        self._order({"do": "learn", "updates": updates or 0, "seconds": seconds or 0.0})

    def save(self) -> None:
        """Waits until the state is saved; the process then writes nothing until `go_on`.

        Raises:
            InputError: the process has ended, or hangs.
        """
        self._saves += 1
        self._order({"do": "save", "number": self._saves})
        while self.told.saved < self._saves:
            self.check()
            time.sleep(PAUSE / 5)

    def go_on(self) -> None:
        """Lets the process go on after `save`."""
        self._order({"do": "go on"})

    def check(self) -> None:
        """Raises InputError if the process has ended, or hangs."""
        if self.trouble:
            raise InputError(
                f"{self.trouble} The newest state that was saved is intact and no step is lost; "
                "session.restart_learner() goes on from it."
            )

    def close(self) -> None:
        """Ends the process."""
        self._closing.set()
        self._order({"do": "stop"})
        assert self._process.stdin is not None  # a pipe
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._watcher.join()

    def _order(self, what: dict) -> None:
        """Writes an order; a process that has ended does not hear it, which the thread notices."""
        assert self._process.stdin is not None  # a pipe
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()

    def _watch(self, launch: str) -> None:
        status = None
        while status is None:
            if self._closing.wait(PAUSE):
                return
            status = self._process.poll()
            self._look(launch)
            self._feel()
        self._tell(self.told.trouble or f"The learner process has ended ({_why(status)}).")

    def _feel(self) -> None:
        """Notices a process that shows nothing, and one that goes on after that."""
        before, self._looked = self._looked, time.monotonic()
        # While this process itself was stopped, the other one may have been stopped as well.
        self._silent += min(self._looked - before, 1.0)
        with contextlib.suppress(OSError):
            beat = (self._folder / PULSE).stat().st_mtime_ns
            if beat != self._pulse:
                self._pulse, self._silent = beat, 0.0
        silent = self._silent > SILENCE
        if silent and not self._hangs:
            self._hangs = True
            self._tell(
                f"The learner process has given no sign for {SILENCE:.0f} seconds: it was stopped, "
                "or the machine has no time or memory for it."
            )
        elif self._hangs and not silent:
            self._hangs, self.trouble = False, ""

    def _tell(self, what: str) -> None:
        self.trouble = f"{what} The last policy that it has published acts on."
        with contextlib.suppress(Warning):  # where warnings are errors, acting goes on
            warnings.warn(f"{short_path(self._session)}: {self.trouble}", stacklevel=1)

    def _look(self, launch: str) -> None:
        """Takes what is new."""
        try:
            found = (self._folder / STATE).stat()
        except OSError:
            return
        changed = found.st_mtime_ns, found.st_ino, found.st_size
        if changed == self._seen:
            return
        told = read_publication(self._folder)
        if told is None or told.launch != launch:
            return
        if told.policy not in (0, self.published):
            try:
                weights = read_policy(self._folder, told.policy, self._like.weights)
            except InputError:
                return  # it was replaced meanwhile
            policy = ready(replace(self._like, weights=weights))
            self.newest = Published(told.policy, policy, told.heard)
        self.told, self._seen = told, changed


def _launched(session: Path, output, where: str) -> subprocess.Popen:
    """The process, which ends when its standard input closes, as it does when this one ends."""
    if not sys.executable:
        raise InputError(
            "this program does not know its Python (sys.executable is empty), so it cannot start "
            "a learner process; open the session with learner='call'."
        )
    threads = str(cores_of_learner())
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    paths = os.pathsep.join(dict.fromkeys(path for path in sys.path if path))
    with writing("the learner process"):
        return subprocess.Popen(
            [sys.executable, "-m", "moore.sessions.learner_process", str(session)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=where,
            env=dict.fromkeys(names, threads) | os.environ | {"PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C in a terminal is for the process that acts
            creationflags=getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def cores_of_learner() -> int:
    """One core less than there are, which is left to the process that acts."""
    everywhere = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if everywhere else os.cpu_count() or 1
    return max(cores - 1, 1)


def _why(status: int) -> str:
    if status == -_KILL:
        return f"killed by signal {_KILL}, which a system without memory left sends"
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
