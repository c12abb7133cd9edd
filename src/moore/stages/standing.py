"""The record of a policy that has acted: its gain over the reference per episode.

Every stretch in which a policy acted is compared with what the reference earns in the same steps of
an episode. The gain is the sum of these differences over the sum of the parts of an episode.

A stretch that began within an episode tells less than one that began with it: it began where
another policy had brought the system, and its gain is that of a part, which may be another one
than that of an episode (who swings a pendulum up late shows nothing of it in the last fifth). So
such stretches count only as long as there is no whole episode's worth of the others. A trial that
was stopped counts with the others: to leave it out would be to count the lucky ones alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from moore.stages.earnings import at_step
from moore.stages.evidence import median_deviation, radius

# Whole episodes from which a policy's own scatter is told.
_ENOUGH = 3


@dataclass
class Tally:
    """Sums over stretches of gains, and of the parts of an episode that they were."""

    gain: float = 0.0
    parts: float = 0.0

    def add(self, gain: float, part: float) -> None:
        """Adds a stretch."""
        self.gain += gain
        self.parts += part

    def plus(self, other: "Tally") -> "Tally":
        """The tally over the stretches of both."""
        return Tally(self.gain + other.gain, self.parts + other.parts)

    def mean(self) -> tuple[float, float]:
        """Gain per episode, and the episodes it is measured on."""
        return (self.gain / self.parts, self.parts) if self.parts else (0.0, 0.0)


@dataclass
class Standing:
    """The record of one policy.

    Attributes:
        begun, joined: stretches before it was promoted that began with an episode, and within one.
        fresh_begun, fresh_joined: the same since it was promoted. A promotion is partly due to
            luck, so these count for more.
        believed: mean and variance of its gain over the reference when it was promoted, and what
            its challengers have told of it since; see `belief.py`.
        worths: what it earned in each of the whole episodes in which it acted.
        course: sum over these episodes of what it had earned at each mark.
    """

    begun: Tally = field(default_factory=Tally)
    joined: Tally = field(default_factory=Tally)
    fresh_begun: Tally = field(default_factory=Tally)
    fresh_joined: Tally = field(default_factory=Tally)
    believed: list[float] = field(default_factory=list)
    worths: list[float] = field(default_factory=list)
    course: list[float] = field(default_factory=list)

    def add(self, gain: float, part: float, *, fresh: bool, whole: bool = True) -> None:
        """Adds a stretch.

        Args:
            gain: what it earned more than the reference does in these steps of an episode.
            part: the part of an episode that the stretch was.
            fresh: whether the policy had been promoted before.
            whole: whether the stretch began with an episode.
        """
        begun, joined = (
            (self.fresh_begun, self.fresh_joined) if fresh else (self.begun, self.joined)
        )
        (begun if whole else joined).add(gain, part)

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

    @property
    def fresh(self) -> tuple[float, float]:
        """Gain per episode since it was promoted, and the episodes it is measured on."""
        begun = self.fresh_begun
        return (begun if begun.parts >= 1.0 else begun.plus(self.fresh_joined)).mean()

    def mean(self) -> tuple[float, float]:
        """Gain per episode before it was promoted, and the episodes it is measured on."""
        begun = self.begun
        return (begun if begun.parts >= 1.0 else begun.plus(self.joined)).mean()


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
