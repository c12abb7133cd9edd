"""Batches of imagined rows, with a share of real rows."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from moore.experience.defaults import notes_nothing
from moore.experience.protocol import Metrics
from moore.replay.buffer import Batch, Replay, Ring, as_batch
from moore.replay.sampler import gather, sample_ring


@dataclass(frozen=True)
class PartlyImagined:
    """A batch is `real_rows` real rows that were drawn before, filled up from D_model."""

    batch_size: int
    real_rows: int

    def draw(
        self, pool: Ring, notes: None, offline: Replay, online: Replay,
        planned: Int[Array, " real_rows"], key: PRNGKeyArray,
    ) -> tuple[Batch, None, Metrics]:  # fmt: skip
        del notes
        parts = []
        if self.real_rows:
            parts.append(as_batch(gather(offline, online, planned), planned))
        if self.real_rows < self.batch_size:
            count = self.batch_size - self.real_rows
            parts.append(as_batch(sample_ring(key, count, pool), jnp.full(count, -1)))
        return jax.tree.map(lambda *columns: jnp.concatenate(columns), *parts), None, {}

    learned = notes_nothing
