"""How a session is opened: from a run, or from its own folder."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.files import whole_path
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.supervision import GuardSettings, Source
from moore.jax_settings import plain_jax
from moore.runs.hand_over import ACCEPT_FIRST
from moore.sessions.beside import Beside
from moore.sessions.between import BetweenEpisodes, between_episodes
from moore.sessions.folder import found_folder, load, new_folder, read_facts, write_facts
from moore.sessions.one_by_one import Turntaking
from moore.sessions.operation import NEW, Operation
from moore.sessions.start import begin, check_accepted, check_seed
from moore.sessions.studying_apart import let_go, process_for

# A kind of session.
S = TypeVar("S", bound="Opened")


class Opened(Turntaking):
    """A session as it was opened; `moore.sessions.session` says what can be done with it."""

    def __init__(self, operation: Operation, between: BetweenEpisodes | None = None):
        """Use `from_run` or `resume`, which call this."""
        super().__init__()
        self._operation, self._between, self._closed = operation, between, False

    @classmethod
    @plain_jax()
    def from_run(
        cls: type[S],
        run: str | Path,
        out: str | Path | None = None,
        *,
        dataset: Dataset | str | Path | None = None,
        at: str = "newest",
        seed: int | None = None,
        accept: tuple[str, ...] = (),
        learner: str = "call",
        learn_seconds: float | None = None,
        controller: Source | None = None,
        mode: str | None = None,
        guard: GuardSettings | None = None,
        interlocks: Interlocks | None = None,
        transfer_rate: float | Sequence[float] | np.ndarray | None = None,
        dead_man: DeadMan | None = None,
        clock: Callable[[], float] | None = None,
        reference_log: bool = False,
    ) -> S:
        """A new session that goes on from a run; nothing is written to the run's folder.

        Args:
            run: folder of a run whose offline stage is done.
            out: a new folder for the session; by default `sessions/{run}__{time}`.
            dataset: the run's log, if its file has moved or it was given as an object.
            at: "newest" goes on from the newest state of the run, "hand-over" from the end of its
                offline stage.
            seed: seed of the noise of the actions; by default that of the run.
            accept: "hand-over" to act although something speaks against the policy,
                "first-observation" although the first one is unlike all logged ones.
            learner: "call" learns in calls of `learn`, "episodes" also learns what is due whenever
                an episode has ended or a block was brought, "process" learns all the time in
                another process.
            learn_seconds: with "episodes", seconds after which nothing more is begun; the call that
                ends an episode takes so long. None: all that is due.
            controller: the controller that ran before, which stands by: a function (obs,) ->
                (action,), an object with `act(obs)`, what
                `moore.guarding.opening.open_controller` opens, the folder of a run, or "clone" for
                the run's clone of its log. None: the policy acts alone, and all that follows is
                not for it.
            mode: "off", "shadow" (the default), "canary" or "on".
            guard: what the guard tests; None: there is no guard.
            interlocks: limits on all actions.
            transfer_rate: largest change of each entry of the action in one second after another
                actor has taken over; None: no limit.
            dead_man: time-outs.
            clock: returns seconds, and never goes back; by default the computer's clock.
            reference_log: whether `controller` itself, and nobody else, has written the run's log
                on this very plant. Then the loss budget knows from it what the controller earns.

        Raises:
            InputError: there is no such run, something speaks against its policy, the folder is
                not empty, or the controller and what goes with it cannot be used.
        """
        check_accepted(accept)
        check_seed(seed)
        between = between_episodes(learner, learn_seconds)
        run, elsewhere = whole_path(run), process_for(learner, dataset=dataset)
        start = begin(run, dataset=dataset, at=at, accept=tuple(accept))
        beside = Beside.begun(
            start, run, controller=controller, mode=mode, guard=guard, interlocks=interlocks,
            transfer_rate=transfer_rate, dead_man=dead_man, clock=clock,
            reference_log=reference_log,
        )  # fmt: skip
        folder = new_folder(out, run)
        seed = start.setup.config.seed if seed is None else seed
        facts = write_facts(folder, run, seed, beside.described)
        operation = Operation(folder, facts, start, NEW, beside.supervisor, elsewhere=elsewhere)
        accepted = (*accept, *start.setup.config.accept)
        operation.likeness.accepted = ACCEPT_FIRST in accepted
        operation.likeness.look_first = controller is None and ACCEPT_FIRST not in accepted
        return cls(operation, between)

    @classmethod
    @plain_jax()
    def resume(
        cls: type[S],
        path: str | Path,
        *,
        run: str | Path | None = None,
        dataset: Dataset | str | Path | None = None,
        learner: str = "call",
        learn_seconds: float | None = None,
        controller: Source | None = None,
        project: Callable | None = None,
        clock: Callable[[], float] | None = None,
    ) -> S:
        """Goes on with a saved session.

        Steps that were recorded after it was saved are taken from its log. The restored policy must
        give the actions that were stored with it.

        Args:
            path: folder of the session, or a copy that `save(path)` made.
            run: folder of the run that it started from, if it has moved.
            dataset, learner, learn_seconds: as for `from_run`.
            controller: the controller that ran before, if the session has one; only "clone" need
                not be given again, because nothing that a file names is run.
            project: the projection of its interlocks, if they have one.
            clock: as for `from_run`.

        Raises:
            InputError: there is no such session, its files are damaged, the restored policy acts
                differently, or a function is missing.
        """
        between = between_episodes(learner, learn_seconds)
        run = None if run is None else whole_path(run)
        elsewhere = process_for(learner, run=run, dataset=dataset)
        folder = let_go(found_folder(path))
        facts = read_facts(folder)
        start, found = load(folder, facts, run, dataset)
        beside = Beside.restored(
            facts, start, run, controller=controller, project=project, clock=clock
        )
        operation = Operation(
            folder, facts, start, found.info, beside.supervisor, elsewhere=elsewhere
        )
        return cls(operation, between)

    def close(self) -> None:
        """Ends the session. What was learned since `save` is lost, no step is."""
        if self.is_at_home:
            with self.lock:
                self._operation.close()
                self._closed = True

    def _pause(self, ended: bool | np.bool_ = True) -> None:
        """Learns if an episode has ended and this session learns between episodes."""
        if ended and self._between is not None:
            self._between.learn(self._operation)

    def _opened(self) -> Operation:
        if self._closed:
            raise InputError(
                "this session is closed; go on with "
                f"moore.Session.resume({str(self._operation.folder)!r})."
            )
        return self._operation
