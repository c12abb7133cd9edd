"""Adapts the weight of behaviour cloning to the returns of the online episodes.

A proportional-derivative controller (Zhao et al. 2022): the weight falls while the
returns lie below the target, and rises when a return falls below the average of those before it.
Constants are those of the authors' code (zhaoyi11/adaptive_bc, main.py and redq_bc.py).
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from moore.agents.adaptive_bc_config import AdaptiveBCConfig


class Adaptation(eqx.Module):
    """The weight of behaviour cloning, and the returns that it is adapted to.

    Attributes:
        bc_weight: a_bc.
        last_return: R_last, the moving average of the scaled returns; 0 before the first one.
        episodes: number of finished online episodes.
        rows: number of online rows that were read.
        steps: number of these rows that belong to the running episode.
        episode_return: sum of the rewards of the running episode.
    """

    bc_weight: Float[Array, ""]
    last_return: Float[Array, ""]
    episodes: Int[Array, ""]
    rows: Int[Array, ""]
    steps: Int[Array, ""]
    episode_return: Float[Array, ""]


def new_adaptation(bc_weight: float) -> Adaptation:
    """The state before the first online episode, with this weight."""
    return Adaptation(
        bc_weight=jnp.asarray(bc_weight, jnp.float32),
        last_return=jnp.zeros((), jnp.float32),
        episodes=jnp.zeros((), jnp.int32),
        rows=jnp.zeros((), jnp.int32),
        steps=jnp.zeros((), jnp.int32),
        episode_return=jnp.zeros((), jnp.float32),
    )


def adapted_weight(
    weight: Float[Array, ""],
    length: Int[Array, ""],
    current: Float[Array, ""],
    last: Float[Array, ""],
    config: AdaptiveBCConfig,
) -> Float[Array, ""]:
    """a_bc + T (-K_P (R_target - R_last) + K_D max(0, R_last - R_cur)), clipped to [0, its start].

    Args:
        weight: a_bc.
        length: T, number of steps of the episode.
        current: R_cur, its scaled return.
        last: R_last, the average of the returns before it.
        config: the constants.
    """
    proportional = -config.proportional_gain * (config.target_return - last)
    derivative = config.derivative_gain * jnp.maximum(last - current, 0.0)
    steps = length.astype(jnp.float32)
    return jnp.clip(weight + steps * (proportional + derivative), 0.0, config.online_bc_weight)


def after_episode(adaptation: Adaptation, config: AdaptiveBCConfig) -> Adaptation:
    """Adapts the weight and then R_last to the episode that has just finished.

    R_last <- 0.05 R_cur + 0.95 R_last with the default rate.
    """
    low, high = config.return_low, config.return_high
    if low is None or high is None:
        raise ValueError("return_low and return_high must be known before going online.")
    current = (adaptation.episode_return - low) / (high - low)
    last = jnp.where(adaptation.episodes == 0, current, adaptation.last_return)
    followed = dataclasses.replace(
        adaptation,
        bc_weight=adapted_weight(adaptation.bc_weight, adaptation.steps, current, last, config),
        last_return=config.return_rate * current + (1.0 - config.return_rate) * last,
        episodes=adaptation.episodes + 1,
    )
    return unbegun(followed)


def unbegun(adaptation: Adaptation) -> Adaptation:
    """The state before the first row of an episode."""
    return dataclasses.replace(
        adaptation,
        steps=jnp.zeros_like(adaptation.steps),
        episode_return=jnp.zeros_like(adaptation.episode_return),
    )


def after_row(
    adaptation: Adaptation,
    reward: Float[Array, ""],
    ended: Bool[Array, ""],
    config: AdaptiveBCConfig,
) -> Adaptation:
    """Reads one more online row; `ended`: it is the last one of its episode."""
    adaptation = dataclasses.replace(
        adaptation,
        rows=adaptation.rows + 1,
        steps=adaptation.steps + 1,
        episode_return=adaptation.episode_return + reward,
    )
    finished = after_episode(adaptation, config)
    return jax.tree.map(lambda new, old: jnp.where(ended, new, old), finished, adaptation)
