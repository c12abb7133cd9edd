"""The controller that ran before, as a policy: one protocol, and how it is asked safely.

Whatever it is (a function, a server, a file of another library), it is asked by `act(obs)`, in the
user's units. `ask` turns whatever may go wrong into a sentence and the last good action: a session
must send an action even when the controller fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from moore.errors import InputError
from moore.imports import import_named
from moore.numbers import as_measured

Obs = Float[np.ndarray, "*rows obs"]
Action = Float[np.ndarray, "*rows action"]


@runtime_checkable
class Controller(Protocol):
    """Anything that answers observations with actions, both in the user's units."""

    def act(self, obs: Obs) -> Action:
        """Actions for one observation (obs,) or for a batch (rows, obs)."""


@runtime_checkable
class Sized(Protocol):
    """A controller of a file, which knows for what system it was made.

    Attributes:
        file_sizes: numbers of entries of an observation and of an action; None: not known.
    """

    @property
    def file_sizes(self) -> tuple[int | None, int | None]:
        """See above."""


@runtime_checkable
class Tracking(Protocol):
    """A controller with a memory, such as a PID controller, that wants to know what was sent.

    Without this its integrator winds up while another policy acts.
    """

    def track(self, obs: Obs, sent: Action) -> None:
        """Told the action that was really sent after this observation."""


@dataclass(frozen=True)
class FunctionController:
    """A Python function as a controller.

    Attributes:
        function: takes an observation (obs,) and returns an action (action,), or one number.
        batched: whether it takes batches (rows, obs) as well; otherwise it is called row by row.
    """

    function: Callable[[np.ndarray], object]
    batched: bool = False

    def act(self, obs: Obs) -> Action:
        if obs.ndim == 1 or self.batched:
            return as_action(self.function(obs))
        return np.stack([as_action(self.function(row)) for row in obs])


def named_controller(text: str) -> Controller:
    """The controller that `module:name` names. This runs the module.

    It names a function from (obs,) to (action,), an object with `act`, or a class of such objects,
    of which one is made without arguments.

    Args:
        text: the name, which the user must have given on purpose; names in files are not for this.

    Raises:
        InputError: not such a name, a module that cannot be imported, nothing that can act, or an
            object that cannot be made.
    """
    found = made(import_named(text, what="controller", example="my_plant:pid"), text)
    if isinstance(found, Controller):
        return found
    if callable(found):
        return FunctionController(found)
    module, _, name = text.partition(":")
    raise InputError(
        f"controller {text}: {module} has no function {name}(obs), which returns an action, and no "
        "such object with a method act(obs)."
    )


def made(found: object, name: str) -> object:
    """What was named or given; of a class, one of its objects, made without arguments.

    Raises:
        InputError: none can be made so.
    """
    if not isinstance(found, type):
        return found
    try:
        return found()
    except Exception as error:  # whatever the user's class raises
        raise InputError(
            f"controller {name} is a class, and none of its objects can be made without "
            f"arguments ({error}); name an object, or a class that needs none."
        ) from error


def check_sizes(controller: Controller, source: str, *, obs_dim: int, action_dim: int) -> None:
    """Raises InputError if a controller is known to be made for another system.

    Args:
        controller: any controller; only one of a file knows its sizes.
        source: what the user called it.
        obs_dim: number of entries of an observation of this system.
        action_dim: number of entries of one of its actions.
    """
    if not isinstance(controller, Sized):
        return
    here, sizes = (obs_dim, action_dim), controller.file_sizes
    if any(known not in (None, size) for known, size in zip(sizes, here, strict=True)):
        takes, gives = ("any number of" if known is None else known for known in sizes)
        raise InputError(
            f"{source} takes {takes} observations and gives {gives} actions; this system has "
            f"{obs_dim} and {action_dim}."
        )


def check_bounds(
    own: tuple[Action, Action], here: tuple[Action, Action], *, source: str, as_it_is: str
) -> None:
    """Raises InputError if a policy scales its actions to other bounds than those of this system.

    Another number of actions is left to `check_sizes`.

    Args:
        own: lower and upper bounds of the policy.
        here: those of this system.
        source: what the user called it.
        as_it_is: what to give as the controller if the actions are meant as they are.
    """
    if own[0].shape == here[0].shape and not same_bounds(own, here):
        own_text, text = (f"{low.tolist()} to {high.tolist()}" for low, high in (own, here))
        raise InputError(
            f"{source} gives actions from {own_text}, as it was made for; this system has "
            f"{text}. If its actions are meant as they are, give {as_it_is} as the controller."
        )


