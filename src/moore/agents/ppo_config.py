"""Settings of proximal policy optimisation (`moore.agents.ppo`)."""

from dataclasses import dataclass

from moore.ranges import AnySign, Fraction, NonNegative, Positive


@dataclass(frozen=True)
class PPOConfig:
    """Settings of proximal policy optimisation."""

    discount: Fraction = 0.99
    """gamma: discount factor of one step."""
    trace: Fraction = 0.98
    """lambda of the lambda-returns: how much of an advantage is taken from the rollout itself
    instead of from the critic."""
    clip: Positive[float] = 0.2
    """Change of the probability ratio beyond which a row no longer pulls at the actor."""
    clipped_share: Fraction = 0.1
    """Share of rows beyond `clip` that the learning rate of the actor is adapted to reach."""
    critic_learning_rate: Positive[float] = 1e-3
    """Learning rate of Adam for the critic."""
    critic_warm_up: NonNegative[int] = 1500
    """Number of updates of the critic on the returns of the log, before anything else is learned:
    they are values of the controllers that made it."""
    critic_first: NonNegative[int] = 450
    """Number of updates at the beginning in which only the critic learns, from rollouts."""
    anchor: NonNegative[float] = 10.0
    """Weight of the mean squared distance between the mean action and that of the anchor, which is
    the policy that learning began with. The objective counts in standard deviations of the
    advantages. This is the weight where the models are not believed; it falls with the square of
    the doubt about them. Without an anchor there is no pull."""
    average_rate: Fraction = 5e-4
    """Share by which the policy that may act follows the actor at every update."""
    log_std: AnySign[float] = -1.5
    """Log standard deviation of the actions, in bounds of -1 and 1, that a fresh actor begins
    with."""
    batch_size: Positive[int] = 1000
    """Number of rows in the batch of one update."""
    hidden: tuple[Positive[int], ...] = (256, 256)
    """Widths of the hidden layers of actor and critic."""
