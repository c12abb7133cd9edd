"""How much policies lose by failing now and then, after an episode in which they did not.

One sound episode shows what a policy earns when nothing goes wrong. It does not show how often
something does: on HalfCheetah-medium-expert policies that earned a few percent more in their first
episode lay on their back in one of five later ones. What other policies have done tells more. At
first it is assumed that a policy which was sound in its first episode fails as often as policies do
in their first episode; what such policies do later, incumbents among them, takes the place of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moore.stages.trial_rules import ROUNDING

# Losses are shares of what the reference earns in an episode; smaller ones are no failures.
LEAST_LOSS = 0.2
# What is known before: so many first episodes, with this loss in all.
_EPISODES_BEFORE, _LOST_BEFORE = 4.0, 0.1
# First episodes tell as much as this number of later ones.
_WEIGHT = 2.0
# Later episodes of one policy count for no more than this, since they tell of that policy alone.
_MOST_LATER = 3.0
# So many of the last policies count.
_LAST = 25


@dataclass
class Failures:
    """What the policies that acted in place of the reference have lost by failing.

    Attributes:
        records: by policy, in the order in which they first acted: part of an episode that counts
            as its first one, loss in it, number of later episodes, loss in them.
    """

    records: dict[int, list[float]] = field(default_factory=dict)

    def add(self, policy: int, part: float, lost: float) -> None:
        """Adds a stretch in which a policy acted.

        Args:
            policy: its number.
            part: the part of an episode that the stretch was.
            lost: how much less it earned than the reference does, as a share of an episode.
        """
        record = self.records.setdefault(policy, [0.0, 0.0, 0.0, 0.0])
        later = 2 if record[0] >= 1.0 - ROUNDING else 0
        record[later] += part
        record[later + 1] += min(lost, 1.0) if lost >= LEAST_LOSS else 0.0
        for old in list(self.records)[:-_LAST]:
            del self.records[old]

    def expected(self, usual: float = 0.0) -> float:
        """Share of an episode that a policy is expected to lose, if its first one was sound.

        `usual`: the same of the reference; its mean holds that loss already.
        """
        episodes, lost, later, lost_later = _EPISODES_BEFORE, _LOST_BEFORE, 0.0, 0.0
        for first, lost_first, count, lost_in_them in self.records.values():
            episodes, lost = episodes + first, lost + lost_first
            if count:
                counted = min(count, _MOST_LATER)
                later, lost_later = later + counted, lost_later + lost_in_them * counted / count
        share = (_WEIGHT * lost / episodes + lost_later) / (_WEIGHT + later)
        return max(share - usual, 0.0)


def usual_loss(worths: Sequence[float], level: float) -> float:
    """Mean loss by failures of episodes with these worths, as a share of `level`, their mean."""
    if not worths or level <= 0.0:
        return 0.0
    losses = (1.0 - worth / level for worth in worths)
    return sum(loss for loss in losses if loss >= LEAST_LOSS) / len(worths)
