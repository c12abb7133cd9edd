"""Settings of adaptive behaviour cloning (Zhao et al. 2022).

What the paper leaves open is as in the authors' code (zhaoyi11/adaptive_bc, main.py, redq_bc.py).
"""

from dataclasses import dataclass

from moore.errors import InputError
from moore.ranges import AnySign, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class AdaptiveBCConfig:
    """Settings of Adaptive BC.

    Raises:
        InputError: `return_high` does not exceed `return_low`.
    """

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor and the critics."""
    target_rate: Fraction = 0.005
    """Share of the distance to the networks that the target networks move at each of their
    updates."""
    policy_delay: Positive[int] = 2
    """Number of updates of the critics for one update of the actor and the target networks."""
    critics: Positive[int] = 10
    """Number of critics (Q functions)."""
    critic_subset: Positive[int] = 2
    """REDQ: a target is the minimum of this many critics, drawn anew at each update."""
    target_noise: Positive[float] = 0.2
    """Standard deviation of the noise that is added to the actions in the targets."""
    target_noise_limit: Positive[float] = 0.5
    """Largest size of this noise, in both directions."""
    exploration_noise: Positive[float] = 0.1
    """Standard deviation of the noise that is added to the actions in the environment."""
    bc_weight: NonNegative[float] = 0.4
    """a_bc in the offline stage: constant weight of imitation in the actor's loss."""
    online_bc_weight: NonNegative[float] = 0.4
    """a_bc at the beginning of the online stage, and the largest value that it can reach there."""
    proportional_gain: NonNegative[float] = 3e-5
    """K_P: proportional gain of the controller that adapts a_bc, per step of an episode."""
    derivative_gain: NonNegative[float] = 1e-4
    """K_D: derivative gain of this controller, per step of an episode."""
    target_return: Positive[float] = 1.05
    """R_target: setpoint of this controller, on the scale on which `return_low` is 0 and
    `return_high` is 1."""
    return_rate: Fraction = 0.05
    """Weight of the newest return in the moving average R_last."""
    return_low: AnySign[float] | None = None
    """Undiscounted return of an episode that counts as 0. None uses the return of a random policy
    if it is known, otherwise the lowest in the log; the run writes down the value."""
    return_high: AnySign[float] | None = None
    """Undiscounted return of an episode that counts as 1. None uses the return of an expert if it
    is known, otherwise the highest in the log; the run writes down the value."""
    kept_share: Fraction = 0.05
    """Share of the log from which the online batches are drawn, chosen once at the hand-over."""
    kept_least: Positive[int] = 50_000
    """Smallest number of rows that this share has. The rows are drawn with replacement, as in the
    authors' code (utils.py)."""
    replay_capacity: Positive[int] = 250_000
    """Number of newest rows that the online batches are drawn from. The kept rows of the log count
    as the oldest."""
    batch_size: Positive[int] = 256
    """Number of transitions in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of actor and critics."""

    def __post_init__(self):
        low, high = self.return_low, self.return_high
        if low is not None and high is not None and not high > low:
            raise InputError(
                f"return_high = {high} does not exceed return_low = {low}; "
                "returns are scaled to 0 at the one and 1 at the other."
            )
