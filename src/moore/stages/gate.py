"""The gate: the policy that acts is replaced only by one that the models find no worse.

They are asked from the first offline epoch on, so that what is handed over has passed too; how they
judge is told in moore.experience.judging. Here is what the acting policy has really earned.
"""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree


class Record(eqx.Module):
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


def new_record(bar: float) -> Record:
    """Of a policy that begins to act with an episode."""
    return Record(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.asarray(False), jnp.asarray(bar))


def finished(record: Record, returns: Sequence[float]) -> Record:
    """After episodes have ended, the first of them perhaps begun by the policy before."""
    if not returns:
        return record
    own = list(returns)[int(record.mixed) :]
    total, episodes = record.total + sum(own), record.episodes + len(own)
    bar = total / episodes if int(episodes) else record.bar
    return Record(total, episodes, jnp.asarray(False), bar)


def replaced(record: Record, *, in_episode: bool = True) -> Record:
    """After another policy has begun to act: the bar stays.

    `in_episode`: in the middle of one; else the next episode is the new policy's own.
    """
    return dataclasses.replace(new_record(0.0), mixed=jnp.asarray(in_episode), bar=record.bar)


def given_up(record: Record) -> Record:
    """After the running episode was left: the next one is the acting policy's own."""
    return dataclasses.replace(record, mixed=jnp.asarray(False))


class Gate(eqx.Module):
    """Where a gate stands.

    Attributes:
        acting: the policy that it has let through last.
        record: what that one has earned.
    """

    acting: PyTree
    record: Record
