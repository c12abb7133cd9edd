"""Fitted Q evaluation on the log: what a policy earns, without models of the system.

Le, Voloshin, Yue 2019 ("Batch policy learning under constraints", algorithm 3): with Q_0 = 0,
Q_h is fitted to r + Q_{h-1}(s', pi(s')), and Q_H of the first states is the return of an episode of
H steps. There is no discount, and a time limit needs no bootstrap: steps are counted exactly.

The network has one hidden layer of cosines that is drawn and kept (random Fourier features, Rahimi
and Recht 2007) beside the inputs themselves, and its last layer is fitted exactly by ridge
regression. So each of the H fits takes milliseconds and has no learning rate, and bootstrap
replicates over episodes are solved together. Values are cut to what h steps can earn with the
rewards of the log, which keeps the recursion from diverging.

The same recursion with the log's own next actions says what the old controller earns. That is
known from the log, so the difference corrects the estimate and says what it can be trusted with:

    value(new) = earned(old) + [Q(new) - Q(old)]
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from moore.assessing.controller import JudgedController
from moore.assessing.estimate import FEWEST, refused, within
from moore.assessing.imagined import Compared
from moore.assessing.logged import Logged
from moore.numbers import counted

# Largest number of rows; whole episodes are drawn. Ours, as are the numbers below: what a core does
# in seconds.
MOST_ROWS, LEAST_ROWS = 8000, 200
# Largest number of features, and of rows for each of them.
FEATURES, ROWS_PER_FEATURE = 240, 4
REPLICATES = 8
# Widths of the features, as multiples of the root of the number of inputs, in standard deviations.
_WIDTHS = (0.4, 0.8, 1.6)
# Of the ridge regression, as a share of the number of rows.
_RIDGE = 1e-4
# Values of the old controller may miss what the log says by so many standard deviations of its
# episodes.
MOST_MISSED = 1.0


@dataclass(frozen=True, eq=False)
class FittedQ:
    """What the evaluations of all policies on one log share.

    Attributes:
        logged: the log.
        seed: seed of the features and of the bootstrap.
        replicates: number of bootstrap replicates; the first one is the log itself.
    """

    logged: Logged
    seed: int = 0
    replicates: int = REPLICATES

    @cached_property
    def why_refused(self) -> str:
        """Why there is no estimate from this log; empty if there is one."""
        if len(self.logged.first) < FEWEST:
            episodes = counted(len(self.logged.first), "episode")
            return f"The log has {episodes}, and {FEWEST} are needed to resample them."
        if self.rows.size < LEAST_ROWS:
            rows = counted(self.rows.size, "usable row")
            return f"The log has {rows}, and {LEAST_ROWS} are needed."
        miss, scatter = abs(self._error), float(self.logged.returns.std())
        if not miss <= MOST_MISSED * scatter:
            return (
                "It does not even reproduce what the old controller earns: it misses the log's "
                f"mean by {miss / max(scatter, 1e-12):.1f} standard deviations of its episodes, "
                f"and {MOST_MISSED:g} is allowed."
            )
        return ""

    @cached_property
    def error_on_old(self) -> float | None:
        """Estimate minus truth for the old controller; None if there are too few rows."""
        return None if self.rows.size < LEAST_ROWS else self._error

    def of(self, new: JudgedController) -> Compared:
        """The value of a policy without noise."""
        if why := self.why_refused:
            return Compared(refused(why), refused(why))
        values = self._values(new.actions(self.logged.data.next_obs[self.rows]),
                              new.actions(self.logged.starts), self._weights)  # fmt: skip
        gains = values - self._old
        earned = self.logged.returns
        levels = earned[self._draws(len(earned))].mean(axis=1)
        gain, error = float(gains[0]), self._error
        scatter = float(np.std(levels[1:] + gains[1:], ddof=1))
        return Compared(
            value=within(float(earned.mean()) + gain, float(np.hypot(scatter, error))),
            gain=within(gain, float(np.hypot(np.std(gains[1:], ddof=1), error))),
        )

    # --- The rows and their features ---

    @cached_property
    def rows(self) -> Int[np.ndarray, " rows"]:
        """Rows of whole episodes whose target is known for every policy, the old one included."""
        logged, rng = self.logged, np.random.default_rng(self.seed)
        order = rng.permutation(len(logged.first))
        size = np.cumsum((logged.stop - logged.first)[order])
        chosen = order[: max(1, int(np.searchsorted(size, MOST_ROWS, side="right")))]
        rows = logged.rows_of(chosen)
        usable = logged.data.terminated[rows] | (logged.known[rows] & ~logged.ends[rows])
        return rows[usable]

    @cached_property
    def _projection(self) -> tuple[Float[np.ndarray, "inputs features"], Float[np.ndarray, " _"]]:
        rng = np.random.default_rng(self.seed + 1)
        inputs = self.logged.data.obs.shape[1] + self.logged.data.action.shape[1]
        count = min(FEATURES, self.rows.size // ROWS_PER_FEATURE)
        width = np.resize(_WIDTHS, count) * np.sqrt(inputs)
        weight = rng.normal(size=(inputs, count)) / width
        phase = rng.uniform(0.0, 2.0 * np.pi, count)
        return weight.astype(np.float32), phase.astype(np.float32)

    def features(
        self, obs: Float[np.ndarray, "rows obs"], action: Float[np.ndarray, "rows action"]
    ) -> Float[np.ndarray, "rows features"]:
        """The hidden layer, the standardised inputs, and 1."""
        (mean, std), (weight, phase) = self.logged.spread, self._projection
        scale = self.logged.data.action.std(axis=0) + 1e-3
        inputs = np.concatenate([(obs - mean) / std, action / scale], axis=1).astype(np.float32)
        one = np.ones((len(inputs), 1), np.float32)
        return np.concatenate([np.cos(inputs @ weight + phase), inputs, one], axis=1)

    @cached_property
    def phi(self) -> Float[np.ndarray, "rows features"]:
        data, rows = self.logged.data, self.rows
        return self.features(data.obs[rows], data.action[rows])

    # --- The bootstrap over episodes ---

    def _draws(self, count: int) -> Int[np.ndarray, "replicates count"]:
        """Episodes of each replicate; the first replicate is the log itself."""
        drawn = np.random.default_rng(self.seed + 2).integers(count, size=(self.replicates, count))
        drawn[0] = np.arange(count)
        return drawn

    @cached_property
    def _weights(self) -> Float[np.ndarray, "episodes replicates"]:
        """How often each replicate has drawn each episode."""
        count = len(self.logged.first)
        drawn = self._draws(count)
        return np.stack([np.bincount(row, minlength=count) for row in drawn], 1).astype(np.float32)

    @cached_property
    def _inverse(self) -> Float[np.ndarray, "replicates features features"]:
        """(Phi' W Phi + ridge)^-1 of every replicate."""
        return inverses(self.phi, self._weights[self.logged.episode[self.rows]])

    # --- The recursion ---

    @cached_property
    def _old(self) -> Float[np.ndarray, " replicates"]:
        """Values with the log's own next actions."""
        data, rows = self.logged.data, self.rows
        following = np.minimum(rows + 1, len(data.reward) - 1)  # not used on terminal rows
        starts = data.action[self.logged.first]
        return self._values(data.action[following], starts, self._weights)

    @cached_property
    def _error(self) -> float:
        return float(self._old[0] - self.logged.returns.mean())

    def _values(
        self,
        next_action: Float[np.ndarray, "rows action"],
        first_action: Float[np.ndarray, "episodes action"],
        weights: Float[np.ndarray, "episodes replicates"],
    ) -> Float[np.ndarray, " replicates"]:
        """The mean Q_H of the first states, in every replicate."""
        data, rows = self.logged.data, self.rows
        following = self.features(data.next_obs[rows], next_action)
        *_, theta = recursion(
            self.phi, following, data.reward[rows], ~data.terminated[rows],
            weights[self.logged.episode[rows]], self._inverse, steps=self.logged.horizon,
        )  # fmt: skip
        begin = self.features(self.logged.starts, first_action) @ theta
        low, high = limits(data.reward[rows], self.logged.horizon)
        found = (np.clip(begin, low, high) * weights).sum(axis=0) / weights.sum(axis=0)
        return found.astype(np.float64)


def inverses(
    phi: Float[np.ndarray, "rows features"], weights: Float[np.ndarray, "rows replicates"]
) -> Float[np.ndarray, "replicates features features"]:
    """(Phi' W Phi + ridge)^-1 of every replicate."""
    found = []
    for weight in weights.T:
        gram = (phi * weight[:, None]).T @ phi
        ridge = _RIDGE * len(phi) * np.eye(len(gram))
        found.append(np.linalg.inv(gram.astype(np.float64) + ridge).astype(np.float32))
    return np.stack(found)


def recursion(
    phi: Float[np.ndarray, "rows features"],
    following: Float[np.ndarray, "rows features"],
    reward: Float[np.ndarray, " rows"],
    goes_on: Bool[np.ndarray, " rows"],
    weights: Float[np.ndarray, "rows replicates"],
    inverse: Float[np.ndarray, "replicates features features"],
    *,
    steps: int,
) -> Iterator[Float[np.ndarray, "features replicates"]]:
    """The last layers of Q_1, Q_2, ..., Q_H in every replicate.

    Args:
        phi: features of (s, a).
        following: features of (s', pi(s')).
        reward: r.
        goes_on: False where the transition ends the episode.
        weights: how often each row counts in each replicate.
        inverse: (Phi' W Phi + ridge)^-1.
        steps: H.
    """
    theta = np.zeros((phi.shape[1], weights.shape[1]), np.float32)
    for step in range(steps):
        low, high = limits(reward, step)
        value = np.clip(following @ theta, low, high)
        target = reward[:, None] + goes_on[:, None] * value
        theta = np.einsum("rfg,gr->fr", inverse, phi.T @ (weights * target))
        yield theta


def limits(reward: Float[np.ndarray, " rows"], steps: int) -> tuple[float, float]:
    """What `steps` steps can earn; an early end earns nothing more."""
    return steps * min(float(reward.min()), 0.0), steps * max(float(reward.max()), 0.0)
