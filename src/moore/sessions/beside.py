"""Makes what stands beside the policy of a session: the old controller and its supervisor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float

from moore.data.whole import comparable_returns
from moore.errors import InputError
from moore.files import short_path
from moore.guarding.controllers import (
    Controller,
    FunctionController,
    check_bounds,
    check_sizes,
    made,
)
from moore.guarding.interlocks import DeadMan, Interlocks
from moore.guarding.modes import Mode, mode_of
from moore.guarding.opening import open_controller
from moore.guarding.supervision import (
    GuardSettings,
    Source,
    Supervision,
    restored,
    with_returns,
)
from moore.runs.budgeting import supervised_chooser
from moore.runs.policy import load_policy
from moore.runs.run_files import CLONE
from moore.runs.world import World
from moore.sessions.clock import SessionClock
from moore.sessions.folder import SessionFacts
from moore.sessions.start import Start
from moore.sessions.supervisor import Supervisor, check_mode

_KINDS: dict[str, tuple[type | None, str]] = {  # None: whatever can be called
    "guard": (GuardSettings, "a moore.guarding.supervision.GuardSettings"),
    "interlocks": (Interlocks, "a moore.guarding.interlocks.Interlocks"),
    "dead_man": (DeadMan, "a moore.guarding.interlocks.DeadMan"),
    "clock": (None, "a function that returns seconds"),
}


@dataclass(frozen=True)
class Beside:
    """What stands beside the policy; nothing, if there is no controller.

    Attributes:
        supervisor: decides who acts.
        described: the settings, for the session's file.
    """

    supervisor: Supervisor | None = None
    described: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begun(
        cls,
        start: Start,
        run: Path,
        *,
        controller: Source | None,
        mode: str | None,
        guard: GuardSettings | None,
        interlocks: Interlocks | None,
        transfer_rate: float | Sequence[float] | np.ndarray | None,
        dead_man: DeadMan | None,
        clock: Callable[[], float] | None,
        reference_log: bool = False,
    ) -> "Beside":
        """Of a new session; from here on the run's trials have the controller as reference.

        With `reference_log` the run's log tells what it earns.

        Raises:
            InputError: a setting cannot be used.
        """
        if controller is None:
            unused: dict[str, object] = {
                "mode": mode,
                "guard": guard,
                "interlocks": interlocks,
                "clock": clock,
            }
            unused |= {"transfer_rate": transfer_rate, "dead_man": dead_man}
            unused |= {"reference_log": reference_log or None}
            if given := [name for name, value in unused.items() if value is not None]:
                raise InputError(
                    f"{given[0]} is for a session beside the controller that ran before; give that "
                    "one too (controller, by the command line --controller), such as my_plant:pid."
                )
            return cls()
        check_kinds(guard=guard, interlocks=interlocks, dead_man=dead_man, clock=clock)
        world, log = start.setup.world, start.setup.dataset
        check_mode(mode or Mode.SHADOW, start.setup.config)
        if guard is not None:
            logged = () if log is None else comparable_returns(log, world.limit.steps)
            guard = with_returns(guard, logged)
        settings = Supervision(
            controller, world.bounds.low, world.bounds.high, mode_of(mode or Mode.SHADOW), guard,
            interlocks, transfer_rate, dead_man or DeadMan(),
        )  # fmt: skip
        supervisor = Supervisor(settings, opened(controller, run, world), SessionClock(clock))
        learning = start.learning
        learning.chooser = supervised_chooser(
            start.setup, learning.state, reference_log=reference_log
        )
        return cls(supervisor, settings.described())

    @classmethod
    def restored(
        cls,
        facts: SessionFacts,
        start: Start,
        run: Path | None,
        *,
        controller: Source | None,
        project: Callable | None,
        clock: Callable[[], float] | None,
    ) -> "Beside":
        """What stands beside the policy of a session that is resumed.

        Raises:
            InputError: a function is missing, or one is given that the session has no use for.
        """
        if not facts.beside:
            if controller is not None or project is not None:
                raise InputError(
                    "this session was begun without a controller; begin a new one with it: "
                    "moore.Session.from_run(..., controller=...)."
                )
            return cls()
        world = start.setup.world
        settings = restored(
            facts.beside, low=world.bounds.low, high=world.bounds.high, controller=controller,
            project=project,
        )  # fmt: skip
        old = opened(settings.controller, facts.run if run is None else run, world)
        return cls(Supervisor(settings, old, SessionClock(clock)), facts.beside)


def standing_by(supervisor: Supervisor | None) -> Supervisor:
    """The supervisor of a session; raises InputError if no controller stands by."""
    if supervisor is None:
        raise InputError(
            "this session has no controller that ran before, so its policy always acts; begin "
            "one with moore.Session.from_run(..., controller=...)."
        )
    return supervisor


def check_kinds(**given: object) -> None:
    """Raises InputError if what stands beside a policy is of another kind than it must be."""
    for name, value in given.items():
        kind, told = _KINDS[name]
        fits = callable(value) if kind is None else isinstance(value, kind)
        if value is not None and not fits:
            raise InputError(f"{name} is {value!r}; expected {told}.")


def listening(facts: SessionFacts, world: World) -> Supervisor | None:
    """A supervisor that follows in the log what that of another process has decided.

    It decides nothing itself, so it needs no controller. None: no controller stands by.
    """
    if not facts.beside:
        return None

    def nobody(*given: object) -> NoReturn:
        raise NotImplementedError("Only the process that acts asks the controller.")

    bounds = {"low": world.bounds.low, "high": world.bounds.high}
    settings = restored(facts.beside, controller=nobody, project=nobody, **bounds)
    return Supervisor(settings, FunctionController(nobody), SessionClock(None))


def opened(source: Source, run: Path, world: World) -> Controller:
    """The controller that the user has named or given.

    Raises:
        InputError: there is no such controller, or it is made for another system.
    """
    if source == "clone":
        return _of_policy(_clone(run), world)
    if isinstance(source, type):
        source = made(source, source.__name__)  # type: ignore[assignment]
    if isinstance(source, Controller):
        return source
    if isinstance(source, str | Path) and str(source) and Path(source).expanduser().is_dir():
        return _of_policy(Path(source), world)
    found = open_controller(source, low=world.bounds.low, high=world.bounds.high)
    sizes = {"obs_dim": world.obs_dim, "action_dim": world.bounds.low.size}
    check_sizes(found, f"the controller {source}", **sizes)
    return found


def _clone(run: Path) -> Path:
    folder = run / CLONE
    if not folder.is_dir():
        raise InputError(
            f"{short_path(run)} has no clone of its log; train it with clone (the preset "
            "moore_safe does), or give another controller."
        )
    return folder


def _of_policy(folder: Path, world: World) -> Controller:
    """A saved policy, which acts without noise and learns nothing."""
    policy = load_policy(folder)
    if (policy.obs_dim, policy.low.size) != (world.obs_dim, world.bounds.low.size):
        raise InputError(
            f"the policy in {short_path(folder)} takes {policy.obs_dim} observations and gives "
            f"{policy.low.size} actions; this system has {world.obs_dim} and "
            f"{world.bounds.low.size}."
        )
    check_bounds(
        (policy.low, policy.high),
        (world.bounds.low, world.bounds.high),
        source=f"the policy in {short_path(folder)}",
        as_it_is=f"moore.load_policy({str(folder)!r})",
    )

    def act(obs: Float[np.ndarray, "*rows obs"]) -> Float[np.ndarray, "*rows action"]:
        return policy(obs)

    return FunctionController(act, batched=True)
