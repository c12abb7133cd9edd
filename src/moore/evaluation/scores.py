"""Reference returns and the normalised score of D4RL (Fu et al. 2020)."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ReferenceScores:
    """Undiscounted returns of a random and of an expert policy, for the normalised score.

    Attributes:
        random: mean return of a uniformly random policy (score 0).
        expert: mean return of the reference expert (score 100).
        source: origin of the two numbers.
    """

    random: float
    expert: float
    source: str

    def score(self, episode_return: float) -> float:
        """100 (R - random) / (expert - random), in per cent."""
        return 100.0 * (episode_return - self.random) / (self.expert - self.random)


# D4RL's infos.py; v1 and v2 keep the constants of v0.
_D4RL = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
}


# Of all three tasks; the returns of shorter episodes cannot be measured by these.
_STEPS = 1000


def reference_scores(
    env_id: str | None, *, arguments: str = "", steps: int | None = None
) -> ReferenceScores | None:
    """D4RL's constants for HalfCheetah, Hopper and Walker2d (any version), else None.

    Args:
        env_id: Gymnasium id.
        arguments: arguments of the environment besides; with any, it is another task.
        steps: step limit of an episode; None for the registered one.
    """
    match = re.fullmatch(r"(HalfCheetah|Hopper|Walker2d)-v\d+", env_id or "")
    if match is None or arguments or steps not in (None, _STEPS):
        return None
    return ReferenceScores(*_D4RL[match[1].lower()], source="D4RL infos.py")
