"""The learner process of a session: follows its log, learns, and publishes who may act.

    python -m moore.sessions.learner_process SESSION

`moore.Session` starts it. Instructions and orders come as lines of JSON on its standard input. When
this closes, the process that acts has ended; then the state is saved, and this process ends too.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jaxtyping import PyTree

from moore.errors import InputError
from moore.files import locked, wait_until_unlocked
from moore.formats.live_steps import Steps
from moore.jax_settings import plain_jax
from moore.runs.checkpoint import newest_first, read_manifest
from moore.sessions.beside import listening
from moore.sessions.folder import CHECKPOINTS, LOG, load, read_facts
from moore.sessions.following import Following
from moore.sessions.operation import PATIENCE
from moore.sessions.publication import (
    LEARNER,
    PULSE,
    Publication,
    drop_policies,
    last_number,
    write_policy,
    write_publication,
)
from moore.sessions.studying import Studying
from moore.sessions.supervisor import taken
from moore.stages.trials import Trials

# Seconds: while there is nothing to do; at least between two new policies, and between two
# messages about progress; between two states that are saved without an order.
_PAUSE, _POLICIES, _PROGRESS, _STATES = 0.02, 0.5, 0.1, 60.0
# Seconds from the end of the process that acts, in which this one may save its state.
_GRACE = 5.0
# Seconds between two beats of the pulse.
_BEAT = 1.0
# Seconds from an order to end, after which what is being done is broken off.
_MOMENT = 1.0


class Orders:
    """What comes on the standard input, read by a thread.

    Attributes:
        ended: "" while this process is to go on; "stop" after an order to end; "alone" if the
            process that acts has ended.
    """

    def __init__(self) -> None:
        self.ended = ""
        self._lines: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def new(self) -> Iterator[dict]:
        """Orders that came since the last call."""
        while not self._lines.empty():
            yield self._lines.get()

    def next(self, seconds: float) -> str:
        """What the next order says; "" if there is none for so long."""
        try:
            return self._lines.get(timeout=seconds)["do"]
        except queue.Empty:
            return ""

    def _read(self) -> None:
        """Whatever the main thread does, a moment after the end of the orders all ends."""
        with contextlib.suppress(ValueError):  # a line that was not written completely
            for line in sys.stdin:
                if (order := json.loads(line))["do"] == "stop":
                    self.ended = "stop"
                    time.sleep(_MOMENT)
                    os._exit(0)
                self._lines.put(order)
        self.ended = "alone"
        time.sleep(_GRACE)
        os._exit(0)


class LearnerProcess:
    """Does what `Session.learn` does, all the time, with the steps of the log."""

    def __init__(self, session: Path, instructions: dict, orders: Orders):
        """Goes on from the newest state that was saved."""
        run, facts = instructions["run"], read_facts(session)
        start, found = load(
            session, facts, None if run is None else Path(run), instructions["dataset"]
        )
        self._session, self._folder, self._orders = session, session / LEARNER, orders
        self._learning = start.learning
        self._supervisor = listening(facts, start.setup.world)
        self._studying = Studying(session, facts, start, found.info, self._supervisor)
        self._following, self._steps = Following(session / LOG), Steps(PATIENCE)
        self._told = Publication(instructions["launch"])
        self._number = last_number(self._folder)
        self._trials: Trials | None = None
        if isinstance(self._learning.chooser, Trials):
            self._trials = self._learning.chooser
            self._trials.propose = self._publish_policy
            self._number = max(self._number, self._trials.offered)
        self._acting = self._studying.turn.of
        self._next = {"policy": 0.0, "progress": 0.0, "state": time.monotonic() + _STATES}
        self._more_updates, self._more_until = 0, 0.0
        self._kept = (self._studying.updates, self._studying.feeder.fed)

    def run(self) -> None:
        """Goes on until it is told to end."""
        self._follow()
        self._studying.ready()
        while not self._orders.ended:
            self._follow()
            for order in self._orders.new():
                self._obey(order)
            if not self._learn():
                time.sleep(_PAUSE)
            self._publish()
            if time.monotonic() > self._next["state"]:
                self._save_now_or_later()
        if self._orders.ended == "alone":
            self._save()

    def say(self, **news) -> None:
        """Publishes how far this process is."""
        self._told = replace(
            self._told, verdict=self._learning.verdict, steps=self._learning.steps_learned,
            updates=self._studying.updates, **news,
        )  # fmt: skip
        self._next["progress"] = time.monotonic() + _PROGRESS
        try:
            write_publication(self._folder, self._told)
        except OSError:
            return  # the next time, or never: nobody waits for it

    def _follow(self) -> None:
        for record in self._following.new():
            for step in taken(record, self._steps, self._supervisor)[0]:
                self._studying.feeder.add(step)
        self._studying.feeder.make_room()

    def _learn(self) -> bool:
        """One step's worth of learning, or a group of updates beyond; whether there was any."""
        if self._studying.learn_due() is not None:
            return True
        wanted = self._more_updates > 0 or time.monotonic() < self._more_until
        if not wanted or not self._learning.ready:
            return False
        self._more_updates -= self._studying.learn_beyond()
        return True

    def _obey(self, order: dict) -> None:
        if order["do"] == "learn":
            self._more_updates = max(self._more_updates, 0) + order["updates"]
            self._more_until = max(self._more_until, time.monotonic() + order["seconds"])
        elif order["do"] == "save":
            self._follow()
            self._save()
            self.say(saved=order["number"])
            while not self._orders.ended and self._orders.next(_PROGRESS) != "go on":
                self.say()

    def _publish(self) -> None:
        now = time.monotonic()
        if self._trials is None and now > self._next["policy"]:
            turn = self._studying.turn
            if turn.of is not self._acting:
                self._acting = turn.of
                self._publish_policy(turn.policy())
        if now > self._next["progress"]:
            self.say()

    def _publish_policy(self, weights: PyTree) -> int | None:
        """Publishes a policy, and returns its number; None if the disk refuses.

        Of one that is offered for trials, others must find the file.
        """
        number, heard = self._number + 1, self._studying.heard
        if self._trials is not None and self._supervisor is not None:
            heard = self._supervisor.setbacks  # it is accepted just now
        try:
            write_policy(self._folder, number, weights, durable=self._trials is not None)
        except OSError:
            return None  # the next one
        self._number = number
        self._next["policy"] = time.monotonic() + _POLICIES
        self.say(policy=number, heard=heard)
        if self._trials is None:
            drop_policies(self._folder, before=number)
        return number

    def _save_now_or_later(self) -> None:
        """Saves without an order; if the disk refuses, it is tried again after a while."""
        self._next["state"] = time.monotonic() + _STATES
        try:
            self._save()
        except InputError as error:
            print(error, flush=True)

    def _save(self) -> None:
        """Saves, unless nothing came since; what stands in the log is on the disk before."""
        now = (self._studying.updates, self._studying.feeder.fed)
        if now != self._kept:
            self._following.sync()
            self._studying.save()
            self._kept = now
        if self._trials is not None:
            kept = newest_first(self._session / CHECKPOINTS)
            taken = [read_manifest(path)["info"]["choice"].get("offered", 0) for path in kept]
            drop_policies(self._folder, before=min(taken, default=0) + 1)


