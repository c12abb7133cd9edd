"""The gate: the acting policy is replaced only by one that the models judge to be no worse.

The models are asked from the first offline epoch on, so that the policy that is handed over has
passed too; `moore.experience.policy_comparison` says how they judge. This module keeps what the
acting policy has really earned.
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree


class ActingReturns(eqx.Module):
    """Returns of the acting policy, the bar for the next one if `gate.earned` is on.

    Attributes:
        total, episodes: sum of returns and number of the episodes in which it acted from beginning
            to end.
        mixed: whether the previous policy began the running episode.
        bar: mean return of the last policy that finished an episode; infinite if none has, and
            -infinite if the next policy need not reach any return.
    """

    total: Float[Array, ""]
    episodes: Int[Array, ""]
    mixed: Bool[Array, ""]
    bar: Float[Array, ""]


def no_returns_yet(bar: float) -> ActingReturns:
    """The returns of a policy that begins to act at the beginning of an episode."""
    return ActingReturns(
        jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.asarray(False), jnp.asarray(bar, float)
    )


def after_episodes(acting_returns: ActingReturns, returns: Sequence[float]) -> ActingReturns:
    """The returns after episodes have ended, of which the previous policy may have begun one."""
    if not returns:
        return acting_returns
    own = list(returns)[int(acting_returns.mixed) :]
    total, episodes = acting_returns.total + sum(own), acting_returns.episodes + len(own)
    bar = total / episodes.astype(jnp.float32) if int(episodes) else acting_returns.bar
    return ActingReturns(total, episodes, jnp.asarray(False), bar)


def after_replacement(acting_returns: ActingReturns, *, in_episode: bool = True) -> ActingReturns:
    """The returns after another policy has begun to act; the bar stays.

    `in_episode`: whether it began in the middle of an episode, which then is not its own.
    """
    return dataclasses.replace(
        no_returns_yet(0.0), mixed=jnp.asarray(in_episode), bar=acting_returns.bar
    )


def after_abandoned_episode(acting_returns: ActingReturns) -> ActingReturns:
    """The returns after an episode was abandoned: the next one is the acting policy's own."""
    return dataclasses.replace(acting_returns, mixed=jnp.asarray(False))


class Gate(eqx.Module):
    """The state of a gate.

    Attributes:
        acting: the policy that passed last.
        acting_returns: what this policy has earned.
    """

    acting: PyTree
    acting_returns: ActingReturns


def gate_of(policy: PyTree, bar: float) -> Gate:
    """A gate behind which this policy acts; `bar` as in `ActingReturns`."""
    return Gate(policy, no_returns_yet(bar))
