"""Settings of Balanced Replay (Lee et al. 2021).

What the paper leaves open is as in the authors' code (shlee94/Off2OnRL, torch/sac/ours.py).
"""

from dataclasses import dataclass

from moore.ranges import AnySign, Fraction, FractionBelowOne, NonNegative, Positive


@dataclass(frozen=True)
class BalancedConfig:
    """Settings of Balanced Replay."""

    members: Positive[int] = 5
    """Number of CQL agents in the ensemble."""
    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    target_rate: Fraction = 0.005
    """Share of the distance to the critics that the target critics move after each update."""
    target_entropy: AnySign[float] | None = None
    """Entropy in nats that the temperature is adapted to reach: that of every member offline, and
    that of the mixture of all members online. None uses minus the number of action entries."""
    offline_actor_learning_rate: Positive[float] = 1e-4
    """Learning rate of Adam for the actors and the temperatures in the offline stage."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the critics, and in the online stage for all networks but the
    density ratio."""
    conservative_weight: NonNegative[float] = 5.0
    """w: weight of CQL's conservative term, in the offline stage."""
    sampled_actions: Positive[int] = 10
    """n: number of actions that CQL samples, in the offline stage."""
    entropy_backup: bool = False
    """Include the entropy of the next action in the offline Bellman targets. The online targets
    always include it."""
    warm_up: NonNegative[int] = 40_000
    """Number of offline updates at the beginning in which the actors imitate the logged actions."""
    ratio_learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the network that estimates the density ratio w of online and logged
    data."""
    ratio_temperature: Positive[float] = 5.0
    """T: the priority of a row is proportional to w^(1/T)."""
    priority_range: tuple[Positive[float], Positive[float]] = (1e-3, 1e3)
    """Smallest and largest priority of a row; others are clipped to these."""
    initial_online_share: FractionBelowOne = 0.75
    """rho: sets the priority of new online rows. With this priority, the first `initial_rows` of
    them would make up this share of the draws if they arrived at once. In fact rows arrive one by
    one, and a row that was drawn gets another priority. The value is that of the authors' README;
    the default of their script is 0.5."""
    initial_rows: Positive[int] = 1000
    """Number of online rows that `initial_online_share` refers to."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update, and of each kind (logged and online) in
    that of the density ratio."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of all networks."""