def _beat(pulse: Path) -> None:
    """Shows that this process has time and memory to do anything, also while it compiles."""
    while True:
        with contextlib.suppress(OSError):
            os.utime(pulse)
        time.sleep(_BEAT)


def _make_way(nice: int) -> None:
    """Leaves a core to others, and lets them go first; before JAX starts its threads."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[1:] or cores)
    if hasattr(os, "nice"):
        os.nice(nice)


@plain_jax()
def main() -> int:
    """Runs the process; its exit status."""
    session, instructions = Path(sys.argv[1]), json.loads(sys.stdin.readline())
    folder, launch = session / LEARNER, instructions["launch"]
    _make_way(instructions["nice"])
    threading.Thread(target=_beat, args=(folder / PULSE,), daemon=True).start()
    orders, process = Orders(), None
    try:
        wait_until_unlocked(folder, seconds=2 * _GRACE)
        with locked(folder):
            process = LearnerProcess(session, instructions, orders)
            process.run()
            return 0
    except InputError as error:
        trouble = f"The learner process has ended: {error}"
    except Exception as error:
        traceback.print_exc()
        trouble = (
            f"The learner process has ended by an error ({type(error).__name__}: {error}); "
            f"{folder / 'output.txt'} holds its last words."
        )
    if process is None:
        write_publication(folder, Publication(launch, trouble=trouble))
    else:
        process.say(trouble=trouble)
    return 1


if __name__ == "__main__":
    sys.exit(main())
