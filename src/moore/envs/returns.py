"""The return of an episode, also if some rewards were not measured."""

import math
from dataclasses import dataclass


@dataclass
class Return:
    """The sum of an episode's rewards so far.

    A reward that is not finite was not measured, and counts as the mean of the measured ones.

    Attributes:
        measured: sum of the measured rewards.
        steps: number of steps so far.
        missing: number of rewards that were not measured.
    """

    measured: float = 0.0
    steps: int = 0
    missing: int = 0

    def add(self, reward: float) -> None:
        self.steps += 1
        if math.isfinite(reward):
            self.measured += reward
        else:
            self.missing += 1

    @property
    def total(self) -> float | None:
        """The return so far; None if there were rewards but none was measured."""
        if not self.missing:
            return self.measured
        seen = self.steps - self.missing
        return self.measured * self.steps / seen if seen else None
