"""The log, then a kept part of it beside the online rows (Zhao et al. 2022, Adaptive BC).

Offline, batches are uniform draws from the whole log. At the hand-over a part of the log is drawn
with replacement, and only this part is kept. Online rows join it, and batches are uniform draws
from both. The sizes are those of the authors' code (zhaoyi11/adaptive_bc, main.py and utils.py).
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, UInt32

from moore.experience.defaults import learns_no_notes, notes_nothing, prepares_nothing
from moore.experience.protocol import Batches, Metrics, Moment, Task
from moore.replay.buffer import Batch, Replay, as_batch
from moore.replay.sampler import gather


class KeptPart(eqx.Module):
    """Which part of the log is kept.

    Attributes:
        choice: seed of the draw.
        rows: rows of the log that are kept online, each as often as it was drawn; empty offline.
    """

    choice: UInt32[Array, ""]
    rows: Int[Array, " kept"]


@dataclass(frozen=True)
class KeptRows:
    """A batch is a uniform draw with replacement.

    Offline it is drawn from the log. Online it is drawn from the newest `capacity` entries of the
    list that has the kept rows first and the online rows after them.
    """

    batch_size: int
    online: bool
    capacity: int

    def rows(
        self, kept: Int[Array, " kept"], offline: Replay, online: Replay, key: PRNGKeyArray
    ) -> Int[Array, " batch"]:
        """Joint indices of a batch."""
        shape = (self.batch_size,)
        if not self.online:
            return jax.random.randint(key, shape, 0, offline.size, dtype=jnp.int32)
        count = kept.size
        until = count + online.size
        since = jnp.maximum(until - self.capacity, 0)
        place = jax.random.randint(key, shape, since, until, dtype=jnp.int32)
        logged = kept[jnp.minimum(place, count - 1)]
        return jnp.where(place < count, logged, offline.capacity + place - count)

    def draw(
        self, pool: Int[Array, " kept"], notes: None, offline: Replay, online: Replay,
        planned: None, key: PRNGKeyArray,
    ) -> tuple[Batch, None, Metrics]:  # fmt: skip
        del notes, planned
        rows = self.rows(pool, offline, online, key)
        share = jnp.mean(rows >= offline.capacity)
        return as_batch(gather(offline, online, rows), rows), None, {"online_share": share}

    learned = notes_nothing


@dataclass(frozen=True, eq=False)
class KeptReplay:
    """Draws from the whole log offline and from a part of it online; the agent has the settings."""

    task: Task

    start = prepares_nothing
    refresh = prepares_nothing
    noted = learns_no_notes

    def begin(self, key: PRNGKeyArray) -> KeptPart:
        """Draws the seed that decides which rows will be kept."""
        return KeptPart(jax.random.bits(key), jnp.zeros(0, jnp.int32))

    def hand_over(self, state: KeptPart) -> KeptPart:
        """Chooses the rows of the log that are kept."""
        log, config = self.task.log, self.task.agent_config
        count = max(int(config.kept_share * log.capacity), config.kept_least, 1)
        key = jax.random.key(state.choice)
        kept = jax.random.randint(key, (count,), 0, log.size, dtype=jnp.int32)
        return KeptPart(state.choice, kept)

    def batches(self, state: KeptPart, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        del key, count
        config = self.task.agent_config
        how = KeptRows(config.batch_size, now.stage == "online", config.replay_capacity)
        return Batches(how, state.rows, None, None)

    def pack_hand_over(self, state: KeptPart) -> dict:
        return {"choice": state.choice}

    def unpack_hand_over(self, fresh: KeptPart, kept: dict) -> KeptPart:
        return KeptPart(kept["choice"], fresh.rows)
