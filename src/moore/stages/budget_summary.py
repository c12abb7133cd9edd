"""What a run reports of its dip budget, and the budget on disk."""

import dataclasses
from typing import Any

from moore.stages.budget import DipBudget
from moore.stages.earnings import Earnings
from moore.stages.ledger import Ledger
from moore.stages.standing import Standing
from moore.stages.trial_rules import Rules, Running


def summary(budget: DipBudget) -> dict[str, float | int]:
    """For the summary of a run: in reward, at the reference's mean as it is known by now.

    `credit` is what the reference earns above the floor in one mean episode, `spent` what trials
    earned less than the incumbent would have, over those that did, and `least_margin` the smallest
    value over the run of what was earned minus (1 - share) of the reference's, plus the credit,
    all above the floor: the promise was kept where it is not negative.
    """
    return {
        "share": budget.share,
        "credit": budget.earnings.level,
        "spent": budget.spent,
        "least_margin": budget.ledger.least_margin(budget.earnings.level),
        "trials": budget.trials,
        "promoted": budget.promoted,
        "demoted": budget.demoted,
    }


def metrics(budget: DipBudget) -> dict[str, float]:
    """For an epoch's row: in reward where nothing else is said.

    `margin` is what could be lost now, `margin_of_mean` the same with the luck of the reference's
    own episodes, `affordable` the margin at the worst level that the reference may have,
    `reference` its mean return, `gain` by how much the incumbent earns more in an episode.
    """
    earnings, ledger = budget.earnings, budget.ledger
    return {
        "budget/margin": ledger.margin(earnings.level),
        "budget/margin_of_mean": ledger.margin_of_mean(earnings.level),
        "budget/affordable": max(budget.affordable(), 0.0),
        "budget/reference": earnings.level + earnings.floor * earnings.length,
        "budget/reference_episodes": float(earnings.episodes),
        "budget/gain": budget.record_of(budget.incumbent)[0],
        "budget/spent": budget.spent,
        "budget/trials": float(budget.trials),
        "budget/promoted": float(budget.promoted),
        "budget/demoted": float(budget.demoted),
        "budget/incumbent": float(budget.incumbent),
    }


def pack(budget: DipBudget) -> dict[str, Any]:
    """Everything that a run needs to go on, as JSON has it: floats come back as they were."""
    packed = dataclasses.asdict(budget)
    packed["standings"] = [[key, record] for key, record in packed["standings"].items()]
    # JSON has no infinity.
    packed["rules"] = {name: str(value) for name, value in packed["rules"].items()}
    return packed


def unpack(packed: dict[str, Any]) -> DipBudget:
    """What `pack` wrote."""
    parts = {
        "earnings": Earnings(**packed["earnings"]),
        "rules": Rules(**{name: float(value) for name, value in packed["rules"].items()}),
        "ledger": Ledger(**packed["ledger"]),
        "standings": {int(key): Standing(**record) for key, record in packed["standings"]},
        "running": Running(**packed["running"]),
    }
    return DipBudget(**{**packed, **parts})
