"""Discounted returns of the episodes in a buffer, as Cal-QL needs them (Nakamoto et al. 2023)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from moore.agents.sac import NO_LIMIT
from moore.replay.buffer import Replay


def returns_to_go(replay: Replay, discount: float) -> Float[Array, " capacity"]:
    """G_t = r_t + gamma G_{t+1} of every row, within its episode; -NO_LIMIT in the padding.

    An episode ends where it was terminated or truncated, and at the last row.

    Note:
        The return of a truncated episode lacks what would have followed. If rewards are not
        negative it is an underestimate, and so still a bound. If they are negative it is too high,
        and the critics are pushed down less than Cal-QL intends. The same holds for the running
        online episode.
    """
    row = jnp.arange(replay.capacity)
    real = row < replay.size
    goes_on = real & ~replay.data.terminated & ~replay.data.truncated & (row != replay.size - 1)

    def follow(later, earlier):
        """Composes two maps G -> reward + factor G; the later one is the inner one."""
        later_factor, later_reward = later
        factor, reward = earlier
        return factor * later_factor, reward + factor * later_reward

    factors = jnp.where(goes_on, discount, 0.0)
    rewards = jnp.where(real, replay.data.reward, 0.0)
    _, returns = jax.lax.associative_scan(follow, (factors, rewards), reverse=True)
    return jnp.where(real, returns, -NO_LIMIT)