def same_bounds(first: ArrayLike, second: ArrayLike) -> bool:
    """Whether bounds are equal, but for how a text or another program rounds them."""
    return np.allclose(first, second, rtol=1e-4, atol=1e-6)


def as_action(answer: object) -> np.ndarray:
    """A controller's answer as an array; a single number is an action with one entry."""
    return np.atleast_1d(as_measured(answer, "the answer"))


@dataclass(frozen=True, eq=False)
class Answer:
    """What is done with a controller's answer.

    Attributes:
        action: the action to send, finite and within the bounds.
        held: rows in which the last good action is sent, because there is no new one.
        fault: what was wrong, as a sentence; empty if nothing was.
    """

    action: Action
    held: Bool[np.ndarray, "*rows"]
    fault: str = ""

    @property
    def unusable(self) -> str:
        """What was wrong, if an action is held for it; empty if none is."""
        return self.fault if self.held.any() else ""


def ask(
    controller: Controller,
    obs: Obs,
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    last: Action | None,
    outside: Literal["clip", "hold"] = "clip",
) -> Answer:
    """Asks a controller, and holds the last good action where its answer is of no use.

    Args:
        controller: any controller; whatever it raises is caught.
        obs: one observation or a batch.
        low: lower bounds of the actions.
        high: upper bounds of the actions.
        last: the last good actions, of the same shape as the answer; None: there are none yet.
        outside: what becomes of an answer outside the bounds: "clip" moves it to the nearest
            bound, which suits controllers that saturate; "hold" treats it as a fault.

    Raises:
        InputError: the answer is of no use and there is no last action to hold.
    """
    action, fault = _answer(controller, obs, (*obs.shape[:-1], low.size))
    return _judged(action, fault, low=low, high=high, last=last, outside=outside)


def ask_each(
    controller: Controller,
    obs: Float[np.ndarray, "rows obs"],
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    last: list[Action],
) -> list[Answer]:
    """Asks once for several units. What is wrong is told where it is wrong, see `ask`."""
    action, fault = _answer(controller, obs, (len(obs), low.size))
    return [
        _judged(one, fault, low=low, high=high, last=before, outside="clip")
        for one, before in zip(action, last, strict=True)
    ]


def _judged(
    action: Action,
    fault: str,
    *,
    low: Float[np.ndarray, " action"],
    high: Float[np.ndarray, " action"],
    last: Action | None,
    outside: Literal["clip", "hold"],
) -> Answer:
    """What is done with an answer; see `ask`. `fault`: what was wrong with all of it, if it was."""
    good = np.isfinite(action).all(axis=-1)
    if not fault and not good.all():
        fault = "the controller's action holds a value that is not a finite number"
    within = ((action >= low) & (action <= high)).all(axis=-1)
    if not fault and not within.all():
        wrong = action.reshape(-1, low.size)[~within.reshape(-1)][0]
        fault = f"the controller's action {wrong.tolist()} lies outside the bounds"
        fault += f" {low.tolist()} to {high.tolist()}"
    if outside == "hold":
        good = good & within
    if not good.all():
        if last is None:
            raise InputError(
                f"{fault}, and there is no earlier action to hold; give a controller that answers "
                "its first observation."
            )
        action = np.where(good[..., None], action, last)
        fault += "; the last good action is held"
    elif fault:
        fault += "; it is moved to the bounds"
    action = np.minimum(np.maximum(action, low), high).astype(np.float32)
    return Answer(action, np.asarray(~good), fault and f"{fault}.")


def _answer(controller: Controller, obs: Obs, shape: tuple[int, ...]) -> tuple[Action, str]:
    """The controller's answer and an empty text; or NaN and what is wrong."""
    nothing = np.full(shape, np.nan, np.float32)
    try:
        action = as_action(controller.act(obs))
    except (Exception, SystemExit) as error:  # whatever a user's function or a server raises
        told = " ".join(str(error).split()) or type(error).__name__
        return nothing, f"the controller failed ({told.removesuffix('.')})"
    if action.shape != shape:
        return nothing, (
            f"the controller's action has shape {action.shape}; expected {shape} for an "
            f"observation of shape {obs.shape}"
        )
    return action, ""
