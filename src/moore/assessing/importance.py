"""Importance sampling, where the log has the densities of its actions.

Weighted, per decision (Precup, Sutton, Singh 2000): the reward of step t is weighted by w_t, the
product of pi(a|s) / mu(a|s) up to t, and the weights of each step are divided by their sum over the
episodes. It needs mu(a|s), which is logged or nothing, a policy with densities of its own, and
weights of which enough episodes are left after the whole horizon. One of these is nearly always
missing, and then it is refused. It speaks of the policy as it is sampled, not of its mode.

A doubly robust estimate (Jiang and Li 2016) needs the same weights, and would be refused with them.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from moore.agents.nets import Actor, squashed_log_density
from moore.assessing.controller import JudgedController
from moore.assessing.estimate import FEWEST, ReturnEstimate, refused, within
from moore.assessing.logged import Logged
from moore.data.dataset import Dataset
from moore.data.load import read_log
from moore.envs.bounds import Bounds

# Smallest number of episodes that the weights of the last step may be worth (Kong 1992).
LEAST_EFFECTIVE = float(FEWEST)
# The array of D4RL's files, and the kinds of files that can have it.
_NAME, _FILES = "action_log_probs", (".hdf5", ".h5", ".npz")
# Actions at the bounds have no finite value before the tanh.
_INSIDE = 1.0 - 1e-6

Steps = Float[np.ndarray, "episodes steps"]


def logged_densities(
    source: str, log: Dataset, bounds: Bounds
) -> Float[np.ndarray, " rows"] | None:
    """log mu(a|s) of every row, for actions in [-1, 1]; None if the log has none.

    Args:
        source: name of the log; densities are the array `infos/action_log_probs`, as in D4RL's
            files, in the user's units.
        log: the log as it was loaded, which must have all rows of the file.
        bounds: bounds of the actions.
    """
    if Path(source).suffix.lower() not in _FILES:
        return None
    found = read_log(source, infos=True).infos.get(_NAME)
    if found is None or np.size(found) != log.size:
        return None
    reach = (bounds.high - bounds.low)[bounds.high > bounds.low]
    return np.asarray(found, np.float64).reshape(-1) + np.log(0.5 * reach).sum()


def by_importance(
    new: JudgedController, logged: Logged, density: Float[np.ndarray, " rows"] | None
) -> ReturnEstimate:
    """What the sampled policy earns, or why that cannot be said."""
    if density is None:
        return refused(
            "The log does not say with which density its actions were drawn, and densities that "
            "are guessed from the actions give weights of no known error."
        )
    if not np.all(np.isfinite(density)):
        return refused("The controller of the log is deterministic: it has no densities.")
    if not isinstance(new.weights, Actor):
        return refused("The densities of this kind of policy are not known.")
    action = jnp.clip(logged.data.action, -_INSIDE, _INSIDE)
    mean, log_std = jax.vmap(new.weights)(jnp.asarray(logged.data.obs))
    own = squashed_log_density(jnp.arctanh(action), mean, log_std)
    ratio = np.asarray(own, np.float64) - density
    return weighted(_table(logged, logged.data.reward), _table(logged, ratio))


def _table(logged: Logged, rows: Float[np.ndarray, " rows"]) -> Steps:
    """One line an episode, filled up with zeros after its end."""
    table = np.zeros((len(logged.first), int((logged.stop - logged.first).max())))
    for line, (first, stop) in enumerate(zip(logged.first, logged.stop, strict=True)):
        table[line, : stop - first] = rows[first:stop]
    return table


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


def weighted(reward: Steps, log_ratio: Steps) -> ReturnEstimate:
    """Weighted per-decision importance sampling; steps after an end have reward 0.

    The interval is that of leaving out one episode at a time (jackknife).
    """
    weights = weights_of(log_ratio)
    if (left := effective(weights)) < LEAST_EFFECTIVE:
        return refused(
            f"After the whole horizon the importance weights are worth {left:.1f} episodes, and "
            f"{LEAST_EFFECTIVE:g} are needed: the policies differ too much, or episodes are long."
        )
    count = len(reward)
    others = [np.delete(np.arange(count), i) for i in range(count)]
    values = [float((weights_of(log_ratio[kept]) * reward[kept]).sum()) for kept in others]
    deviation = float(np.sqrt((count - 1) * np.var(values)))
    return within(float((weights * reward).sum()), deviation)
