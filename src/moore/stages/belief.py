"""What trials tell: how much more a policy earns than another one, and how well that is known.

A record of one episode is partly luck. A policy that was promoted for its record was chosen for
its luck too, and will not earn as much again. Where challengers are a small step away from the
incumbent, a lucky record then keeps out all that follow, better ones too: on
HalfCheetah-medium-replay 21 trials in a row. So a record is weighed by what earlier challengers
were like (empirical Bayes; Robbins 1956, Efron and Morris 1973): a step that is larger than those
before is believed in part, and each challenger tells something about the incumbent too. What such a
posterior says needs no correction for the choice of the best.

The incumbent gains g over the reference, and a challenger g + d, where d is normal with mean m and
variance t^2. The challenger's record over n episodes is g + d + s e / sqrt(n), where s is the
scatter of an episode and e is standard normal.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

# So many of the last challengers tell what the next one is like.
LAST_STEPS = 10
# What is known before: as much as so many challengers of mean 0, as far apart as episodes are.
_BEFORE = 4.0
# Steps scatter by at least this share of the scatter of an episode.
_LEAST_SCATTER = 0.1
# A record that is farther off than this many standard deviations is no step like those before.
_UNLIKE = 2.0


class Gain(NamedTuple):
    """A normal distribution of a gain per episode, in units of reward."""

    mean: float
    variance: float

    @property
    def deviations(self) -> float:
        """How many standard deviations its mean lies above 0."""
        return self.mean / math.sqrt(self.variance)

    def seen(self, mean: float, variance: float) -> "Gain":
        """After a measurement whose error has this variance."""
        weight = self.variance / (self.variance + variance)
        return Gain(self.mean + weight * (mean - self.mean), (1.0 - weight) * self.variance)

    def after(self, earlier: "Gain", now: "Gain") -> "Gain":
        """This one after the measurement that made `now` of `earlier`."""
        precision = 1.0 / self.variance + 1.0 / now.variance - 1.0 / earlier.variance
        weighted = self.mean / self.variance + now.mean / now.variance
        return Gain((weighted - earlier.mean / earlier.variance) / precision, 1.0 / precision)


class Verdict(NamedTuple):
    """What is believed after a challenger's record.

    Attributes:
        incumbent, challenger: their gains over the reference.
        step: the gain of the challenger over the incumbent.
    """

    incumbent: Gain
    challenger: Gain
    step: Gain


def usual_step(steps: Sequence[Sequence[float]], scatter: float) -> Gain:
    """How much more than the incumbent a challenger earns, before it has acted.

    Args:
        steps: (difference from the incumbent, variance of its error) of the last challengers.
        scatter: standard deviation of what a policy earns in an episode.
    """
    count = _BEFORE + len(steps)
    mean = sum(step for step, _ in steps) / count
    excess = sum((step - mean) ** 2 - error for step, error in steps)
    variance = (_BEFORE * scatter**2 + excess) / count
    return Gain(mean, max(variance, (_LEAST_SCATTER * scatter) ** 2))


def weighed(incumbent: Gain, usual: Gain, record: float, error: float) -> Verdict:
    """What a challenger's record tells.

    Args:
        incumbent: gain of the incumbent over the reference, as believed before.
        usual: gain of a challenger over the incumbent.
        record: the challenger's mean gain over the reference in its episodes.
        error: variance of the error of `record`.
    """
    surprise, scatter = record - incumbent.mean - usual.mean, usual.variance
    known = incumbent.variance + error
    if surprise**2 > _UNLIKE**2 * (known + scatter):
        scatter = surprise**2 - known
    total = known + scatter
    of_incumbent = Gain(
        incumbent.mean + incumbent.variance / total * surprise,
        incumbent.variance * (error + scatter) / total,
    )
    step = Gain(usual.mean + scatter / total * surprise, scatter * known / total)
    both = incumbent.variance + scatter
    challenger = Gain(of_incumbent.mean + step.mean, both * error / total)
    return Verdict(of_incumbent, challenger, step)
