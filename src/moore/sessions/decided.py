"""What was decided beside a controller: the action that is sent, and why."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.sessions.acting import Proposed


@dataclass(frozen=True, eq=False)
class Decided:
    """An action that is to be sent, and what the log tells of it.

    Attributes:
        action: (action,) float32.
        as_proposed: whether it is the new policy's action as that one gave it.
        decision: entries of the record, for JSON.
    """

    action: Float[np.ndarray, " action"]
    as_proposed: bool
    decision: dict[str, Any]


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
