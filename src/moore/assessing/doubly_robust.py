"""The doubly robust estimate, where the log has the densities of its actions.

Weighted, per decision (Thomas and Brunskill 2016, section 5, after Jiang and Li 2016): the mean of
V_H(s_0), and for every step t the weighted mean of

    r_t + V_{H-t-1}(s_{t+1}) - Q_{H-t}(s_t, a_t)

with the weights of `importance.py` and the values of fitted Q evaluation (`fitted_q.py`). The
weights correct what the values do not know, and have less to say the more they do know. It is
refused where the weights are. It speaks of the policy as it is sampled, so V is the mean of Q over
sampled actions.

Each part of the log is corrected by values that were fitted to the other parts (cross-fitting):
their errors in the rows that they were fitted to would be too small.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from moore.agents.nets import Actor, sample_actions
from moore.assessing.controller import JudgedController
from moore.assessing.estimate import refused
from moore.assessing.fitted_q import LEAST_ROWS, FittedQ, inverses, limits, recursion
from moore.assessing.imagined import Compared
from moore.assessing.importance import Steps, Weighed, compared, weighted
from moore.jax_settings import key_of

# Parts of the log, and actions that are drawn for the value of a state.
FOLDS, SAMPLES = 4, 8

Episodes = Float[np.ndarray, " episodes"]


def by_weights_and_values(new: JudgedController, found: Weighed, values: FittedQ) -> Compared:
    """What the sampled policy earns, or why that cannot be said."""
    why, usable = found.refused, values.rows.size
    if not why and usable < LEAST_ROWS:
        why = f"The log has {usable} usable rows, and {LEAST_ROWS} are needed to fit values."
    if why:
        return Compared(refused(why), refused(why))
    start, surplus = _corrections(new, found, values)
    value, without = weighted(surplus, found.log_ratio)
    others = (start.sum() - start) / (len(start) - 1)
    earned = found.table(values.logged.data.reward).sum(axis=1)
    return compared(value + float(start.mean()), without + others, earned=earned)


def _corrections(new: JudgedController, found: Weighed, values: FittedQ) -> tuple[Episodes, Steps]:
    """V_H of every first state, and by how much each step surpasses what its Q foresaw."""
    logged, seed = values.logged, values.seed
    data, horizon = logged.data, logged.horizon
    fold = np.random.default_rng(seed + 3).permutation(len(logged.first)) % FOLDS
    following = _drawn(new, data.next_obs, seed)
    thetas = _fitted(values, following[:, values.rows], fold)
    goes_on = logged.known & ~data.terminated
    surplus = np.zeros(found.rows.shape)
    for step, rows in enumerate(found.rows.T):
        here = np.flatnonzero(rows >= 0)
        rows, left = rows[here], max(horizon - step, 1)
        parts = fold[logged.episode[rows]]
        seen = values.features(data.obs[rows], data.action[rows])
        after = _mean_features(values, data.next_obs[rows], following[:, rows])
        later = np.where(goes_on[rows], _value(values, after, thetas, left - 1, parts), 0.0)
        surplus[here, step] = data.reward[rows] + later - _value(values, seen, thetas, left, parts)
    first = found.rows[:, 0]
    begin = _mean_features(values, data.obs[first], _drawn(new, data.obs[first], seed + 1))
    return _value(values, begin, thetas, horizon, fold[logged.episode[first]]), surplus


def _drawn(
    new: JudgedController, obs: Float[np.ndarray, "rows obs"], seed: int
) -> Float[np.ndarray, "samples rows action"]:
    """Actions of the sampled policy."""
    assert isinstance(new.weights, Actor)
    return np.asarray(sample_actions(new.weights, jnp.asarray(obs), key_of(seed), SAMPLES)[0])


def _mean_features(
    values: FittedQ,
    obs: Float[np.ndarray, "rows obs"],
    actions: Float[np.ndarray, "samples rows action"],
) -> Float[np.ndarray, "rows features"]:
    """Q is linear in its features, so their mean over actions gives V."""
    total = sum(values.features(obs, action) for action in actions)
    return np.asarray(total) / np.float32(len(actions))


def _fitted(
    values: FittedQ,
    following: Float[np.ndarray, "samples rows action"],
    fold: Int[np.ndarray, " episodes"],
) -> Float[np.ndarray, "steps features folds"]:
    """The last layers of Q_0 = 0, Q_1, ..., Q_H, for each part fitted to the other parts."""
    data, rows = values.logged.data, values.rows
    weights = (fold[values.logged.episode[rows]][:, None] != np.arange(FOLDS)).astype(np.float32)
    every = recursion(
        values.phi, _mean_features(values, data.next_obs[rows], following), data.reward[rows],
        ~data.terminated[rows], weights, inverses(values.phi, weights),
        steps=values.logged.horizon,
    )  # fmt: skip
    return np.stack([np.zeros((values.phi.shape[1], FOLDS), np.float32), *every])


def _value(
    values: FittedQ,
    features: Float[np.ndarray, "rows features"],
    thetas: Float[np.ndarray, "steps features folds"],
    left: int,
    parts: Int[np.ndarray, " rows"],
) -> Float[np.ndarray, " rows"]:
    """What so many steps are still worth, by the values of each row's part."""
    low, high = limits(values.logged.data.reward[values.rows], left)
    found = (features @ thetas[left])[np.arange(len(parts)), parts]
    return np.clip(found, low, high).astype(np.float64)
