"""Plain replay: every row of a batch is a real one, drawn by the sampling scheme."""

from dataclasses import dataclass

from jaxtyping import Array, Int, PRNGKeyArray

from moore.experience.defaults import (
    has_no_state,
    keeps_its_state,
    learns_no_notes,
    notes_nothing,
    packs_nothing,
    prepares_nothing,
    unpacks_nothing,
)
from moore.experience.protocol import Batches, Metrics, Moment, Task
from moore.replay.buffer import Batch, Replay, as_batch
from moore.replay.sampler import gather


@dataclass(frozen=True)
class RealRows:
    """A batch consists of the rows that were drawn before the loop."""

    def draw(
        self, pool: None, notes: None, offline: Replay, online: Replay,
        planned: Int[Array, " rows"], key: PRNGKeyArray,
    ) -> tuple[Batch, None, Metrics]:  # fmt: skip
        del pool, notes, key
        return as_batch(gather(offline, online, planned), planned), None, {}

    learned = notes_nothing


@dataclass(frozen=True, eq=False)
class PlainReplay:
    """Draws from the log and the online data by the scheme; it has no state."""

    task: Task

    begin = has_no_state
    start = prepares_nothing
    refresh = prepares_nothing
    hand_over = keeps_its_state
    noted = learns_no_notes
    pack_hand_over = packs_nothing
    unpack_hand_over = unpacks_nothing

    def batches(self, state: None, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        del state
        rows = self.task.draws(now).rows(key, (count, self.task.agent_config.batch_size))
        log, planned = self.task.read(rows)
        return Batches(RealRows(), None, None, planned, log)
