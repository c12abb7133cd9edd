"""What is known of a policy by its own acting: its gain over the reference, per episode.

Every stretch in which a policy acted is compared with what the reference earns in the same steps of
an episode. The gain is the sum of these differences over the sum of the parts of an episode.
"""

import math
from dataclasses import dataclass

from moore.stages.evidence import radius


@dataclass
class Standing:
    """The record of one policy.

    Attributes:
        gain, parts: sums over its trials and what it has acted since.
        fresh_gain, fresh_parts: the same since it was promoted. What it was promoted for was partly
            luck, so that only these may judge it afterwards.
    """

    gain: float = 0.0
    parts: float = 0.0
    fresh_gain: float = 0.0
    fresh_parts: float = 0.0

    def add(self, gain: float, part: float, *, fresh: bool) -> None:
        """A stretch, `fresh` if the policy had been promoted before."""
        self.gain += gain
        self.parts += part
        if fresh:
            self.fresh_gain += gain
            self.fresh_parts += part

    def mean(self) -> tuple[float, float]:
        """The gain per episode and the parts it rests on: fresh ones if they make an episode."""
        if self.fresh_parts >= 1.0:
            return self.fresh_gain / self.fresh_parts, self.fresh_parts
        return (self.gain / self.parts, self.parts) if self.parts else (0.0, 0.0)


def apart(parts: float, other: float, *, spread: float, by: float, error: float) -> float:
    """By how much two mean gains, of so many parts, must differ to count as different.

    Args:
        parts, other: of an episode, that each rests on.
        spread: standard deviation of an episode.
        by: standard errors; infinite: what an anytime-valid test asks for.
        error: of that test.
    """
    if parts <= 0.0 or other <= 0.0:
        return math.inf
    if math.isinf(by):
        return spread * (radius(parts, error / 2.0) + radius(other, error / 2.0))
    return by * spread * math.sqrt(1.0 / parts + 1.0 / other)
