"""The two-group sampler: proportional sampling from the log and the online data (Eq. 3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from moore.replay.buffer import Counts, Replay, Ring, Transition, take


def _uniform(key: PRNGKeyArray, shape: tuple[int, ...], size: Int[Array, ""]) -> Int[Array, "..."]:
    """Uniform integers in [0, size), and 0 when there is nothing to draw."""
    return jax.random.randint(key, shape, 0, jnp.maximum(size, 1), dtype=jnp.int32)


def sample_rows(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    offline: Replay | Counts,
    online: Replay,
    online_share: Float[Array, ""],
    *,
    train_only: bool,
) -> Int[Array, "..."]:
    """Independent draws: online with probability `online_share`, then uniform within the group.

    Args:
        key: PRNG key.
        shape: shape of the result.
        offline: the log D_off; of one on disk its sizes, unless `train_only`.
        online: the online data D_on.
        online_share: from `Scheme.online_share`; must be 0 while `online` is empty.
        train_only: leave out held-out rows and rows without a known successor.

    Returns:
        Joint indices: below `offline.capacity` a row of the log, from there on an online row.
    """
    key_group, key_off, key_on = jax.random.split(key, 3)
    if train_only:
        assert isinstance(offline, Replay)
        row_off = offline.train_rows[_uniform(key_off, shape, offline.train_size)]
        row_on = online.train_rows[_uniform(key_on, shape, online.train_size)]
    else:
        row_off = _uniform(key_off, shape, offline.size)
        row_on = _uniform(key_on, shape, online.size)
    is_online = jax.random.uniform(key_group, shape) < online_share
    return jnp.where(is_online, offline.capacity + row_on, row_off)


def gather(offline: Replay, online: Replay, rows: Int[Array, " n"]) -> Transition:
    """The transitions with the given joint indices."""
    is_online = rows >= offline.capacity
    off = take(offline.data, jnp.minimum(rows, offline.capacity - 1))
    on = take(online.data, jnp.clip(rows - offline.capacity, 0, online.capacity - 1))

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(is_online.reshape(is_online.shape + (1,) * (a.ndim - 1)), b, a)

    return jax.tree.map(choose, off, on)


def sample_ring(key: PRNGKeyArray, count: int, ring: Ring) -> Transition:
    """`count` transitions of D_model, uniformly with replacement (line 18 of Algorithm 1)."""
    return take(ring.data, _uniform(key, (count,), ring.size))
