"""What a run reports about its dip budget, and how the budget is stored."""

import dataclasses
import math
from typing import Any, NamedTuple

from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.earnings import Earnings
from moore.stages.failures import Failures
from moore.stages.ledger import Ledger
from moore.stages.rate import Rate
from moore.stages.standing import Standing, Tally, apart
from moore.stages.trial_rules import Rules, Running


def summary(budget: DipBudget) -> dict[str, float | int]:
    """Entries of the summary of a run, in units of reward, at the reference's mean known by now.

    `credit` is what the reference earns above the floor in one mean episode. `spent` is the sum
    over trials and explorations of how much less they earned than the incumbent would have.
    `least_margin` is the smallest value during the run of the earnings minus (1 - share) times the
    reference's, plus the credit, all above the floor; the promise was kept if it is not negative.
    """
    return {
        "share": budget.share,
        "credit": budget.ledger.credit * budget.yardstick.level,
        "spent": budget.spent,
        "least_margin": budget.ledger.least_margin(budget.yardstick.level),
        "trials": budget.trials,
        "promoted": budget.promoted,
        "demoted": budget.demoted,
        "explored": budget.explored,
    }


def metrics(budget: DipBudget) -> dict[str, float]:
    """Entries of an epoch's row of metrics, in units of reward unless the name says otherwise.

    `margin` is what could be lost now, `margin_of_mean` the same including the luck of the
    reference's own episodes, `affordable` the margin at the worst level that the reference may
    have, `reference` its mean return, and `gain` how much more the incumbent earns per episode.
    """
    earnings, ledger, level = budget.earnings, budget.ledger, budget.yardstick.level
    return {
        "budget/margin": ledger.margin(level),
        "budget/margin_of_mean": ledger.margin_of_mean(level),
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


def everything(budget: DipBudget) -> dict[str, float]:
    """The entries of `metrics`, and those of `summary` under names of the same kind."""
    told = {f"budget/{name}": float(value) for name, value in summary(budget).items()}
    return told | metrics(budget)


class Earned(NamedTuple):
    """What a policy earns an episode, in reward.

    Attributes:
        mean: mean return.
        error: its standard error.
        size: what errors are measured against: the size of the mean, or of what it or the reference
            earns above the floor, whichever is most.
    """

    mean: float
    error: float
    size: float


def of_incumbent(budget: DipBudget) -> Earned | None:
    """What the incumbent earns; None: not known yet."""
    if budget.earnings.episodes < 2:
        return None
    if budget.incumbent == REFERENCE:
        return earned(budget, 0.0, math.inf)
    return earned(budget, *budget.record_of(budget.incumbent))


def earned(budget: DipBudget, gain: float, parts: float) -> Earned:
    """What a policy with this record earns."""
    earnings = budget.earnings
    error = apart(parts, float(earnings.episodes), spread=earnings.spread, by=1.0, error=0.0)
    worth = earnings.level + gain
    mean = worth + earnings.floor * earnings.length
    return Earned(mean, error, size=max(abs(mean), worth, earnings.level))


def pack(budget: DipBudget) -> dict[str, Any]:
    """Everything that a run needs to go on, for JSON; floats are restored exactly."""
    packed = dataclasses.asdict(budget)
    packed["standings"] = [[key, record] for key, record in packed["standings"].items()]
    packed["failures"] = [[key, record] for key, record in budget.failures.records.items()]
    # JSON has no infinity.
    packed["rules"] = {name: str(value) for name, value in packed["rules"].items()}
    return packed


def unpack(packed: dict[str, Any], kind: type[DipBudget] = DipBudget) -> DipBudget:
    """The budget that `pack` wrote, as one of this kind."""
    parts = {
        "earnings": Earnings(**packed["earnings"]),
        "rules": Rules(**{name: float(value) for name, value in packed["rules"].items()}),
        "ledger": Ledger(**packed["ledger"]),
        "standings": {int(key): _standing(record) for key, record in packed["standings"]},
        "running": Running(**packed["running"]),
        # A run that began with an earlier version has none.
        "failures": Failures({int(key): record for key, record in packed.get("failures", [])}),
        "rate": None if packed["rate"] is None else Rate(**packed["rate"]),
    }
    return kind(**{**packed, **parts})


def _standing(packed: dict[str, Any]) -> Standing:
    tallies = {name: Tally(**part) for name, part in packed.items() if isinstance(part, dict)}
    return Standing(**{**packed, **tallies})
