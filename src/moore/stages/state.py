"""The state of learning."""

import equinox as eqx
from jaxtyping import PRNGKeyArray, PyTree

from moore.experience.protocol import Stage
from moore.replay.buffer import Replay
from moore.stages.gate import Gate


class LearnerState(eqx.Module):
    """Everything that learning changes, and so what a checkpoint has to hold.

    Attributes:
        agent: state of the agent: networks, optimisers, ...
        experience: state of the experience: models, imagined data, priorities, ...
        online: D_on.
        key: the key from which the run draws next.
        gate: state of the gate; None: the newest policy always acts.
        stage: the stage that is under way.
    """

    agent: PyTree
    experience: PyTree
    online: Replay
    key: PRNGKeyArray
    gate: Gate | None = None
    stage: Stage = eqx.field(static=True, default="offline")
