"""What was decided about one action beside a controller that ran before, as its record tells it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.formats.live_steps import plain
from moore.guarding.controllers import Answer
from moore.guarding.modes import Mode, Sent, Switchboard
from moore.sessions.acting import Proposed


@dataclass(frozen=True, eq=False)
class Decided:
    """An action that is to be sent, and what the log tells of it.

    Attributes:
        action: (action,) float32.
        as_proposed: whether it is the new policy's action as that one gave it.
        decision: entries of the record, for JSON.
        answer: that of the old controller; None: it was not asked.
    """

    action: Float[np.ndarray, " action"]
    as_proposed: bool
    decision: dict[str, Any]
    answer: Answer | None = None


def decision_of(
    mode: Mode,
    alarm: str,
    sent: Sent,
    now: float,
    *,
    board: Switchboard | None = None,
    answer: Answer | None = None,
) -> dict[str, Any]:
    """Entries of the record of an action.

    Args:
        mode: the user's mode.
        alarm: why the guard does not trust the new policy; empty if it does.
        sent: what was decided.
        now: the time.
        board: the switchboard after this step; None: nothing was switched.
        answer: that of the old controller; None: it was not asked.
    """
    return {
        "mode": str(mode),
        "actor": sent.actor,
        "why": sent.why,
        "old": None if answer is None else plain(sent.old),
        "new": None if sent.new is None else plain(sent.new),
        "alarm": alarm,
        "switched": sent.switched,
        "interlocks": list(sent.interlocks),
        "clock": now,
        "moving": None if board is None or board.transfer.over else board.transfer.moving.tolist(),
        "fault": "" if answer is None else answer.fault,
        "unusable": (answer.unusable if answer is not None else "") or sent.unusable,
    }


def entries(decided: list[Decided], proposed: Proposed | None) -> list[dict[str, Any]]:
    """Entries of the records of actions: the decision, and what is known of a policy's action."""
    found = []
    for row, one in enumerate(decided):
        policy = density = None
        if proposed is not None:
            policy = proposed.policy if one.decision["actor"] == "new" else None
            density = proposed.log_density[row] if one.as_proposed else None
        proposer = None if proposed is None else proposed.policy
        decision = one.decision | {"proposer": proposer}
        found.append({"log_density": density, "policy": policy, "decision": decision})
    return found
