"""How a session stands, for those who watch it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from moore.formats.live_steps import Steps, Unit
from moore.numbers import with_nulls
from moore.runs.world import World
from moore.sessions.learner_side import LearnerSide
from moore.sessions.supervisor import Supervisor
from moore.sessions.watched import UnitStanding
from moore.stages import budget_summary
from moore.stages.budget import DipBudget


@dataclass(frozen=True, eq=False)
class Status:
    """How a session stands.

    Attributes:
        policy: id of the acting policy, which also stands in its policy.json.
        steps: number of the newest step.
        open: for each unit, how many of its steps are not complete: their outcome, their reward or
            an earlier step of the unit is missing.
        awaited: for the units whose newest action has no outcome yet, the number of that step.
        due: number of updates that the schedule of the run asks for and that were not made.
        updates: number of updates that the session has made.
        gate: whether the newest policy was accepted when it was considered last; None: there is no
            gate, or it has not considered one.
        mode: off, shadow, canary or on; None without a controller that ran before.
        overdue: why an action should have been asked for by now, as a sentence; empty: it need not.
        standing: for each unit who acted last and why; empty without such a controller.
        budget: how the dip budget stands, by the names of its metrics; None: the run has none.
        unrecorded: why the newest steps are not in the log, as a sentence; empty: they are.
        trouble: why learning does not go on, as a sentence; empty: it does.
        obs_size: number of entries of an observation.
        action_low, action_high: (action,) bounds of the actions, in the user's units.
    """

    policy: str
    steps: int
    open: dict[Unit, int]
    awaited: dict[Unit, int]
    due: int
    updates: int
    gate: bool | None
    mode: str | None
    overdue: str
    standing: dict[Unit, UnitStanding]
    budget: dict[str, float] | None
    unrecorded: str
    trouble: str
    obs_size: int
    action_low: Float[np.ndarray, " action"]
    action_high: Float[np.ndarray, " action"]


def status_of(
    policy: str,
    steps: Steps,
    studying: LearnerSide,
    supervisor: Supervisor | None,
    *,
    unrecorded: str,
    world: World,
) -> Status:
    """How a session stands; the arguments are its parts."""
    return Status(
        policy=policy,
        steps=steps.last,
        open=open_steps(steps),
        awaited=awaited_steps(steps),
        due=studying.due,
        updates=studying.report.updates,
        gate=studying.verdict,
        mode=None if supervisor is None else str(supervisor.mode),
        overdue="" if supervisor is None else supervisor.overdue,
        standing={} if supervisor is None else supervisor.standing,
        budget=budget_of(studying.account),
        unrecorded=unrecorded,
        trouble=studying.report.trouble,
        obs_size=world.obs_dim,
        action_low=world.bounds.low,
        action_high=world.bounds.high,
    )


def plain_status(status: Status) -> dict[str, Any]:
    """A status for JSON, where the names of a table are texts and units may be numbers."""
    told = {field.name: getattr(status, field.name) for field in dataclasses.fields(status)}
    counts, awaited, standing = told.pop("open"), told.pop("awaited"), told.pop("standing")
    told["units"] = [
        {"unit": unit, "open": counts.get(unit, 0), "awaited": awaited.get(unit)}
        | (dataclasses.asdict(standing[unit]) if unit in standing else {})
        for unit in {**counts, **standing}
    ]
    plain = {name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in told.items()}
    return with_nulls(plain)


def bulletin_of(
    mode: str | None,
    standing: Mapping[Unit, UnitStanding],
    steps: Steps,
    studying: LearnerSide,
    *,
    unrecorded: str,
) -> dict[str, Any]:
    """What a bulletin tells, for JSON. Nobody is asked whose turn it is, because that may plan it.

    Args:
        mode, standing, unrecorded: as of `Status`.
        steps: the steps whose outcome is open.
        studying: the learner.
    """
    report = studying.report
    return {
        "mode": mode,
        "units": [{"unit": unit} | dataclasses.asdict(one) for unit, one in standing.items()],
        "steps": steps.last,
        "updates": report.updates,
        "due": report.due,
        "trouble": report.trouble,
        "unrecorded": unrecorded,
        "gate": studying.verdict,
        "budget": budget_of(studying.account),
    }


def open_steps(steps: Steps) -> dict[Unit, int]:
    """How many steps of each unit are not complete; see `Status.open`."""
    return {unit: sum(step.number > 0 for step in waiting) for unit, waiting in steps.open.items()}


def awaited_steps(steps: Steps) -> dict[Unit, int]:
    """The steps whose outcome is to be told; see `Status.awaited`."""
    newest = {unit: steps.newest(unit) for unit in steps.open}
    return {
        unit: step.number
        for unit, step in newest.items()
        if step is not None and not step.seen and not step.lost
    }


def budget_of(account: DipBudget | None) -> dict[str, float] | None:
    """How the loss budget stands, by the names of its metrics; None: there is none."""
    if account is None:
        return None
    told = budget_summary.everything(account)
    return {name.removeprefix("budget/"): value for name, value in told.items()}
