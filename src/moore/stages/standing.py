"""The record of a policy that has acted: its gain over the reference per episode.

Every stretch in which a policy acted is compared with what the reference earns in the same steps of
an episode. The gain is the sum of these differences over the sum of the parts of an episode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from moore.stages.earnings import at_step
from moore.stages.evidence import median_deviation, radius

# Whole episodes from which a policy's own scatter is told.
_ENOUGH = 3


@dataclass
class Standing:
    """The record of one policy.

    Attributes:
        gain, parts: sums of gains and of parts of an episode, over all that it has acted.
        fresh_gain, fresh_parts: the same since it was promoted. A promotion is partly due to luck,
            so only these count afterwards.
        worths: what it earned in each of the whole episodes in which it acted.
        course: sum over these episodes of what it had earned at each mark.
    """

    gain: float = 0.0
    parts: float = 0.0
    fresh_gain: float = 0.0
    fresh_parts: float = 0.0
    worths: list[float] = field(default_factory=list)
    course: list[float] = field(default_factory=list)

    def add(self, gain: float, part: float, *, fresh: bool) -> None:
        """Adds a stretch; it is `fresh` if the policy had been promoted before."""
        self.gain += gain
        self.parts += part
        if fresh:
            self.fresh_gain += gain
            self.fresh_parts += part

    def add_episode(self, course: Sequence[float]) -> None:
        """Adds the course of a whole episode of its own, at all marks."""
        self.worths.append(course[-1])
        self.course = [
            a + b for a, b in zip(self.course or [0.0] * len(course), course, strict=True)
        ]

    def earned(self, marks: Sequence[int], since: int, until: int) -> float | None:
        """What it earns between two steps of its mean episode; None if it had no whole one."""
        if not self.worths:
            return None
        between = at_step(self.course, marks, until) - at_step(self.course, marks, since)
        return between / len(self.worths)

    @property
    def spread(self) -> float:
        """Standard deviation of what it earns an episode, by the median; 0 if it is not known."""
        return median_deviation(self.worths) if len(self.worths) >= _ENOUGH else 0.0

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
