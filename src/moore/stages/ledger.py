"""The account of the dip budget: what was earned and what the reference would have earned.

All worth is reward above the floor. The reference would have earned what it did earn while it
acted, and its mean from the step at which another policy began to act until the end of that
episode. With the share b the promise is, at every moment,

    earned >= (1 - b) x what the reference would have earned - one mean episode of the reference.

The stretches in which the reference acted stand on both sides, so that its luck there cancels. What
remains is the margin b x own + other - (1 - b) x units x level + credit x level, not negative.
`units` is how many episodes of the reference the others have had, `level` what it earns in one, and
`credit` is 1; or `units` is how many steps they have had, `level` what it earns in a step, and
`credit` is the number of steps of its mean episode (`rate.py`).
"""

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """The sums of the account, and the moments at which it was nearest to the line.

    Attributes:
        share: b, the share of the reference's worth that may be lost.
        own: worth that the reference earned while it acted.
        other: worth earned after another policy began to act, in each such episode up to its end.
        units: what the reference would have earned there, in numbers of its mean episode or step.
        own_units: the same for the stretches in which it acted.
        credit: number of units that may be lost before all else: one mean episode.
        nearest: (other + b own, units) at the moment nearest to the line, for each episode in which
            another policy acted. They are judged again when the level is known better.
    """

    share: float
    own: float = 0.0
    other: float = 0.0
    units: float = 0.0
    own_units: float = 0.0
    credit: float = 1.0
    nearest: list[list[float]] = field(default_factory=list)

    def margin(self, level: float, *, further: float = 0.0) -> float:
        """Worth above the line if nothing were earned in `further` more units."""
        return self._of(self._now(), level) - level * (1.0 - self.share) * further

    def margin_of_mean(self, level: float) -> float:
        """The margin if the reference's own stretches count at its mean.

        It contains the reference's luck, so it can be negative although no other policy has acted.
        """
        units = self.units + self.own_units
        return self.other + self.own + level * (self.credit - (1.0 - self.share) * units)

    def begin(self) -> None:
        """Told that another policy begins to act in this episode."""
        self.nearest.append(self._now())

    def note(self, level: float) -> None:
        """Keeps this moment if it is the one of the episode that is nearest to the line."""
        now = self._now()
        if self._of(now, level) < self._of(self.nearest[-1], level):
            self.nearest[-1] = now

    def least_margin(self, level: float) -> float:
        """The smallest margin so far, at this level of the reference."""
        start = [0.0, 0.0]
        return min(self._of(moment, level) for moment in [start, self._now(), *self.nearest])

    def _now(self) -> list[float]:
        return [self.other + self.share * self.own, self.units]

    def _of(self, moment: list[float], level: float) -> float:
        worth, units = moment
        return worth + level * (self.credit - (1.0 - self.share) * units)
