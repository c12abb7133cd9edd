"""The gate: the policy that acts is replaced only by one that the models find no worse.

They are asked from the first offline epoch on, so that what is handed over has passed too; how they
judge is told in moore.experience.policy_comparison. Here is what the acting policy has really
earned.
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree


class ActingReturns(eqx.Module):
    """What the acting policy has earned: the bar for the next one, where `gate.earned` is on.

    Attributes:
        total, episodes: return and number of the episodes that it has acted from beginning to end.
        mixed: the running episode was begun by the policy before it.
        bar: the mean return of the last policy that has finished an episode; infinite where none
            has, -infinite where nothing is asked of the next one.
    """

    total: Float[Array, ""]
    episodes: Int[Array, ""]
    mixed: Bool[Array, ""]
    bar: Float[Array, ""]


def no_returns_yet(bar: float) -> ActingReturns:
    """Of a policy that begins to act with an episode."""
    return ActingReturns(
        jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.asarray(False), jnp.asarray(bar)
    )


def after_episodes(acting_returns: ActingReturns, returns: Sequence[float]) -> ActingReturns:
    """After episodes have ended, the first of them perhaps begun by the policy before."""
    if not returns:
        return acting_returns
    own = list(returns)[int(acting_returns.mixed) :]
    total, episodes = acting_returns.total + sum(own), acting_returns.episodes + len(own)
    bar = total / episodes if int(episodes) else acting_returns.bar
    return ActingReturns(total, episodes, jnp.asarray(False), bar)


def after_replacement(acting_returns: ActingReturns, *, in_episode: bool = True) -> ActingReturns:
    """After another policy has begun to act: the bar stays.

    `in_episode`: in the middle of one; else the next episode is the new policy's own.
    """
    return dataclasses.replace(
        no_returns_yet(0.0), mixed=jnp.asarray(in_episode), bar=acting_returns.bar
    )


def after_abandoned_episode(acting_returns: ActingReturns) -> ActingReturns:
    """After the running episode was left: the next one is the acting policy's own."""
    return dataclasses.replace(acting_returns, mixed=jnp.asarray(False))


class Gate(eqx.Module):
    """Where a gate stands.

    Attributes:
        acting: the policy that it has let through last.
        record: what that one has earned.
    """

    acting: PyTree
    acting_returns: ActingReturns
