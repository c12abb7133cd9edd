"""Settings of the twin delayed deterministic policy gradient (`moore.agents.td3`)."""

from dataclasses import dataclass

from moore.ranges import Fraction, NonNegative, Positive


@dataclass(frozen=True)
class TD3Config:
    """Settings of the twin delayed deterministic policy gradient."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    critics: Positive[int] = 2
    """Number of Q functions."""
    critic_subset: Positive[int] = 2
    """Number of randomly chosen Q functions whose minimum is the target. What a minimum of several
    is too low by adds up over the horizon; with 1 there is none."""
    target_rate: Fraction = 0.01
    """Share of the distance to the critics that the target critics move after each update."""
    target_noise: NonNegative[float] = 0.2
    """Standard deviation of the noise on the actions of the targets, in bounds of -1 and 1. Values
    are those of a policy with this noise in every step, so it must be small beside what the actions
    of a settled system differ by."""
    target_noise_limit: NonNegative[float] = 0.4
    """Largest size of this noise."""
    critic_learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the critics."""
    actor_learning_rate: Positive[float] = 3e-4
    """Learning rate of Adam for the actor."""
    actor_every: Positive[int] = 4
    """Number of updates of the critics for one update of the actor."""
    reach: Positive[float] = 0.07
    """How far the actor may go from the policy that acts: root mean square of the distance of their
    actions, in bounds of -1 and 1. This is the reach at the hand-over; it grows with trials that
    are won, and shrinks with those that are clearly lost and where the models refuse a policy."""
    return_updates: NonNegative[int] = 2000
    """Number of updates of the critics on the returns of the log, before anything else is learned:
    they are values of the controllers that made it."""
    warm_up: NonNegative[int] = 6000
    """Number of updates after them in which the critics learn the values of the policy that is
    handed over, from the log, and the actor waits. Values settle in 1 / (`target_rate`
    (1 - `discount`)) updates."""
    batch_size: Positive[int] = 256
    """Number of rows in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of the critics; the actor has those of the policy that is handed
    over."""
