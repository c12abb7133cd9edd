"""What the log itself says its states and actions are worth: discounted returns of its episodes.

They are values of the controllers that made the log, and so a beginning for critics that cost
nothing: without it a critic starts at 0, and an end of an episode costs nothing as long as it does.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.replay.buffer import Transition


def logged_returns(log: Transition, discount: float) -> Float[Array, " rows"]:
    """The discounted return from each row of a log (rows,) to the end of its episode.

    An episode that a time limit cut, or the end of the log, is taken to have gone on for ever at
    its own mean reward.

    Raises:
        ValueError: a discount of 1, at which that is no number.
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"the discount is {discount}; it must lie in [0, 1).")
    rows = log.reward.shape[0]
    ends = (log.terminated | log.truncated).at[-1].set(True)
    episode = jnp.cumsum(ends) - ends
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
