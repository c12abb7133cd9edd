"""Settings of CQL and Cal-QL; `moore.agents.cql` says what they mean."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from moore.ranges import AnySign, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class CQLConfig:
    """Settings of CQL and of Cal-QL."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    actor_learning_rate: Positive[float] = 1e-4
    """Learning rate of Adam for the actor and the temperature."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    target_entropy: AnySign[float] | None = None
    """Entropy of the policy in nats that the temperature is adapted to reach. None uses minus the
    number of action entries."""
    conservative_weight: NonNegative[float] = 5.0
    """w: weight of the conservative term in the critics' loss. The other term is the mean squared
    Bellman error, without a factor 1/2. The authors advise 5 or 10."""
    sampled_actions: Positive[int] = 10
    """n: the conservative term compares 3 n sampled actions per state with the logged one."""
    entropy_backup: bool = False
    """Include the entropy of the next action in the Bellman targets."""
    max_target_backup: bool = False
    """Use the best of n next actions in the Bellman target, as judged by the minimum of the target
    critics, instead of a single one. The authors of Cal-QL do so."""
    warm_up: NonNegative[int] = 40_000
    """Number of updates at the beginning in which the actor imitates the logged actions (see
    `actor_loss`)."""
    calibrated: bool = False
    """Use the calibrated loss of Cal-QL instead of that of CQL."""
    critics: Positive[int] = 2
    """Number of critics (Q functions). The actor follows the minimum of all."""
    critic_subset: Positive[int] | None = None
    """REDQ: a Bellman target is the minimum of this many critics, drawn anew at each update. None
    uses the minimum of all."""
    layer_norm: bool = False
    """Normalise the hidden layers of the critics."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256, 256)
    """Widths of the hidden layers of actor and critics."""


def shared_settings(config: Any, **fixed: Any) -> CQLConfig:
    """The settings of CQL for an agent that has settings of the same names.

    `fixed`: values of settings that it does not have, or has under another name.
    """
    names = {field.name for field in dataclasses.fields(CQLConfig)}
    shared = {name: value for name, value in vars(config).items() if name in names}
    return CQLConfig(**(shared | fixed))
