"""The state of a run: what learning changes."""

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.dynamics.fit import ModelState
from moore.replay.buffer import Replay, Ring
from moore.stages.gate import Record


class LearnerState(eqx.Module):
    """Everything that learning changes, and so everything that a checkpoint needs of it."""

    agent: PyTree
    model: ModelState | None
    imagined: Ring
    online: Replay
    key: PRNGKeyArray
    penalty_coef: Float[Array, ""]
    # With a gate: the policy that it has let through last, and what that one has earned.
    acting: PyTree | None = None
    record: Record | None = None
