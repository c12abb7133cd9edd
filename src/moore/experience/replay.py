"""Plain replay: every row of a batch is a real one, drawn by the sampling scheme."""

from dataclasses import dataclass

from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from moore.experience.protocol import Batches, Metrics, Moment, OnPass, Refreshed, Task
from moore.replay.buffer import Batch, Replay, as_batch
from moore.replay.sampler import gather


@dataclass(frozen=True)
class RealRows:
    """A batch is the rows that were drawn for it."""

    def draw(
        self, pool: None, notes: None, offline: Replay, online: Replay,
        planned: Int[Array, " rows"], key: PRNGKeyArray,
    ) -> tuple[Batch, None, Metrics]:  # fmt: skip
        del pool, notes, key
        return as_batch(gather(offline, online, planned), planned), None, {}

    def learned(self, notes: None, batch: Batch, agent: PyTree) -> tuple[None, Metrics]:
        del notes, batch, agent
        return None, {}


@dataclass(frozen=True, eq=False)
class PlainReplay:
    """The log and the online data themselves; it has no state."""

    task: Task

    def begin(self, key: PRNGKeyArray) -> None:
        del key

    def start(
        self, state: None, now: Moment, key: PRNGKeyArray, on_pass: OnPass | None = None
    ) -> tuple[None, PRNGKeyArray, Refreshed]:
        """There is nothing to prepare."""
        del state, now, on_pass
        return None, key, Refreshed()

    refresh = start

    def hand_over(self, state: None) -> None:
        del state

    def batches(self, state: None, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        del state
        rows = self.task.draws(now).rows(key, (count, self.task.agent_config.batch_size))
        return Batches(RealRows(), None, None, rows)

    def noted(self, state: None, notes: None) -> None:
        del state, notes

    def pack_hand_over(self, state: None) -> dict:
        del state
        return {}

    def unpack_hand_over(self, fresh: None, kept: dict) -> None:
        del fresh, kept
