"""The state of a run: what learning changes."""

import equinox as eqx
from jaxtyping import PRNGKeyArray, PyTree

from moore.experience.protocol import Stage
from moore.replay.buffer import Replay
from moore.stages.gate import Gate


class LearnerState(eqx.Module):
    """Everything that learning changes, and so everything that a checkpoint needs of it.

    Attributes:
        agent: networks, optimisers, ...
        experience: what its batches are made from besides log and online data.
        online: D_on.
        key: where the run's randomness stands.
        gate: who may act; None: always the newest policy.
        stage: which one is under way.
    """

    agent: PyTree
    experience: PyTree
    online: Replay
    key: PRNGKeyArray
    gate: Gate | None = None
    stage: Stage = eqx.field(static=True, default="offline")
