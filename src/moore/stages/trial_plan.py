"""Who may act when in the episode that begins, within a dip budget (`moore.stages.budget`)."""

from typing import TYPE_CHECKING

from moore.stages.trial_rules import ROUNDING

if TYPE_CHECKING:
    from moore.stages.budget import DipBudget

# Shortest trial, as a part of an episode; a shorter one would tell nothing.
_SHORTEST = 0.05
# So many challengers in a row are too many: fewer than one in three is won.
_IN_VAIN = 2


def is_rich(budget: "DipBudget") -> bool:
    """Whether so much is left to lose that the agent itself may act for an episode."""
    left = budget.affordable(budget.yardstick.most_units(0))
    return left >= budget.rules.explore * budget.earnings.level


def _is_stuck(budget: "DipBudget") -> bool:
    """Whether nobody waits for a trial, or too many were given up since the last promotion.

    A policy of a line search comes first all the same: it was not made of what trials had shown.
    """
    next_ones = [who for who in (budget.challenger, budget.waiting) if who is not None]
    return not next_ones or (budget.failed >= _IN_VAIN and budget.searched not in next_ones)


def plan_episode(budget: "DipBudget", *, alone: bool = False) -> None:
    """Decides at the beginning of an episode who may act from which step on.

    `alone`: whether the reference acts whatever can be afforded.
    """
    now, earnings = budget.running, budget.earnings
    now.planned, now.units, now.own_units = True, budget.ledger.units, budget.ledger.own_units
    if alone or budget.share == 0.0 or earnings.episodes < budget.rules.known:
        return
    if budget.affordable() <= 0.0:
        return
    if budget.explores and not budget.explored_last and _is_stuck(budget) and is_rich(budget):
        now.explores, now.others_at = True, 0
        return
    budget.call_challenger()
    trial = budget.challenger is not None and budget.is_settled
    if budget.reference_is_incumbent and not trial:
        return
    # Where episodes can end early, those that reach a late step are not like the others, so only
    # whole episodes are compared.
    marks = [0] if earnings.ends else earnings.marks[:-1]
    can = [mark for mark in marks if budget.affordable(budget.yardstick.most_units(mark)) >= 0.0]
    if not can:
        return
    longest = budget.rules.window + ROUNDING
    fits = [mark for mark in can if earnings.part(mark, earnings.length) <= longest]
    if longest >= 1.0 or (earnings.ends and can):
        fits = can
    if trial and fits and earnings.part(fits[0], earnings.length) >= _SHORTEST - ROUNDING:
        now.trial_at = fits[0]
    now.others_at = now.trial_at if budget.reference_is_incumbent else can[0]
