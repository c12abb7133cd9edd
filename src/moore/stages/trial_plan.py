"""Who may act when in the episode that begins, within a dip budget (`moore.stages.budget`)."""

from typing import TYPE_CHECKING

from moore.stages.standing import Standing
from moore.stages.trial_rules import ROUNDING

if TYPE_CHECKING:
    from moore.stages.budget import DipBudget

# Shortest trial, as a part of an episode; a shorter one would tell nothing.
_SHORTEST = 0.05


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
    _call_challenger(budget)
    trial = budget.challenger is not None and _is_settled(budget)
    if budget.reference_is_incumbent and not trial:
        return
    # Where episodes can end early, those that reach a late step are not like the others, so only
    # whole episodes are compared.
    marks = [0] if earnings.ends else earnings.marks[:-1]
    can = [mark for mark in marks if budget.affordable(earnings.part(mark, earnings.length)) >= 0]
    if not can:
        return
    longest = budget.rules.window + ROUNDING
    fits = [mark for mark in can if earnings.part(mark, earnings.length) <= longest]
    if longest >= 1.0 or (earnings.ends and can):
        fits = can
    if trial and fits and earnings.part(fits[0], earnings.length) >= _SHORTEST - ROUNDING:
        now.trial_at = fits[0]
    now.others_at = now.trial_at if budget.reference_is_incumbent else can[0]


def _call_challenger(budget: "DipBudget") -> None:
    """Replaces a challenger that has not proved better by the waiting policy."""
    if budget.waiting is None:
        return
    if budget.challenger is not None:
        mean, parts = budget.record_of(budget.challenger)
        if parts and mean > budget.record_of(budget.incumbent)[0]:
            return
        budget.standings.pop(budget.challenger)
        budget.failed += parts > 0.0
    budget.challenger, budget.waiting = budget.waiting, None
    budget.standings[budget.challenger] = Standing()


def _is_settled(budget: "DipBudget") -> bool:
    """Whether the record of the incumbent may be held against another challenger."""
    fresh = budget.standings.get(budget.incumbent)
    if fresh is None or not budget.failed:
        return True
    return fresh.fresh_begun.plus(fresh.fresh_joined).parts >= budget.rules.settle - ROUNDING
