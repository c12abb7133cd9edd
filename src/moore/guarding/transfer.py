"""Bumpless transfer: after a switch, the action moves to the new actor's at a bounded rate.

From the switch on, every entry of the action changes by at most rate x time per step, until it has
arrived at what the new actor wants; from then on the new actor has it to itself. (For PID
controllers, Åström & Hägglund 1995, "PID Controllers", set the controller's own state so that it
goes on from the last action. A policy has no such state, so the action itself is moved.)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from moore.errors import InputError
from moore.guarding.interlocks import reach_in


@dataclass(frozen=True, eq=False)
class BumplessTransfer:
    """The state of a transfer. Arrays may have a leading axis of units.

    Attributes:
        moving: entries of the action that have not arrived yet.
    """

    moving: Bool[np.ndarray, "*rows action"]

    @property
    def over(self) -> bool:
        """Whether the new actor has all entries to itself."""
        return not self.moving.any()


def first_transfer(shape: tuple[int, ...]) -> BumplessTransfer:
    """No transfer is under way.

    Args:
        shape: shape of an action.
    """
    return BumplessTransfer(np.zeros(shape, bool))


def begun(shape: tuple[int, ...]) -> BumplessTransfer:
    """A transfer that begins now, in all entries."""
    return BumplessTransfer(np.ones(shape, bool))


def moved(
    transfer: BumplessTransfer,
    wanted: Float[np.ndarray, "*rows action"],
    last: Float[np.ndarray, "*rows action"],
    *,
    rate: Float[np.ndarray, " action"],
    seconds: float,
) -> tuple[BumplessTransfer, Float[np.ndarray, "*rows action"]]:
    """The next action, and what is left of the transfer.

    Args:
        transfer: the transfer so far.
        wanted: action of the actor that takes over.
        last: action that was sent last.
        rate: largest change in one second, in the units of the action; infinite: no limit.
        seconds: time since the last action was sent.
    """
    if transfer.over:
        return transfer, wanted
    if not seconds >= 0.0:
        raise InputError(f"{seconds} s have passed since the last action; expected 0 or more.")
    reach = reach_in(rate, seconds)
    arrived = np.abs(wanted - last) <= reach
    step = np.clip(wanted - last, -reach, reach)
    action = np.where(transfer.moving & ~arrived, last + step, wanted).astype(wanted.dtype)
    return BumplessTransfer(transfer.moving & ~arrived), action
