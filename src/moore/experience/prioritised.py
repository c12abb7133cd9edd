"""Prioritised replay: a row is drawn in proportion to a priority of its own (Lee et al. 2021).

Offline, batches are uniform draws from the log. Online, a sum tree holds the priorities of logged
and online rows, and batches are drawn from it without importance weights. What the paper leaves
open is as in the authors' code (shlee94/Off2OnRL, data_management/prioritized_replay_buffer.py,
core/batch_rl_algorithm.py): logged rows start at priority 1; a new online row gets the largest
priority so far, which starts at P0; a gradient step sets new priorities for the rows of its batch.

Note:
    The largest priority never falls, and P0 is not clipped to the range of priorities. With a large
    log P0 exceeds that range (3000 with 10^6 rows and the authors' share), so that every new row
    starts at P0 until it is drawn for the first time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from moore.errors import InputError
from moore.experience.defaults import packs_nothing, prepares_nothing, unpacks_nothing
from moore.experience.protocol import Batches, Metrics, Moment, Task
from moore.replay import sum_tree
from moore.replay.buffer import GroupedBatch, Replay, as_batch
from moore.replay.sampler import gather
from moore.replay.sum_tree import SumTree

# (agent's state before the step, batch, settings) -> the new priorities of the batch's rows.
Priorities = Callable[[PyTree, GroupedBatch, Any], Float[Array, " rows"]]


class Priority(eqx.Module):
    """The priorities of all rows, which every gradient step changes.

    Attributes:
        tree: one priority for every joint row, including those of rows that will come.
        seen: number of online rows that have a priority.
        largest: the priority of the next new row.
    """

    tree: SumTree
    seen: Int[Array, ""]
    largest: Float[Array, ""]


def first_priority(logged: Int[Array, ""], share: float, initial_rows: int) -> Float[Array, ""]:
    """P0 = n_off rho / ((1 - rho) n), the priority of the first online rows.

    With n = `initial_rows` online rows at P0 and n_off logged rows at 1, online rows hold the share
    rho of the sum of all priorities.

    Raises:
        InputError: the share is 1, which no finite priority gives.
    """
    if share >= 1.0:
        raise InputError(f"initial_online_share = {share}; it must lie below 1.")
    return logged.astype(jnp.float32) * (share / ((1.0 - share) * initial_rows))


def begun(log: Replay, online_rows: int, share: float, initial_rows: int) -> Priority:
    """The log at priority 1, with room for this many online rows."""
    is_logged = jnp.arange(log.capacity + online_rows) < log.size
    return Priority(
        tree=sum_tree.build(is_logged.astype(jnp.float32)),
        seen=jnp.zeros((), jnp.int32),
        largest=first_priority(log.size, share, initial_rows),
    )


def admit(priority: Priority, offline: Replay, online: Replay) -> Priority:
    """Gives the largest priority so far to online rows that are not in the tree yet."""

    def write(i: Int[Array, ""], tree: SumTree) -> SumTree:
        return sum_tree.rewrite(tree, (offline.capacity + i)[None], priority.largest[None])

    tree = jax.lax.fori_loop(priority.seen, online.size, write, priority.tree)
    return replace(priority, tree=tree, seen=online.size)


def online_share(tree: SumTree, logged: int) -> Float[Array, ""]:
    """Probability of drawing a row with index `logged` or above; 0 if all priorities are 0.

    `logged` must lie below the capacity. The rows below it are the leaves of a few whole subtrees,
    whose places depend only on the sizes.
    """
    places, place = [], tree.leaves + logged
    while place & (place - 1):
        if place % 2:
            places.append(place - 1)
        place //= 2
    below = jnp.sum(tree.nodes[jnp.asarray(places, jnp.int32)])
    total = sum_tree.total(tree)
    share = (total - below) / jnp.where(total > 0.0, total, 1.0)
    return jnp.clip(share, 0.0, 1.0)


@dataclass(frozen=True)
class GroupedRows:
    """Draws a batch for the agent, and uniform rows of log and online data for the density ratio.

    Attributes:
        batch_size: number of rows of each of the three batches.
        log_capacity: number of rows of the log's buffer; joint indices from there on are online
            rows.
        online: whether the batch is drawn by priority; if not, it is drawn uniformly from the log.
        priorities, settings: the agent's, see `Priorities`.
    """

    batch_size: int
    log_capacity: int
    online: bool
    priorities: Priorities
    settings: Any

    def draw(
        self, pool: None, notes: Priority, offline: Replay, online: Replay, planned: None,
        key: PRNGKeyArray,
    ) -> tuple[GroupedBatch, Priority, Metrics]:  # fmt: skip
        del pool, planned
        key_tree, key_logged, key_collected = jax.random.split(key, 3)

        def uniform(draw_key: PRNGKeyArray, size: Int[Array, ""]) -> Int[Array, " rows"]:
            # At least 1: offline there are no online rows, and this draw is not used.
            most = jnp.maximum(size, 1)
            return jax.random.randint(draw_key, (self.batch_size,), 0, most, dtype=jnp.int32)

        logged = uniform(key_logged, offline.size)
        collected = offline.capacity + uniform(key_collected, online.size)
        rows = logged
        if self.online:
            notes = admit(notes, offline, online)
            rows = sum_tree.sample(notes.tree, key_tree, self.batch_size, stratified=True)
        batches = (as_batch(gather(offline, online, r), r) for r in (rows, logged, collected))
        share = jnp.mean(rows >= self.log_capacity)
        return GroupedBatch(*batches), notes, {"online_share": share}

    def learned(
        self, notes: Priority, batch: GroupedBatch, agent: PyTree
    ) -> tuple[Priority, Metrics]:
        """Sets new priorities for the rows of the batch, by the agent as it was before the step.

        The metric is the expected online share of the next batch if no row is added.
        """
        if self.online:
            new = self.priorities(agent, batch, self.settings)
            tree = sum_tree.rewrite(notes.tree, batch.batch.row, new)
            notes = replace(notes, tree=tree, largest=jnp.maximum(notes.largest, jnp.max(new)))
        share = online_share(notes.tree, self.log_capacity)
        return notes, {"online_share_expected": share}


@dataclass(frozen=True, eq=False)
class PrioritisedReplay:
    """Draws uniformly from the log, then by priority from all rows; the agent has the settings.

    Attributes:
        task: what the experience is made for.
        priorities: the agent's, see `Priorities`.
    """

    task: Task
    priorities: Priorities

    start = prepares_nothing
    refresh = prepares_nothing
    pack_hand_over = packs_nothing
    unpack_hand_over = unpacks_nothing

    def begin(self, key: PRNGKeyArray) -> Priority:
        del key
        return self._begun(1)

    def hand_over(self, state: Priority) -> Priority:
        """A new tree with room for the online rows."""
        del state
        return self._begun(self.task.online_rows)

    def _begun(self, online_rows: int) -> Priority:
        config = self.task.agent_config
        return begun(self.task.log, online_rows, config.initial_online_share, config.initial_rows)

    def batches(self, state: Priority, now: Moment, key: PRNGKeyArray, count: int) -> Batches:
        del key, count
        config = self.task.agent_config
        how = GroupedRows(
            config.batch_size,
            self.task.log.capacity,
            now.stage == "online",
            self.priorities,
            config,
        )
        return Batches(how, None, state, None)

    def noted(self, state: Priority, notes: Priority) -> Priority:
        del state
        return notes
