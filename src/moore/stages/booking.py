"""A step in the system as the dip budget counts it, and the policies that it still needs."""

import math

from jaxtyping import PyTree

from moore.replay.buffer import Transition
from moore.stages.budget import REFERENCE, DipBudget
from moore.units import Units


def book(
    budget: DipBudget, units: Units, transition: Transition | None, *, in_episode: bool
) -> None:
    """Books a step in the system; `transition` is in the agents' units, None if not measured."""
    reward = math.nan
    if transition is not None:
        reward = float(units.reward_out(transition.reward))
    budget.step(reward)
    if not in_episode:
        budget.end(terminated=transition is not None and bool(transition.terminated))


def drop_others(policies: dict[int, PyTree], budget: DipBudget) -> None:
    """Drops the policies that will not act again."""
    for number in policies.keys() - budget.kept - {REFERENCE}:
        del policies[number]
