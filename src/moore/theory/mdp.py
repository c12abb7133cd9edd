"""Finite MDPs solved exactly, in float64: the objects of the statements in section 3.3.

There are two settings, which are never mixed. Discounted: `horizon` is None, the discount is
below 1, values are [states], policies and occupancies have no time index. Finite: decisions are at
h = 0, ..., H - 1 and V_H = 0; values are [H + 1, states], policies and occupancies have a leading
axis of H. Shapes below write that axis as `...`, so each formula holds in both settings.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Integer

from moore.errors import InputError

Transition = Float[np.ndarray, "states actions states"]
Pairs = Float[np.ndarray, "states actions"]
Values = Float[np.ndarray, "... states"]
Actions = Integer[np.ndarray, "... states"]
Probabilities = Float[np.ndarray, "... states actions"]
Policy = Actions | Probabilities
Tie = Literal["first", "last"] | np.random.Generator

# Actions whose values differ by less than this, relative to the values, count as equally good:
# far above the rounding of a linear solve, far below any difference that a statement rests on.
_TIED = 1e-12


@dataclass(frozen=True, eq=False)
class TabularMDP:
    """An MDP (S, A, p, r, mu_0, gamma) with finitely many states and actions.

    Attributes:
        transition: p(s' | s, a).
        reward: r(s, a).
        start: mu_0(s).
        discount: gamma; in [0, 1], below 1 if there is no horizon.
        horizon: H, the number of decisions; None is the discounted setting.

    Raises:
        InputError: shapes do not fit, a row is no distribution, a reward is not finite, or the
            discount or the horizon is out of range.
    """

    transition: Transition
    reward: Pairs
    start: Float[np.ndarray, " states"]
    discount: float
    horizon: int | None = None

    def __post_init__(self):
        states, actions = self.reward.shape
        if self.transition.shape != (states, actions, states) or self.start.shape != (states,):
            raise InputError(
                f"transition {self.transition.shape}, reward {self.reward.shape} and start "
                f"{self.start.shape} do not fit; expected (S, A, S), (S, A) and (S,)."
            )
        for name, rows in {"transition": self.transition, "start": self.start}.items():
            if not _are_distributions(rows):
                raise InputError(f"{name}: every row must be nonnegative and sum to 1.")
        if not np.isfinite(self.reward).all():
            raise InputError("reward: expected finite numbers.")
        if self.horizon is not None and self.horizon < 1:
            raise InputError(f"the horizon is {self.horizon}; it must be at least 1, or None.")
        if not 0 <= self.discount <= 1 or (self.horizon is None and self.discount == 1):
            raise InputError(
                f"the discount is {self.discount} with horizon {self.horizon}; it must lie in "
                "[0, 1], and below 1 without a horizon."
            )

    def with_(self, **changes) -> "TabularMDP":
        """The same MDP with the given attributes replaced."""
        return dataclasses.replace(self, **changes)

    @property
    def effective_horizon(self) -> float:
        """Sum of the discounts of all decisions, which is the mass of an occupancy."""
        if self.horizon is None:
            return 1.0 / (1.0 - self.discount)
        return float(np.sum(self.discount ** np.arange(self.horizon)))

    @cached_property
    def extremes(self) -> tuple[Values, Values]:
        """The lowest and the highest value that any policy has, at every state and time."""
        lowest, _ = optimal(self.with_(reward=-self.reward))
        return -lowest, optimal(self)[0]

    @property
    def paper_horizon(self) -> float:
        """The factor H of the paper's bounds: H itself, or 1 / (1 - gamma) if discounted."""
        return self.effective_horizon if self.horizon is None else float(self.horizon)


def _are_distributions(rows: Float[np.ndarray, "..."]) -> bool:
    return bool((rows >= 0).all() and (np.abs(rows.sum(-1) - 1.0) <= 1e-9).all())


def l1(first: Transition, second: Transition) -> Pairs:
    """The l1 distance of the next-state rows, delta of Eq. 5: between 0 and 2."""
    return np.abs(first - second).sum(-1)


def tv(first: Transition, second: Transition) -> Pairs:
    """Total variation of the next-state rows: half the l1 distance."""
    return 0.5 * l1(first, second)


def D_l1(first: Transition, second: Transition) -> float:
    """The largest l1 distance over all states and actions, Eq. 6."""
    return float(l1(first, second).max())


def span(values: Values) -> Float[np.ndarray, "..."] | np.floating:
    """Largest minus smallest value over the states."""
    return np.ptp(values, axis=-1)


def q_values(mdp: TabularMDP, values: Values) -> Probabilities:
    """Q(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) V(s'), for each row of values."""
    return mdp.reward + mdp.discount * next_mean(mdp.transition, values)


def next_mean(transition: Transition, values: Values) -> Probabilities:
    """sum_s' p(s' | s, a) V(s'), for each row of values; p may be a difference of two."""
    return np.einsum("sat,...t->...sa", transition, values)


def next_values(mdp: TabularMDP, values: Values) -> Values:
    """The values after each decision: V_1, ..., V_H of V_0, ..., V_H; V itself if discounted."""
    return values if mdp.horizon is None else values[1:]


def action_probabilities(mdp: TabularMDP, policy: Policy) -> Probabilities:
    """pi(a | s) of a policy given as actions or as probabilities, with or without a time index.

    Raises:
        InputError: the shape or an action does not fit the MDP, or a row is no distribution.
    """
    states, actions = mdp.reward.shape
    if np.issubdtype(policy.dtype, np.integer):
        if not 0 <= policy.min() <= policy.max() < actions:
            raise InputError(f"the policy takes an action outside 0, ..., {actions - 1}.")
        policy = np.eye(actions)[policy]
    elif not _are_distributions(policy):
        raise InputError("the policy: every row must be nonnegative and sum to 1.")
    stationary = (states, actions)
    wanted = stationary if mdp.horizon is None else (mdp.horizon, *stationary)
    if policy.shape not in (stationary, wanted):
        raise InputError(f"the policy, as probabilities, is {policy.shape}; expected {wanted}.")
    return policy if policy.shape == wanted else np.broadcast_to(policy, wanted)


def policy_values(mdp: TabularMDP, policy: Policy) -> Values:
    """V^pi; [states], or [H + 1, states] with V_H = 0."""
    chosen = action_probabilities(mdp, policy)
    reward = (chosen * mdp.reward).sum(-1)
    moves = mdp.discount * np.einsum("...sa,sat->...st", chosen, mdp.transition)
    if mdp.horizon is None:
        return np.linalg.solve(np.eye(len(reward)) - moves, reward)
    values = np.zeros((mdp.horizon + 1, len(mdp.start)))
    for h in reversed(range(mdp.horizon)):
        values[h] = reward[h] + moves[h] @ values[h + 1]
    return values


def eta(mdp: TabularMDP, policy: Policy) -> float:
    """The expected discounted return, Eq. 1."""
    return start_mean(mdp, policy_values(mdp, policy))


def start_mean(mdp: TabularMDP, values: Values) -> float:
    """The expectation of V (of V_0 with a horizon) over the start states, E_mu0."""
    return float(mdp.start @ (values if mdp.horizon is None else values[0]))


def optimal(mdp: TabularMDP, tie: Tie = "first") -> tuple[Values, Actions]:
    """V* and an optimal policy.

    Discounted MDPs are solved by policy iteration, so the result is exact up to rounding.

    Args:
        tie: which of several optimal actions the policy takes, the first, the last or a random
            one.
    """
    if mdp.horizon is None:
        values = _policy_iteration(mdp)
        return values, _greedy(q_values(mdp, values), tie)
    values = np.zeros((mdp.horizon + 1, len(mdp.start)))
    for h in reversed(range(mdp.horizon)):
        values[h] = q_values(mdp, values[h + 1]).max(-1)
    return values, _greedy(q_values(mdp, values[1:]), tie)


def _policy_iteration(mdp: TabularMDP) -> Values:
    policy, states = mdp.reward.argmax(-1), np.arange(len(mdp.start))
    while True:
        values = policy_values(mdp, policy)
        q = q_values(mdp, values)
        gain = q.max(-1) - q[states, policy]
        if (gain <= _TIED * (1.0 + np.abs(q).max())).all():
            return values
        policy = np.where(gain > 0, q.argmax(-1), policy)


def _greedy(q: Probabilities, tie: Tie) -> Actions:
    best = q.max(-1, keepdims=True)
    good = q >= best - _TIED * (1.0 + np.abs(best))
    if isinstance(tie, np.random.Generator):
        return (good * tie.uniform(0.5, 1.0, good.shape)).argmax(-1)
    if tie == "last":
        return good.shape[-1] - 1 - good[..., ::-1].argmax(-1)
    return good.argmax(-1)


def value_iteration(mdp: TabularMDP, tol: float = 1e-10) -> tuple[Values, int]:
    """V within `tol` of V* in the largest norm, and the number of sweeps.

    Raises:
        InputError: the MDP has a horizon, or `tol` is not positive.
    """
    if mdp.horizon is not None:
        raise InputError("value iteration is for discounted MDPs; use `optimal` with a horizon.")
    if not 0 < tol < math.inf:
        raise InputError(f"the tolerance is {tol}; it must be positive and finite.")
    # A change below tol (1 - gamma) / gamma leaves at most tol to V*: the backup contracts.
    enough = math.inf if mdp.discount == 0 else tol * (1.0 - mdp.discount) / mdp.discount
    values, sweeps, change = np.zeros(len(mdp.start)), 0, math.inf
    while sweeps == 0 or change > enough:
        old, values = values, q_values(mdp, values).max(-1)
        sweeps, change = sweeps + 1, float(np.abs(values - old).max())
    return values, sweeps


def occupancy(mdp: TabularMDP, policy: Policy, *, normalized: bool = False) -> Probabilities:
    """The discounted occupancy rho(s, a) of a policy, one for each h if there is a horizon.

    If it is not normalised its mass is `mdp.effective_horizon`, which Eq. 12 and 20 require; if it
    is normalised its mass is 1.
    """
    chosen = action_probabilities(mdp, policy)
    moves = mdp.discount * np.einsum("...sa,sat->...st", chosen, mdp.transition)
    if mdp.horizon is None:
        visits = np.linalg.solve(np.eye(len(mdp.start)) - moves.T, mdp.start)
    else:
        visits = np.empty((mdp.horizon, len(mdp.start)))
        visits[0] = mdp.start
        for h in range(1, mdp.horizon):
            visits[h] = visits[h - 1] @ moves[h - 1]
    mass = mdp.effective_horizon if normalized else 1.0
    return visits[..., None] * chosen / mass


def expect(visits: Probabilities, function: Probabilities) -> float:
    """The sum of f(s, a) weighted by an occupancy; f may depend on h."""
    return float((visits * function).sum())


def value_range(mdp: TabularMDP, *, start_only: bool = False) -> tuple[float, float]:
    """The lowest and the highest value over all states, policies and times (V_H = 0 included).

    Args:
        start_only: use only the values at h = 0.
    """
    lowest, highest = mdp.extremes
    if start_only and mdp.horizon is not None:
        lowest, highest = lowest[0], highest[0]
    return float(lowest.min()), float(highest.max())
