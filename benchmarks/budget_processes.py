"""Made-up systems for the dip budget: a reference, and a newest policy that learns or does not.

An episode has 20 steps. A policy earns its level an episode, with noise of an episode and of a
step; its episodes may also go wrong at a random step (a robot on its back, which earns nothing from
there on), or end early (a fall, by a log-normal step). The reference has level 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LENGTH = 20
# Scatter of the logarithm of the step of a fall: a medium policy's returns on Hopper have a
# standard deviation of a quarter of their mean.
_FALL_SPREAD = 0.25
# Scatter of the gain of policies within a reach of 0.07, as of HalfCheetah's, and of its episodes.
_HELD_SCATTER, _HELD_NOISE = 0.006, 0.012


@dataclass(frozen=True)
class Policy:
    """A controller.

    Attributes:
        level: mean worth of an episode in which nothing happens.
        falls_at: median step of its falls.
        turns_at: after so many episodes of acting it earns a fifth.
        sticks: share of its episodes in which it earns nothing from some step on.
    """

    level: float
    falls_at: float = math.inf
    turns_at: float = math.inf
    sticks: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What a newest policy may depend on.

    Attributes:
        epoch: from 1 on.
        incumbent: who acts now.
        tried: episodes that challengers have acted: what the models learn from.
    """

    epoch: int
    incumbent: Policy
    tried: float


Newest = Callable[[np.random.Generator, Seen], Policy]


@dataclass(frozen=True)
class Family:
    """A kind of system.

    Attributes:
        name: of the family.
        newest: the newest policy of an epoch.
        noise: standard deviation of an episode's worth, in parts of the level.
        wrong: share of the episodes that go wrong.
        reference: what ran before.
    """

    name: str
    newest: Newest
    noise: float = 0.05
    wrong: float = 0.0
    reference: Policy = Policy(1.0)

    @property
    def ends(self) -> bool:
        """Whether its episodes may end early."""
        return math.isfinite(self.reference.falls_at)


def episode(
    rng: np.random.Generator, family: Family, policy: Policy
) -> tuple[Float[np.ndarray, " steps"], int]:
    """Reward of every step, as if nothing ended the episode, and the step at which it ends."""
    noise = math.sqrt(0.5) * family.noise
    scatter = rng.standard_normal() + math.sqrt(LENGTH) * rng.standard_normal(LENGTH)
    rewards = np.maximum(policy.level / LENGTH * (1.0 + noise * scatter), 0.0)
    wrong = family.wrong + policy.sticks
    if wrong and rng.random() < wrong:
        rewards[rng.integers(LENGTH) :] = 0.0
    if math.isinf(policy.falls_at):
        return rewards, LENGTH
    fall = policy.falls_at * math.exp(_FALL_SPREAD * rng.standard_normal())
    return rewards, min(max(round(fall), 1), LENGTH)


def mixed(share: float) -> Newest:
    """A tenth better than the incumbent with this probability, half as good otherwise."""
    return lambda rng, seen: Policy(
        seen.incumbent.level * (1.1 if rng.random() < share else 0.5), seen.incumbent.falls_at
    )


def marginal(rng: np.random.Generator, seen: Seen) -> Policy:
    """About as good as the incumbent."""
    return Policy(seen.incumbent.level * (1.0 + 0.05 * rng.standard_normal()))


def small_steps(rng: np.random.Generator, seen: Seen) -> Policy:
    """From 2% worse than the incumbent to 5% better: what stays near to it."""
    return Policy(seen.incumbent.level * (1.0 + rng.uniform(-0.02, 0.05)))


class Held:
    """Within a short reach of the incumbent, and much like the newest policy before it."""

    def __init__(self, mean: float):
        """`mean` of its gain over the incumbent, as a share of what that one earns."""
        self._mean, self._gain = mean, 0.0

    def __call__(self, rng: np.random.Generator, seen: Seen) -> Policy:
        """Its gain is 0.7 times that of the one before, and part new."""
        before = 0.0 if seen.epoch == 1 else self._gain
        new = _HELD_SCATTER * rng.standard_normal()
        self._gain = 0.7 * before + 0.3 * self._mean + math.sqrt(1.0 - 0.7**2) * new
        return Policy(seen.incumbent.level * (1.0 + self._gain))


def learning(rng: np.random.Generator, seen: Seen) -> Policy:
    """Rises by 6% an epoch; often bad, until challengers have shown the models why."""
    if rng.random() < 0.6 * math.exp(-seen.tried / 3.0):
        return Policy(rng.uniform(0.0, 0.8))
    return Policy(1.0 + 0.06 * min(seen.epoch, 30) * rng.uniform(0.5, 1.2))


