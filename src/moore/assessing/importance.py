"""Importance sampling, where the log has the densities of its actions.

Weighted, per decision (Precup, Sutton, Singh 2000): the reward of step t is weighted by w_t, the
product of pi(a|s) / mu(a|s) up to t, and the weights of each step are divided by their sum over the
episodes. It needs mu(a|s), which is logged or nothing, a policy with densities of its own, and
weights of which enough episodes are left after the whole horizon. One of these is nearly always
missing, and then it is refused. It speaks of the policy as it is sampled, not of its mode.

The doubly robust estimate (`doubly_robust.py`) uses the same weights.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from moore.agents.nets import Actor, squashed_log_density
from moore.assessing.controller import JudgedController
from moore.assessing.estimate import FEWEST, refused, within
from moore.assessing.imagined import Compared
from moore.assessing.logged import Logged
from moore.data.dataset import Dataset
from moore.envs.bounds import Bounds
from moore.formats.live_records import is_live_log
from moore.formats.load import read_log

# Smallest number of episodes that the weights of the last step may be worth (Kong 1992): for any
# use of them, and for importance sampling, which has nothing else. On policies of known return its
# 90% intervals held 5 truths of 14 between 10 and 25, and 55 of 56 above (docs/assess.md).
LEAST_EFFECTIVE, LEAST_ALONE = float(FEWEST), 25.0
# The array of D4RL's files, and the kinds of files that can have it; that of a session's log.
_NAME, _FILES = "action_log_probs", (".hdf5", ".h5", ".npz")
_LIVE_NAME = "log_density"
# Actions at the bounds have no finite value before the tanh.
_INSIDE = 1.0 - 1e-6

Steps = Float[np.ndarray, "episodes steps"]


def logged_densities(
    source: str, log: Dataset, bounds: Bounds
) -> Float[np.ndarray, " rows"] | None:
    """log mu(a|s) of every row, for actions in [-1, 1]; None if the log has none.

    Args:
        source: name of the log; densities are the array `infos/action_log_probs`, as in D4RL's
            files, or those that a session has written, in the user's units. NaN: none.
        log: the log as it was loaded, which must have all rows of the file.
        bounds: bounds of the actions.
    """
    live = is_live_log(Path(source).expanduser())
    if not live and Path(source).suffix.lower() not in _FILES:
        return None
    found = read_log(source, infos=True).infos.get(_LIVE_NAME if live else _NAME)
    if found is None or np.size(found) != log.size:
        return None
    reach = (bounds.high - bounds.low)[bounds.high > bounds.low]
    return np.asarray(found, np.float64).reshape(-1) + np.log(0.5 * reach).sum()


@dataclass(frozen=True, eq=False)
class Weighed:
    """The whole episodes of a log, weighed by how likely a policy's actions are.

    Attributes:
        rows: the row of every step, -1 after an episode's end.
        log_ratio: log pi - log mu of every step, 0 after an end, so that the weight stays.
        refused: why there are no such weights; empty if there are.
    """

    rows: Int[np.ndarray, "episodes steps"]
    log_ratio: Steps
    refused: str = ""

    def table(self, values: Float[np.ndarray, " rows"]) -> Steps:
        """One line an episode, with zeros after its end."""
        return np.where(self.rows >= 0, values[self.rows], 0.0).astype(np.float64)


def weighed(
    new: JudgedController, logged: Logged, density: Float[np.ndarray, " rows"] | None
) -> Weighed:
    """The weights of a policy in the whole episodes of the log, or why there are none."""
    rows = _rows(logged)
    ratio, why = np.zeros(rows.shape), _why_not(new, density, rows)
    if not why:
        assert density is not None and isinstance(new.weights, Actor)
        action = jnp.clip(logged.data.action, -_INSIDE, _INSIDE)
        mean, log_std = jax.vmap(new.weights)(jnp.asarray(logged.data.obs))
        free = np.ptp(logged.data.action, axis=0) > 0.0  # locked entries have no density
        own = squashed_log_density(jnp.arctanh(action)[:, free], mean[:, free], log_std[:, free])
        every = np.asarray(own, np.float64) - density
        ratio = np.where(rows >= 0, every[rows], 0.0)
        why = _too_few(ratio, LEAST_EFFECTIVE)
    return Weighed(rows, ratio, why)


def _too_few(log_ratio: Steps, least: float) -> str:
    """Why weights that are worth less than so many episodes are not used; empty if they are."""
    left = effective(weights_of(log_ratio))
    if left >= least:
        return ""
    return (
        f"After the whole horizon the importance weights are worth {left:.1f} episodes, and "
        f"{least:g} are needed: the policies differ too much, or episodes are long."
    )


def _why_not(
    new: JudgedController,
    density: Float[np.ndarray, " rows"] | None,
    rows: Int[np.ndarray, "episodes steps"],
) -> str:
    if density is None:
        return (
            "The log does not say with which density its actions were drawn, and densities that "
            "are guessed from the actions give weights of no known error."
        )
    known = np.isfinite(density[rows[rows >= 0]])
    if not known.any():
        return "The controller of the log is deterministic: it has no densities."
    if not known.all():
        return (
            f"{1.0 - known.mean():.1%} of the actions in whole episodes have no density: a "
            "deterministic controller took them, or they were cut at a bound."
        )
    return (
        ""
        if isinstance(new.weights, Actor)
        else ("The densities of this kind of policy are not known.")
    )


def by_importance(found: Weighed, logged: Logged) -> Compared:
    """What the sampled policy earns, or why that cannot be said."""
    if why := found.refused or _too_few(found.log_ratio, LEAST_ALONE):
        return Compared(refused(why), refused(why))
    return estimated(found, logged)


def estimated(found: Weighed, logged: Logged) -> Compared:
    """What the weights say, however little they are worth."""
    reward = found.table(logged.data.reward)
    return compared(*weighted(reward, found.log_ratio), earned=reward.sum(axis=1))


def _rows(logged: Logged) -> Int[np.ndarray, "episodes steps"]:
    first, stop = logged.first[logged.whole], logged.stop[logged.whole]
    steps = np.arange(int((stop - first).max(initial=1)))
    rows = first[:, None] + steps
    return np.where(rows < stop[:, None], rows, -1)


def weights_of(log_ratio: Steps) -> Steps:
    """w_t of every episode, from log pi - log mu of every step: weights of a step sum up to 1.

    Steps after an episode's end have a ratio of 0, so that its weight stays.
    """
    total = np.cumsum(log_ratio, axis=1)
    weight = np.exp(total - total.max(axis=0, keepdims=True))
    return weight / weight.sum(axis=0, keepdims=True)


def effective(weights: Steps) -> float:
    """The number of episodes that the weights of the last step are worth, 1 / sum w^2."""
    return float(1.0 / np.sum(weights[:, -1] ** 2))


def weighted(terms: Steps, log_ratio: Steps) -> tuple[float, Float[np.ndarray, " episodes"]]:
    """The sum over steps of the weighted means of terms, and that without each single episode.

    Terms after an end are 0.
    """
    weights = weights_of(log_ratio)
    every = (weights * terms).sum(axis=0)
    without = (every - weights * terms) / np.maximum(1.0 - weights, 1e-12)
    return float(every.sum()), without.sum(axis=1)


def compared(
    value: float,
    without: Float[np.ndarray, " episodes"],
    *,
    earned: Float[np.ndarray, " episodes"],
) -> Compared:
    """A value and its gain, with the intervals of leaving out one episode at a time (jackknife).

    Args:
        value: the estimate.
        without: the same without each single episode.
        earned: returns of these episodes.
    """
    count = len(earned)
    old = (earned.sum() - earned) / (count - 1)

    def around(middle: float, others: Float[np.ndarray, " episodes"]):
        return within(middle, float(np.sqrt((count - 1) * np.var(others))))

    gain = value - float(earned.mean())
    return Compared(value=around(value, without), gain=around(gain, without - old))
