"""A reference that earns the same at every step, and episodes that are booked with its budget."""

import numpy as np

from moore.stages.budget import DipBudget
from moore.stages.earnings import earnings_of_log

LENGTH = 20


def steady(reward: float = 1.0, *, floor: float = 0.0, ends: bool = False, episodes: int = 12):
    """A reference that earns the same at every step of every episode."""
    log = [np.full(LENGTH, reward)] * episodes
    return earnings_of_log(log, length=LENGTH, floor=floor, ends=ends)


def whole_episode(budget: DipBudget, earns: dict[int, float]) -> list[int]:
    """An episode in which each policy earns so much a step; who acted on each of them."""
    acted = []
    for _ in range(LENGTH):
        acted.append(budget.acting)
        budget.step(earns[acted[-1]])
    return acted