def hopping(rng: np.random.Generator, seen: Seen) -> Policy:
    """Comes further before it falls, by a tenth an epoch; bad as above."""
    if rng.random() < 0.6 * math.exp(-seen.tried / 3.0):
        return Policy(1.0, rng.uniform(2.0, 8.0))
    return Policy(1.0, min(9.0 * (1.0 + 0.1 * seen.epoch) * rng.uniform(0.6, 1.2), 30.0))


def falling_sooner_or_later(rng: np.random.Generator, seen: Seen) -> Policy:
    """Falls sooner than the incumbent or later, each as likely: what no model tells apart."""
    return Policy(1.0, min(seen.incumbent.falls_at * math.exp(0.4 * rng.standard_normal()), 40.0))


def falling_now_and_then(rng: np.random.Generator, seen: Seen) -> Policy:
    """A little better in episodes without a fall; half of them fall in one of three episodes."""
    if rng.random() < 0.5:
        return Policy(1.03 * seen.incumbent.level, seen.incumbent.falls_at)
    return Policy(1.02 * seen.incumbent.level, 18.0)


class Sticking:
    """A little better than the incumbent as long as nothing happens, but some stick now and then.

    So are policies that a robot learns: most episodes look alike, and in some it falls on its back.
    """

    def __init__(self, gain: float, scatter: float, share: float, most: float):
        """`share` of the policies stick, in up to `most` of their episodes."""
        self._gain, self._scatter, self._share, self._most = gain, scatter, share, most

    def __call__(self, rng: np.random.Generator, seen: Seen) -> Policy:
        level = seen.incumbent.level * (1.0 + rng.normal(self._gain, self._scatter))
        sticks = rng.uniform(0.0, self._most) if rng.random() < self._share else 0.0
        return Policy(level, sticks=sticks)


def false(rng: np.random.Generator, seen: Seen) -> Policy:
    """Always worse than the reference."""
    return Policy(rng.uniform(0.0, 0.9), seen.incumbent.falls_at)


def disaster(rng: np.random.Generator, seen: Seen) -> Policy:
    """Earns nothing."""
    return Policy(0.0)


def falling(rng: np.random.Generator, seen: Seen) -> Policy:
    """Falls at once."""
    return Policy(1.0, 1.0)


def sooner(rng: np.random.Generator, seen: Seen) -> Policy:
    """Falls after half as many steps as the incumbent."""
    return Policy(1.0, 0.5 * seen.incumbent.falls_at)


def turncoat(rng: np.random.Generator, seen: Seen) -> Policy:
    """Better at first; after one and a half episodes of acting it earns a fifth."""
    return Policy(1.15, turns_at=1.5)


_HOPPER = Policy(1.0, 9.0)
_SELDOM_FALLS = Policy(1.0, 40.0)
CLIMBING = (
    Family("3 in 10 are better", mixed(0.3)),
    Family("3 in 10 are better, noise 0.15", mixed(0.3), noise=0.15),
    Family("6 in 10 are better", mixed(0.6)),
    Family("about as good", marginal),
    Family("small steps", small_steps, noise=0.015),
    Family("within a reach, better", Held(0.006), noise=_HELD_NOISE),
    Family("within a reach, no better", Held(0.0), noise=_HELD_NOISE),
    Family("learning", learning, noise=0.1),
    Family("learning, 1 in 10 goes wrong", learning, noise=0.03, wrong=0.1),
    Family("learning, falls", hopping, reference=_HOPPER),
    Family("falls sooner or later", falling_sooner_or_later, reference=_HOPPER),
    Family("half stick now and then", Sticking(0.02, 0.02, 0.5, 0.5), noise=0.015),
    Family("a fifth stick now and then", Sticking(0.03, 0.02, 0.2, 0.5), noise=0.015),
    Family("all stick now and then", Sticking(0.03, 0.02, 1.0, 0.4), noise=0.015),
    Family("half fall now and then", falling_now_and_then, noise=0.015, reference=_SELDOM_FALLS),
)
HOSTILE = (
    Family("within a reach, worse", Held(-0.006), noise=_HELD_NOISE),
    Family("always worse", false),
    Family("always worse, 1 in 10 goes wrong", false, noise=0.03, wrong=0.1),
    Family("always worse, noise 0.3", false, noise=0.3),
    Family("earn nothing", disaster),
    Family("fall at once", falling, reference=_HOPPER),
    Family("fall sooner", sooner, reference=_HOPPER),
    Family("good until promoted", turncoat),
)
