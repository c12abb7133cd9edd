"""The first trials online: steps from the policy that was handed over to the newest one offline.

In the models the agent usually comes further than the gate lets a policy be handed over without a
trial, and what it learned there may be right or wrong: on HalfCheetah-medium its newest policy
earned 6400 where 5464 was handed over, on HalfCheetah-medium-expert -445 instead of 10594, and the
models told no difference. So the system is asked, and carefully: policies a quarter, a half, three
quarters and all of the way are tried in turn, and the first one that does not win ends the search.

A policy between two others has parameters between theirs. That makes sense because the newer one
was trained from the older one (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
"""

from dataclasses import dataclass, field

import jax
import numpy as np
from jaxtyping import PyTree

# Parts of the way, in the order of the trials.
STEPS = (0.25, 0.5, 0.75, 1.0)


@dataclass
class LineSearch:
    """How far the search has come.

    Attributes:
        left: parts of the way that were not tried yet; empty: the search is over.
        tried: numbers of its policies, in the order of their trials.
    """

    left: list[float] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)

    @property
    def last(self) -> int | None:
        """Number of its last policy."""
        return self.tried[-1] if self.tried else None

    def goes_on(self, incumbent: int) -> bool:
        """Whether another of its policies is to be tried now that nobody is; if not, it is over.

        `incumbent`: the policy that was promoted last.
        """
        if self.last not in (None, incumbent):
            self.left = []
        return bool(self.left)

    def take(self, number: int, begin: PyTree, end: PyTree) -> PyTree:
        """The next policy on the way from one policy to the other, which gets this number."""
        self.tried.append(number)
        return between(begin, end, self.left.pop(0))


def search_towards(goal: PyTree | None, begin: PyTree) -> LineSearch:
    """A new search; one that is over if there is no other policy to go to."""
    if goal is None or _are_equal(goal, begin):
        return LineSearch()
    return LineSearch(list(STEPS))


def between(begin: PyTree, end: PyTree, part: float) -> PyTree:
    """The policy that lies this part of the way from one to the other, by its parameters."""
    return jax.tree.map(lambda a, b: (1.0 - part) * a + part * b, begin, end)


def _are_equal(one: PyTree, other: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
