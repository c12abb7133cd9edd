"""The dip budget of a run: what worth is counted from, and who decides about acting."""

import numpy as np

from moore.data.dataset import Dataset
from moore.errors import InputError
from moore.runs.setup import Setup
from moore.stages.budget import dip_budget
from moore.stages.choosing import Chooser, Gatekeeper
from moore.stages.earnings import Earnings
from moore.stages.state import LearnerState
from moore.stages.trials import Trials, unpack_trials

# Where the log's worst episodes earn nearly as much as its mean, a share of the difference would be
# next to nothing.
_LEAST_WORTH = 0.1


def make_chooser(
    setup: Setup, state: LearnerState, choice: dict, arrays: dict[str, np.ndarray]
) -> Chooser:
    """Who decides about acting in the online stage.

    Args:
        setup: of the run.
        state: at the hand-over, or at a checkpoint.
        choice: what the checkpoint holds of the chooser; empty at the hand-over.
        arrays: of the checkpoint.
    """
    if not setup.config.dip_budget:
        return Gatekeeper(setup.learner)
    if choice:
        return unpack_trials(setup.learner, state, choice, arrays)
    budget = dip_budget(setup.config.dip_budget, earnings_of(setup))
    return Trials.begun(setup.learner, budget, state)


def earnings_of(setup: Setup) -> Earnings:
    """What is known of the reference before it has acted: nothing but the measure of its worth."""
    log = setup.dataset
    assert log is not None  # moore.runs.log_checks has seen to it
    steps = setup.world.limit.steps
    known = None if setup.reference is None else setup.reference.random
    return Earnings(steps, floor_of(log, steps, known), log.has_terminals)


def floor_of(log: Dataset, steps: int, random_return: float | None) -> float:
    """The reward a step that worth is counted from: 0, or less where episodes earn less.

    Where returns can be negative a share of them means nothing, so worth is what lies above the
    worst policy that is known: the log's worst episode, or a random policy. Where that is as good
    as the mean, it is the least reward of a step.

    Args:
        log: its episodes.
        steps: the longest that an episode may be.
        random_return: of a random policy, if it is known.

    Raises:
        InputError: all rewards are equal, so that nothing could be lost or gained.
    """
    if np.ptp(log.reward) == 0.0 and not log.has_terminals:
        raise InputError(
            f"{log.name}: every reward is {log.reward[0]:g}, so a share of what is earned means "
            "nothing; a dip budget needs rewards that tell good from bad."
        )
    mean = float(log.reward.mean())
    worst = [mean]
    if len(log.episode_returns):
        worst.append(float((log.episode_returns / log.episode_lengths).min()))
    if random_return is not None and not log.has_terminals:
        worst.append(random_return / steps)
    floor = min(0.0, *worst)
    if floor < 0.0 and mean - floor < _LEAST_WORTH * abs(mean):
        floor = min(0.0, float(log.reward.min()))
    return floor
