"""Settings of the offline stage."""

from dataclasses import dataclass
from typing import Annotated

from moore.ranges import POSITIVE, AllowedNumbers, Fraction, NonNegative, Positive

AtLeastTwoEpochs = Annotated[
    int, POSITIVE, AllowedNumbers("be at least 2 epochs", lambda n: n >= 2)
]


@dataclass(frozen=True)
class OfflineConfig:
    """Settings of the offline stage, MOPO (line 2 of Algorithm 1)."""

    epochs: NonNegative[int] = 1000
    """Number of offline epochs. A model-based algorithm makes one batch of rollouts at the
    beginning of each epoch; the agent's updates follow."""
    updates_per_epoch: Positive[int] = 1000
    """Gradient updates of the agent in each epoch."""
    rounds: Positive[int] = 1
    """Number of times in an epoch that a model-based algorithm makes rollouts. An equal part of
    the updates follows each time."""
    rollout_batch: Positive[int] = 50_000
    """Number of imagined rollouts that start in each round."""
    retain_epochs: Positive[int] = 5
    """The buffer of imagined transitions keeps the rollouts of this many newest epochs."""
    real_ratio: Fraction = 0.05
    """Share of each training batch that is drawn from the log; the rest is imagined. Rewards from
    the log carry no penalty."""
    patience: AtLeastTwoEpochs | None = None
    """Stop the stage once the critics' mean target has stayed within +-`tolerance` for this many
    epochs, at least 2; `epochs` is then the upper limit. None runs all epochs, as MOPO does."""
    tolerance: Positive[float] = 0.01
    """Half the width of the band that `patience` waits for, relative to the mean of these targets:
    0.01 means within 1% on either side."""
    refusals: Positive[int] | None = None
    """Stop the stage once the gate has let no new policy act in this many epochs in a row; `epochs`
    is then the upper limit. None: the gate does not end the stage."""
    log_updates: NonNegative[int] = 0
    """Updates at the end of the stage in which the agent of the online stage learns from the log,
    near the policy that is handed over; trials within the dip budget then go towards the policy
    that comes out. 0: none, as where the log could not be cloned. Works only with an algorithm that
    has an agent for each stage."""
