"""Acting without JAX: the action that the policy draws, and how probable it was.

An action is computed with NumPy, because this takes a tenth of a millisecond and does not wait for
learning. Its noise depends only on the session's seed and the number of the step.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from moore.agents.acting import as_arrays
from moore.agents.numpy_acting import ActorArrays, Gaussian
from moore.envs.bounds import Bounds
from moore.runs.policy import Policy, policy_id
from moore.runs.setup import Setup
from moore.stages.choosing import Turn


@dataclass(frozen=True, eq=False)
class Drawn:
    """Actions of some rows.

    Attributes:
        action: (rows, action) float32, in the user's units; NaN where the policy's output was.
        log_density: one number for each row, in the user's units; None: the action has none.
    """

    action: Float[np.ndarray, "rows action"]
    log_density: list[float | None]


@dataclass(frozen=True, eq=False)
class Proposed:
    """What a policy would do in some rows, of which it was shown only the good ones.

    Attributes:
        action: (rows, action) float32; NaN where there is no usable action.
        log_density: as in `Drawn`.
        policy: id of the policy.
    """

    action: Float[np.ndarray, "rows action"]
    log_density: list[float | None]
    policy: str

    @classmethod
    def nothing(cls, rows: int, width: int, policy: str) -> "Proposed":
        """No action in any row."""
        return cls(np.full((rows, width), np.nan, np.float32), [None] * rows, policy)

    @property
    def usable(self) -> Bool[np.ndarray, " rows"]:
        """In which rows there is an action."""
        return np.isfinite(self.action).all(axis=1)

    @property
    def entries(self) -> list[dict]:
        """Entries of the records of these actions, if they are sent."""
        return [{"log_density": one, "policy": self.policy} for one in self.log_density]

    def fill(self, rows: Bool[np.ndarray, " rows"], drawn: Drawn) -> None:
        """Puts in what was drawn for these rows."""
        found = zip(np.flatnonzero(rows), drawn.action, drawn.log_density, strict=True)
        for row, action, density in found:
            if np.isfinite(action).all():
                self.action[row], self.log_density[row] = action, density


class ReadyPolicy(NamedTuple):
    """A policy that can act at once.

    Attributes:
        policy: the policy.
        arrays: its actor.
        id: its id, which also stands in its policy.json when it is saved.
    """

    policy: Policy
    arrays: ActorArrays
    id: str


def ready(policy: Policy) -> ReadyPolicy:
    """Prepares a policy for acting, which takes a millisecond or two."""
    return ReadyPolicy(policy, as_arrays(policy.weights), policy_id(policy))


class ActingPolicy:
    """The policy whose turn it is, as plain arrays."""

    def __init__(self, setup: Setup, seed: int):
        self._setup, self._noise = setup, Noise(seed)
        self._of: object = None
        self._ready: ReadyPolicy | None = None

    @property
    def id(self) -> str:
        """The policy's id, which also stands in its policy.json when it is saved."""
        return "" if self._ready is None else self._ready.id

    def use(self, turn: Turn) -> Policy:
        """The policy of this turn; it is prepared if it is another one and no `ReadyPolicy`."""
        if self._ready is None or turn.of is not self._of:
            if isinstance(turn.of, ReadyPolicy):
                self._ready = turn.of
            else:
                self._ready = ready(self._setup.policy(turn.policy()))
            self._of = turn.of
        return self._ready.policy

    def draw(
        self, obs: Float[np.ndarray, "rows obs"], step: int, turn: Turn, *, random: bool = False
    ) -> Drawn:
        """Actions for observations in the user's units.

        Args:
            obs: finite observations.
            step: number of the first row's step.
            turn: whose turn it is.
            random: draw uniformly between the bounds instead.
        """
        bounds = self._setup.world.bounds
        rng = self._noise.of(step)
        if random:
            action = bounds.own(rng.uniform(-1.0, 1.0, (len(obs), bounds.low.size)))
            reach = bounds.high - bounds.low
            density = -float(np.log(reach[reach > 0], dtype=np.float64).sum())
            return Drawn(action.astype(np.float32), [density] * len(obs))
        self.use(turn)
        assert self._ready is not None
        found = self._ready.arrays.gaussian(self._setup.units.obs_in(obs))
        if not turn.drawn:
            return Drawn(bounds.own(found.mode()), [None] * len(obs))
        noise = rng.standard_normal(found.mean.shape, np.float32)
        value = found.mean + found.std * noise
        scaled = np.tanh(value) if found.squashed else np.clip(value, -1.0, 1.0)
        return Drawn(bounds.own(scaled), log_densities(found, value, bounds))


class Noise:
    """The random numbers of every step, for any number of rows; no other step has one of them.

    Philox counts what it draws from a given counter on, so the steps are counted in the bits above
    the lowest 64. One generator is set to the step that is asked for: making one takes longer.
    """

    def __init__(self, seed: int):
        self._bits = np.random.Philox(key=seed, counter=0)
        self._generator, self._state = np.random.Generator(self._bits), self._bits.state

    def of(self, step: int) -> np.random.Generator:
        """The generator of a step, until that of another one is asked for."""
        self._state["state"]["counter"][1] = step
        self._bits.state = self._state
        return self._generator


def log_densities(
    drawn_from: Gaussian, value: Float[np.ndarray, "rows action"], bounds: Bounds
) -> list[float | None]:
    """Logarithms of the densities of actions, in the units of the bounds.

    A squashed action is a = tanh(u), so log p(a) = log N(u) - log(1 - tanh(u)^2), where the last
    term is 2 (log 2 - u - log(1 + exp(-2 u))); see Haarnoja et al. 2018, appendix C. Locked entries
    do not count. There is no density (None) if the policy is deterministic, or if a sample of a
    clipped policy lies at a bound, which it reaches with a probability of its own.

    Args:
        drawn_from: mean and deviation, before the tanh if it is squashed.
        value: what was drawn, before tanh or clipping.
        bounds: the bounds of the actions.
    """
    free = bounds.high > bounds.low
    half = np.where(free, 0.5 * (bounds.high - bounds.low), 1.0)
    mean, std, u = (part.astype(np.float64) for part in (drawn_from.mean, drawn_from.std, value))
    if not (std > 0.0).all():
        return [None] * len(value)
    each = -0.5 * ((u - mean) / std) ** 2 - np.log(std * half) - 0.5 * math.log(2.0 * math.pi)
    if drawn_from.squashed:
        each -= 2.0 * (math.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))
    else:
        each[np.abs(u) >= 1.0] = np.nan
    if not free.all():
        each = each[:, free]
    rows = each.sum(axis=1).tolist()
    return [row if math.isfinite(row) else None for row in rows]
