"""What the reference earns a step, for an account of the dip budget that counts steps.

By episodes, one that ends early has lost its rest: `Earnings` counts so. By steps, the next episode
begins at once, as in a simulator, and nothing is lost but what the reference would have earned in
the steps until then. A fall of a hopping robot after 300 of 1000 steps costs two thirds of an
episode by the first, and next to nothing by the second.

Where the next episode can begin at any time, one in which too little is earned is cut. Then no
trial need be able to bear that nothing is earned until the last step that an episode can have.
"""

from dataclasses import dataclass, field
from math import inf

from moore.stages.evidence import LEAST_SPREAD, half_width


@dataclass
class Rate:
    """The reference's earnings a step; the unit of the account is a step.

    The account asks the same of `Earnings`, whose unit is an episode.

    Attributes:
        length: largest number of steps of an episode.
        worths: the worth of each episode until it ended.
        steps: the number of steps of each episode.
        cuts: whether the next episode can begin at any time.
        charges_rest: whether an episode that ends early has lost its rest.
        level: mean worth of a step: of all steps of all episodes; 0 if it is negative.
        credit: number of steps of a mean episode: what it earns may be lost before all else.
    """

    length: int
    worths: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    cuts: bool = False
    charges_rest = False

    def __post_init__(self) -> None:
        self._find_level()

    def add(self, worth: float, steps: int) -> None:
        """Adds an episode, which ended after so many steps."""
        self.worths.append(worth)
        self.steps.append(steps)
        self._find_level()

    def _find_level(self) -> None:
        known, total = bool(self.steps), sum(self.steps)
        self.level = max(sum(self.worths) / total, 0.0) if known else 0.0
        self.credit = total / len(self.steps) if known else 0.0
        self._bounds: dict[float, tuple[float, float]] = {}

    def units(self, since: int, until: int) -> float:
        """Number of steps between two steps of an episode."""
        return float(max(until - since, 0))

    def most_units(self, since: int) -> float:
        """Number of steps that are left of an episode; no more than a mean one's, if it is cut."""
        left = float(self.length - since)
        return min(left, self.credit) if self.cuts else left

    def level_within(self, error: float) -> tuple[float, float]:
        """Bounds on the mean worth of a step; each fails with this probability at any time.

        With the true mean r, worth - r x steps of an episode has mean 0. The bounds assume that it
        is independent between episodes and scatters no more widely than a normal variable.
        """
        if error not in self._bounds:  # asked at every step in which another policy acts
            self._bounds[error] = self._level_within(error)
        return self._bounds[error]

    def _level_within(self, error: float) -> tuple[float, float]:
        rate, episodes = self.level, len(self.worths)
        if episodes < 2 or rate <= 0.0:
            return 0.0, inf
        apart = [worth - rate * steps for worth, steps in zip(self.worths, self.steps, strict=True)]
        least = LEAST_SPREAD * rate * self.credit
        half = half_width(apart, least=least, error=error) / self.credit
        return max(rate - half, 0.0), rate + half
