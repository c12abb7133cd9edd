"""Trials along the way from the acting policy to one that was made in the models.

What was learned in the models may be right or wrong, and they do not tell: on HalfCheetah-medium
sixteen epochs in them took a clone from 5464 to 6400, on HalfCheetah-medium-expert from 10594 to
-445, and they promised as much. So the system is asked, and carefully: a policy half of the way is
tried first, and the one at the end only if that did not look worse. It need not have won: what lies
farther on the way differs more, and is told more easily.

A policy between two others has parameters between theirs. That makes sense because the newer one
was trained from the older one (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).
"""

from dataclasses import dataclass, field

import jax
from jaxtyping import PyTree

# Parts of the way, in the order of the trials.
STEPS = (0.5, 1.0)


@dataclass
class LineSearch:
    """How far the search has come.

    Attributes:
        left: policies that were not tried yet; none: the search is over.
        tried: numbers of its policies, and of those of earlier searches, in the order of trials.
    """

    left: list[PyTree] = field(default_factory=list)
    tried: list[int] = field(default_factory=list)

    @property
    def last(self) -> int | None:
        """Number of its last policy."""
        return self.tried[-1] if self.tried else None

    def begin(self, acting: PyTree, goal: PyTree) -> None:
        """A new search, from one policy to another."""
        self.left = [between(acting, goal, part) for part in STEPS]

    def end(self) -> None:
        """One of its policies looked worse."""
        self.left = []

    def take(self, number: int) -> PyTree:
        """The next policy, which gets this number."""
        self.tried.append(number)
        return self.left.pop(0)


def between(begin: PyTree, end: PyTree, part: float) -> PyTree:
    """The policy that lies this part of the way from one to the other, by its parameters."""
    return jax.tree.map(lambda a, b: (1.0 - part) * a + part * b, begin, end)
