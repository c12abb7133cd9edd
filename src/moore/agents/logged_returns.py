"""Discounted returns of the log's episodes, as values of its states and actions.

They are values of the controllers that made the log, and critics can start from them. Otherwise
critics start at 0, and terminating an episode costs nothing at first.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.replay.buffer import Transition


def logged_returns(log: Transition, discount: float) -> Float[Array, " rows"]:
    """The discounted return from each row of a log (rows,) to the end of its episode.

    A truncated episode, and the last one of the log, is assumed to go on for ever at its own mean
    reward.

    Raises:
        ValueError: the discount is not in [0, 1), where this sum is finite.
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"the discount is {discount}; it must lie in [0, 1).")
    rows = log.reward.shape[0]
    ends = jnp.asarray(log.terminated | log.truncated).at[-1].set(True)
    episode = jnp.cumsum(ends) - ends.astype(jnp.int32)
    earned = jax.ops.segment_sum(log.reward, episode, num_segments=rows)
    length = jax.ops.segment_sum(jnp.ones(rows), episode, num_segments=rows)
    for_ever = (earned / jnp.maximum(length, 1.0))[episode] / (1.0 - discount)

    def back(later, row):
        reward, terminated, end, beyond = row
        rest = jnp.where(terminated, 0.0, jnp.where(end, beyond, later))
        worth = reward + discount * rest
        return worth, worth

    columns = (log.reward, log.terminated, ends, for_ever)
    return jax.lax.scan(back, jnp.zeros(()), columns, reverse=True)[1]
