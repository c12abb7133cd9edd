"""Settings of the evaluation."""

from dataclasses import dataclass

from moore.ranges import AnySign, NonNegative


@dataclass(frozen=True)
class EvaluationConfig:
    """Settings of the evaluation, which runs the deterministic policy from fixed start seeds."""

    episodes: NonNegative[int] = 10
    """Number of episodes in each evaluation, each in an environment of its own. Every evaluation of
    a run uses the same start seeds. 0 evaluates nothing; use it if there is no simulator."""
    threshold: AnySign[float] | None = None
    """Return that the metric `epochs_to_threshold` waits for. None uses 95% of the best
    evaluation."""
    candidate: bool = True
    """With the gate, also evaluate the newest policy when the gate has refused it. Off, a refused
    policy never acts in the environment."""
