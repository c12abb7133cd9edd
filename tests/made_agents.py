"""Batches of scalar transitions, and linear networks whose numbers can be worked by hand."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from moore.replay.buffer import Batch


def batch(obs, action, reward, next_obs, terminated=None, truncated=None) -> Batch:
    """Rows of scalar observations and actions."""
    column = lambda x: jnp.asarray(x, jnp.float32)[:, None]  # noqa: E731
    rows = len(reward)
    flags = lambda x: jnp.zeros(rows, bool) if x is None else jnp.asarray(x)  # noqa: E731
    reward = jnp.asarray(reward, jnp.float32)
    ends = flags(terminated), flags(truncated)
    return Batch(column(obs), column(action), reward, column(next_obs), *ends, jnp.arange(rows))


def linear_critics(critics, rows):
    """Q_j(s, a) = rows[j] . (s, a, 1)."""
    rows = np.asarray(rows, np.float32)
    where = lambda c: (c.layers[0].weight, c.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, critics, (jnp.asarray(rows[:, :2, None]), jnp.asarray(rows[:, 2:])))


def linear_actor(actor, slope, mean, log_std):
    """Before the squashing: mean(s) = slope s + mean, and one log standard deviation."""
    where = lambda a: (a.trunk.layers[0].weight, a.trunk.layers[0].bias)  # noqa: E731
    return eqx.tree_at(where, actor, (jnp.asarray([[slope, 0.0]]), jnp.asarray([mean, log_std])))
