"""The record of a policy that has acted: its gain over the reference per episode.

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
        gain, parts: sums of gains and of parts of an episode, over all that it has acted.
        fresh_gain, fresh_parts: the same since it was promoted. A promotion is partly due to luck,
            so only these count afterwards.
    """

    gain: float = 0.0
    parts: float = 0.0
    fresh_gain: float = 0.0
    fresh_parts: float = 0.0

    def add(self, gain: float, part: float, *, fresh: bool) -> None:
        """Adds a stretch; it is `fresh` if the policy had been promoted before."""
        self.gain += gain
        self.parts += part
        if fresh:
            self.fresh_gain += gain
            self.fresh_parts += part

    def mean(self) -> tuple[float, float]:
        """Gain per episode, and the episodes it is measured on: the fresh ones if they make one."""
        if self.fresh_parts >= 1.0:
            return self.fresh_gain / self.fresh_parts, self.fresh_parts
        return (self.gain / self.parts, self.parts) if self.parts else (0.0, 0.0)


def apart(parts: float, other: float, *, spread: float, by: float, error: float) -> float:
    """The difference from which on two mean gains count as different.

    Args:
        parts, other: number of episodes that each of them is measured on.
        spread: standard deviation of the gain of an episode.
        by: number of standard errors; infinite: what an anytime-valid test asks for.
        error: error probability of that test.
    """
    if parts <= 0.0 or other <= 0.0:
        return math.inf
    if math.isinf(by):
        return spread * (radius(parts, error / 2.0) + radius(other, error / 2.0))
    return by * spread * math.sqrt(1.0 / parts + 1.0 / other)
