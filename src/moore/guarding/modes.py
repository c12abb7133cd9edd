"""Who acts: off, shadow, canary or on; a switch between two actors is bumpless.

| mode | who acts | what the new policy is asked for |
|---|---|---|
| off | the controller that ran before | nothing |
| shadow | the controller that ran before | proposals, which are logged |
| canary | the new policy while the loss budget allows it, else the old controller | all actions |
| on | the new policy | all actions |

In every mode the old controller acts while the guard does not trust the new policy, while an
observation is stale, and where the new policy has no usable action. The old controller is asked in
every step, so that the log has both actions and one with a memory stays up to date.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float

from moore.errors import InputError
from moore.guarding.interlocks import Interlocks, allowed
from moore.guarding.transfer import BumplessTransfer, begun, first_transfer, moved

Actor = Literal["old", "new"]
Action = Float[np.ndarray, " action"]


class Mode(StrEnum):
    """How far the user trusts the new policy, from not at all (off) to completely (on)."""

    OFF = "off"
    SHADOW = "shadow"
    CANARY = "canary"
    ON = "on"


@dataclass(frozen=True)
class Conditions:
    """What the rest of a session says about the next step.

    Attributes:
        trusted: whether the guard trusts the new policy.
        affordable: whether the loss budget allows the new policy to act; asked in canary only.
        stopped: why the old controller must act in any case (a time-out, a stale observation);
            empty: it need not.
    """

    trusted: bool = True
    affordable: bool = True
    stopped: str = ""


def who_acts(mode: Mode, conditions: Conditions) -> tuple[Actor, str]:
    """The actor of the next step, and why it is that one, as a sentence."""
    if mode is Mode.OFF:
        return "old", "The mode is off."
    if mode is Mode.SHADOW:
        return "old", "The mode is shadow."
    if conditions.stopped:
        return "old", conditions.stopped
    if not conditions.trusted:
        return "old", "The guard does not trust the new policy."
    if mode is Mode.CANARY and not conditions.affordable:
        return "old", "The loss budget does not allow a trial."
    return "new", f"The mode is {mode}."


@dataclass(frozen=True, eq=False)
class Switchboard:
    """Who acted last, and the transfer under way, for one unit.

    Attributes:
        mode: the mode.
        interlocks: limits on all actions.
        transfer_rate: largest change of each entry of the action in one second of a transfer.
        actor: who acted last; None: nobody yet.
        policy: id of the policy that acted last; None: not known, or the old controller did.
        last: action that was sent last; None: none yet.
        at: when it was sent; None: none yet.
        transfer: the transfer under way.
    """

    mode: Mode
    interlocks: Interlocks
    transfer_rate: Action
    transfer: BumplessTransfer
    actor: Actor | None = None
    policy: str | None = None
    last: Action | None = None
    at: float = 0.0

    def in_mode(self, mode: str) -> "Switchboard":
        """The switchboard after the user has chosen a mode; the next step acts by it.

        Raises:
            InputError: there is no such mode.
        """
        return replace(self, mode=mode_of(mode))


@dataclass(frozen=True, eq=False)
class Sent:
    """What was decided in a step; all of it belongs into the log.

    Attributes:
        action: action to send.
        actor: whose action it is, or is moving to.
        why: why this one acts, as a sentence.
        old: action that the old controller wanted; None: it was not asked, or had none.
        new: action that the new policy wanted, in the same way.
        switched: whether the actor has just changed.
        in_transfer: whether the action is still moving to the actor's.
        interlocks: what interlocks have changed, as sentences.
        unusable: that of them for which the last action is held; empty if it is not.
    """

    action: Action
    actor: Actor
    why: str
    old: Action
    new: Action | None
    switched: bool
    in_transfer: bool
    interlocks: tuple[str, ...]
    unusable: str = ""


def mode_of(name: str) -> Mode:
    """The mode of this name.

    Raises:
        InputError: there is no such mode.
    """
    if name not in list(Mode):
        raise InputError(f"the mode is {name}; expected one of {', '.join(Mode)}.")
    return Mode(name)


def first_switchboard(
    mode: str, interlocks: Interlocks, transfer_rate: Action | None = None
) -> Switchboard:
    """A switchboard before the first step.

    Args:
        mode: the mode.
        interlocks: limits on all actions.
        transfer_rate: largest change of each entry in one second after a switch; None: no limit.

    Raises:
        InputError: there is no such mode.
    """
    size = interlocks.low.shape
    rate = np.full(size, np.inf) if transfer_rate is None else transfer_rate
    return Switchboard(mode_of(mode), interlocks, rate, first_transfer(size))


def step(
    board: Switchboard,
    *,
    obs: Float[np.ndarray, " obs"],
    old: Action,
    new: Action | None,
    policy: str | None = None,
    now: float,
    conditions: Conditions,
) -> tuple[Switchboard, Sent]:
    """Decides which action is sent.

    A transfer begins where another actor takes over, and where another policy does.

    Args:
        board: the state.
        obs: the observation, for the user's projection.
        old: action of the controller that ran before; finite (see `controllers.ask`).
        new: action of the new policy; None, or not finite: it has none, and the old one acts.
        policy: id of the new policy.
        now: time in seconds, on a clock that never goes back.
        conditions: what guard, budget and time-outs say.
    """
    actor, why = who_acts(board.mode, conditions)
    if actor == "new" and (new is None or not np.isfinite(new).all()):
        actor, why = "old", "The new policy has no usable action."
    switched = board.actor is not None and actor != board.actor
    policy = policy if actor == "new" else None
    succeeds = None not in (policy, board.policy) and policy != board.policy
    transfer = begun(old.shape) if switched or succeeds else board.transfer
    wanted = new if actor == "new" and new is not None else old
    seconds = now - board.at
    if board.last is not None:
        transfer, wanted = moved(
            transfer, wanted, board.last, rate=board.transfer_rate, seconds=max(seconds, 0.0)
        )
    sent = allowed(board.interlocks, wanted, obs=obs, last=board.last, seconds=seconds)
    after = replace(board, transfer=transfer, actor=actor, policy=policy, last=sent.action, at=now)
    moving = not transfer.over
    return after, Sent(
        sent.action, actor, why, old, new, switched, moving, sent.reasons, sent.unusable
    )
