"""Replay of a part of the log that is chosen once by the returns of its episodes.

`moore.data.better_part` chooses the part. Batches are uniform draws from its rows in both stages.
Rows that are collected online are not used: the clone would only imitate itself.
"""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from moore.data.better_part import Part, better_part, logged_episodes
from moore.experience.defaults import (
    has_no_state,
    keeps_its_state,
    learns_no_notes,
    packs_nothing,
    prepares_nothing,
    unpacks_nothing,
)
from moore.experience.protocol import Batches, ExperienceKind, Moment, OnPass, Refreshed, Task
from moore.experience.replay import RealRows
from moore.replay.buffer import Replay


def part_of(offline: Replay, *, share: float | None = None) -> Part:
    """The better part of a log on the device, or this share of its rows, of the best episodes.

    Returns are in the agents' units.
    """
    size = int(offline.size)
    columns = (offline.data.reward, offline.data.terminated, offline.data.truncated)
    return better_part(logged_episodes(*(np.array(x[:size]) for x in columns)), share=share)


@dataclass(frozen=True, eq=False)
class PartReplay:
    """Draws from the better part of the log; it has no state. `share` is a setting of the agent."""

    task: Task

    @cached_property
    def rows(self) -> Int[Array, " part"]:
        """Indices of the rows of the part in the log."""
        share = self.task.agent_config.share
        return jnp.asarray(part_of(self.task.log, share=share).rows, jnp.int32)

    begin = has_no_state
    refresh = prepares_nothing
    hand_over = keeps_its_state
    noted = learns_no_notes
    pack_hand_over = packs_nothing
    unpack_hand_over = unpacks_nothing

    def start(
        self, state: None, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[None, PRNGKeyArray, Refreshed]:
        """Reports how many rows the part has."""
        del state, now, on_pass
        return None, key, Refreshed(None, {"replay/part_rows": jnp.asarray(float(self.rows.size))})

    def batches(self, state: None, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        del state, now
        shape = (count, self.task.agent_config.batch_size)
        drawn = jax.random.randint(key, shape, 0, self.rows.size)
        return Batches(RealRows(), None, None, self.rows[drawn])


KIND = ExperienceKind("part", PartReplay, by_scheme=False)
