"""The steps of a live session, put together from its records in the order in which they came.

The session learns from what comes out here, a resumed session repeats it from its files, and
`moore.load_dataset` makes rows of it: all three follow the same rules.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from moore.formats.live_records import misfit

Unit = int | str
# A reward that was not measured and never will be; null stands for one that may still come.
UNMEASURED = "not measured"
# Kinds of records that tell of no step: the mode was changed, the new policy is trusted again after
# an alarm, or it is not any more.
ABOUT_THE_SESSION = ("mode", "trust", "distrust")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass
class Step:
    """One step of one unit: an action, and what came of it.

    Attributes:
        number: number of the step in the session; 0 for a gap, which is no step.
        unit: id of the unit, for a session that acts in several.
        obs, action: (obs,) and (action,) float32, in the user's units.
        log_density: logarithm of the density of the action in the user's units; None: the policy
            was deterministic, or the action was not drawn from it.
        policy: id of the policy; None: somebody else acted.
        gate: whether the newest policy had been accepted; None: there is no gate.
        decision: who acted and why, where a controller stands by (`moore.sessions.supervisor`).
        alarmed: whether the guard has alarmed after this step.
        offer: number of the published policy that is offered for trials from this step on.
        reference_only: whether only the reference could act, because returns were not known in
            time.
        next_obs: (obs,) float32; None until it is known.
        reward: NaN if it was not measured; None until it is known.
        seen: whether the step was observed.
        lost: whether its successor will never be known.
    """

    number: int
    unit: Unit
    obs: np.ndarray
    action: np.ndarray
    log_density: float | None = None
    policy: str | None = None
    gate: bool | None = None
    decision: dict | None = None
    alarmed: bool = False
    offer: int | None = None
    reference_only: bool = False
    next_obs: np.ndarray | None = None
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False
    seen: bool = False
    lost: bool = False

    @property
    def actor(self) -> Literal["old", "new"] | None:
        """Who acted, "old" or "new"; None where no other controller stands by."""
        return None if self.decision is None else self.decision["actor"]

    @property
    def may_try(self) -> bool:
        """Whether mode and guard let a trial go on in this step."""
        decision = self.decision or {}
        return decision.get("mode") == "canary" and not decision["alarm"]

    @property
    def own(self) -> bool:
        """Whether the session gave the action, rather than being told of it."""
        return self.policy is not None or self.decision is not None

    @property
    def settled(self) -> bool:
        """Whether nothing more will be known of it."""
        return self.lost or (self.reward is not None and self.next_obs is not None)

    @property
    def whole(self) -> bool:
        """Whether it was measured completely."""
        if self.lost or self.reward is None or self.next_obs is None:
            return False
        parts = (self.obs, self.action, self.next_obs)
        return is_measured(self.reward) and all(bool(np.isfinite(x).all()) for x in parts)

    @property
    def ends(self) -> bool:
        """Whether it was the last step of its episode."""
        return self.terminated or self.truncated


@dataclass
class Steps:
    """Puts steps together. A step comes out when it and all earlier ones of its unit are settled.

    Attributes:
        patience: a unit's oldest step is given up when it has more open ones than this.
        open: steps that are not settled, or wait for one of their unit, by unit.
        last: number of the newest step.
    """

    patience: int = 1000
    open: dict[Unit, deque[Step]] = field(default_factory=dict)
    last: int = 0

    def newest(self, unit: Unit) -> Step | None:
        """The unit's newest step, if it is still open."""
        steps = self.open.get(unit)
        return steps[-1] if steps else None

    def find(self, number: int) -> Step | None:
        """An open step by its number."""
        found = (step for steps in self.open.values() for step in steps if step.number == number)
        return next(found, None)

    def take(self, record: dict) -> Iterator[Step]:
        """Takes a record; yields the steps that come out, in order.

        Raises:
            InputError: the record does not fit those before it.
        """
        if record.get("kind") in ABOUT_THE_SESSION:
            return
        try:
            unit = getattr(self, f"_{record['kind']}")(record)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise misfit(record) from None
        steps = self.open[unit]
        if len(steps) > self.patience:
            steps[0].lost = True
        while steps and steps[0].settled:
            yield steps.popleft()

    def _act(self, record: dict) -> Unit:
        unit, number = record["unit"], record["step"]
        if number != self.last + 1:
            raise ValueError("a number was left out")
        obs = vector(record["obs"])
        before = self.newest(unit)
        if before is not None and not before.settled:
            if not before.seen:
                before.lost = True
            elif before.next_obs is None:
                before.next_obs = obs
        action = vector(record["action"])
        decision = _decision(record.get("decision"), action)
        density, policy, gate = (record.get(name) for name in ("log_density", "policy", "gate"))
        step = Step(number, unit, obs, action, density, policy, gate, decision)
        step.offer, step.reference_only = record.get("offer"), record.get("held", False)
        self.open.setdefault(unit, deque()).append(step)
        self.last = number
        return unit

    def _observe(self, record: dict) -> Unit:
        step = self._open_step(record["step"])
        if step.seen or step.lost:
            raise ValueError("it was observed before")
        next_obs = record["next_obs"]
        step.next_obs = None if next_obs is None else vector(next_obs)
        step.reward = _reward(record["reward"])
        step.terminated, step.truncated = record["terminated"], record["truncated"]
        step.seen = True
        return step.unit

    def _reward(self, record: dict) -> Unit:
        step = self._open_step(record["step"])
        if step.reward is not None:
            raise ValueError("it has one")
        step.reward = _reward(record["reward"])
        return step.unit

    def _lost(self, record: dict) -> Unit:
        step = self._open_step(record["step"])
        step.lost = True
        return step.unit

    def _gap(self, record: dict) -> Unit:
        """What happened since the unit's newest step is unknown: the next one does not follow."""
        unit = record["unit"]
        steps = self.open.setdefault(unit, deque())
        if steps and not steps[-1].settled and steps[-1].next_obs is None:
            steps[-1].lost = True
        nothing = np.zeros(0, np.float32)
        steps.append(Step(0, unit, nothing, nothing, lost=True))
        return unit

    def _open_step(self, number: int) -> Step:
        step = self.find(number)
        if step is None:
            raise ValueError("there is no such step")
        return step


def vector(values: list) -> np.ndarray:
    """Numbers of a record as float32; null is a bad reading."""
    return np.asarray([math.nan if value is None else value for value in values], np.float32)


def plain(values: np.ndarray) -> list:
    """Numbers for a record; those that are not finite become null."""
    found = values.tolist()
    return found if np.isfinite(values).all() else [x if math.isfinite(x) else None for x in found]


def is_measured(reward: float) -> bool:
    """Whether a reward is a number that a float32 can hold, as learners do."""
    return abs(reward) <= _LARGEST  # False for NaN, too


def plain_reward(reward: float | None) -> float | str | None:
    """A reward for a record."""
    return reward if reward is None or is_measured(reward) else UNMEASURED


def _decision(told: dict | None, action: np.ndarray) -> dict | None:
    """What a record tells of who acted, if it does."""
    if told is None:
        return None
    if told["actor"] not in ("old", "new") or not isinstance(told["alarm"], str):
        raise ValueError("nobody knows who acted")
    if not math.isfinite(told["clock"]) or not isinstance(told["mode"], str):
        raise ValueError("nobody knows when, or in which mode")
    for name in ("old", "new"):
        if told[name] is not None and vector(told[name]).shape != action.shape:
            raise ValueError("an action has another length")
    return told


def _reward(value: float | str | None) -> float | None:
    return math.nan if value == UNMEASURED else None if value is None else float(value)
