"""Balanced Replay (Lee et al. 2021): the agent of `balanced`, with the draws that it learns from.

Offline, its batches are uniform draws from the log. Online, a row of the log or of the online data
is drawn in proportion to a priority, which follows the density ratio d_on / d_off of `balanced`:
logged rows that look like online ones come up more often than others. There are no weights against
this bias. A sum tree over both groups of rows holds the priorities.
What the paper leaves open is as in the authors' code (shlee94/Off2OnRL,
data_management/prioritized_replay_buffer.py, core/batch_rl_algorithm.py, torch/sac/ours.py):
logged rows start at priority 1, a new online row gets the largest priority so far, which starts
at P0, and a gradient step rewrites the priorities of the rows of its batch alone.

Note:
    The largest priority never falls, and P0 is not cut to `priority_range`. With a large log P0
    exceeds that range (3000 with 10^6 rows and the authors' share), so that every new row starts at
    P0 until it is drawn for the first time.
"""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from moore.agents import balanced
from moore.agents.balanced import BalancedConfig, BalancedState, Mixture
from moore.agents.balanced import act as act
from moore.agents.balanced import act_mode as act_mode
from moore.errors import InputError
from moore.replay import sum_tree
from moore.replay.buffer import Batch, Replay, as_batch
from moore.replay.sampler import gather
from moore.replay.sum_tree import SumTree

Metrics = dict[str, Float[Array, ""]]


class BalancedReplayState(eqx.Module):
    """All that a step changes.

    `tree`: a priority for every joint row, the room for rows to come included. `seen`: online rows
    that have one. `largest`: the priority of the next new row.
    """

    ensemble: BalancedState
    tree: SumTree
    seen: Int[Array, ""]
    largest: Float[Array, ""]


class Draws(eqx.Module):
    """The batches of one step: what the agents learn from, and uniform rows of either group.

    `is_online`: which rows of the first one are online data.
    """

    batch: Batch
    logged: Batch
    collected: Batch
    is_online: Bool[Array, " rows"]


def init(
    key: PRNGKeyArray, obs_dim: int, action_dim: int, config: BalancedConfig
) -> BalancedReplayState:
    """A fresh ensemble, and a tree without priorities until `look` has seen the buffers."""
    return BalancedReplayState(
        ensemble=balanced.init(key, obs_dim, action_dim, config),
        tree=sum_tree.empty(1),
        seen=jnp.zeros((), jnp.int32),
        largest=jnp.ones(()),
    )


def first_priority(logged: Int[Array, ""], config: BalancedConfig) -> Float[Array, ""]:
    """P0 = n_off rho / ((1 - rho) n), the priority of the first online rows.

    With n = `initial_rows` of them, and the n_off logged rows at 1, online rows hold the share rho
    of all priority.

    Raises:
        InputError: a share of 1, which no priority gives.
    """
    share = config.initial_online_share
    if share >= 1.0:
        raise InputError(f"initial_online_share = {share}; it must lie below 1.")
    return logged.astype(jnp.float32) * (share / ((1.0 - share) * config.initial_rows))


def look(
    state: BalancedReplayState, offline: Replay, online: Replay, config: BalancedConfig
) -> BalancedReplayState:
    """Builds the tree where the buffers have another size than it; then no online row is in it."""
    capacity = offline.capacity + online.capacity
    if state.tree.capacity == capacity:
        return state
    is_logged = jnp.arange(capacity) < offline.size
    return replace(
        state,
        tree=sum_tree.build(is_logged.astype(jnp.float32)),
        seen=jnp.zeros((), jnp.int32),
        largest=first_priority(offline.size, config),
    )


def hand_over(state: BalancedReplayState, config: BalancedConfig) -> BalancedReplayState:
    """From here on the ensemble learns online, from what the tree draws."""
    return replace(state, ensemble=balanced.hand_over(state.ensemble, config))


def admit(state: BalancedReplayState, offline: Replay, online: Replay) -> BalancedReplayState:
    """Online rows that are new to the tree get the largest priority; offline nothing happens."""
    until = jnp.where(state.ensemble.online, online.size, state.seen)

    def write(i: Int[Array, ""], tree: SumTree) -> SumTree:
        return sum_tree.rewrite(tree, (offline.capacity + i)[None], state.largest[None])

    tree = jax.lax.fori_loop(state.seen, until, write, state.tree)
    return replace(state, tree=tree, seen=until)


def online_share(tree: SumTree, logged: int) -> Float[Array, ""]:
    """The probability of drawing a row from `logged` on; 0 while all priorities are 0.

    `logged` lies below the capacity. The rows below it are the leaves of a few whole subtrees,
    whose places the sizes alone determine.
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


def draw(
    state: BalancedReplayState,
    offline: Replay,
    online: Replay,
    key: PRNGKeyArray,
    config: BalancedConfig,
) -> Draws:
    """Online the batch is drawn from the tree, stratified; offline it is uniform over the log."""
    key_tree, key_logged, key_collected = jax.random.split(key, 3)
    shape = (config.batch_size,)

    def uniform(draw_key: PRNGKeyArray, size: Int[Array, ""]) -> Int[Array, " rows"]:
        # At least one row: offline there are no online ones, and what is drawn is not used.
        return jax.random.randint(draw_key, shape, 0, jnp.maximum(size, 1), dtype=jnp.int32)

    by_priority = sum_tree.sample(state.tree, key_tree, config.batch_size, stratified=True)
    logged = uniform(key_logged, offline.size)
    collected = offline.capacity + uniform(key_collected, online.size)
    rows = jnp.where(state.ensemble.online, by_priority, logged)
    batches = (as_batch(gather(offline, online, r), r) for r in (rows, logged, collected))
    return Draws(*batches, is_online=rows >= offline.capacity)


def learn_offline(
    ensemble: BalancedState, draws: Draws, key: PRNGKeyArray, config: BalancedConfig
) -> tuple[BalancedState, Float[Array, " rows"], Metrics]:
    """A step of CQL; in place of priorities, zeros."""
    ensemble, metrics = balanced.update_offline(ensemble, draws.batch, key, config)
    names = ("ratio_loss", "ratio_offline", "ratio_online", "online_share")
    nothing = {name: jnp.zeros(()) for name in names}
    return ensemble, jnp.zeros(config.batch_size), metrics | nothing


def learn_online(
    ensemble: BalancedState, draws: Draws, key: PRNGKeyArray, config: BalancedConfig
) -> tuple[BalancedState, Float[Array, " rows"], Metrics]:
    """A step of SAC and one of the density ratio; the batch's new priorities.

    The priorities are those of the ratio before its step.
    """
    priorities = balanced.priorities(ensemble, draws.batch, draws.logged, config)
    ensemble, ratio_metrics = balanced.update_ratio(ensemble, draws.logged, draws.collected, config)
    ensemble, metrics = balanced.update_online(ensemble, draws.batch, key, config)
    metrics = metrics | ratio_metrics | {"online_share": jnp.mean(draws.is_online)}
    return ensemble, priorities, metrics


def learn(
    state: BalancedReplayState,
    offline: Replay,
    online: Replay,
    key: PRNGKeyArray,
    config: BalancedConfig,
) -> tuple[BalancedReplayState, Metrics]:
    """One gradient step of all networks, on batches that it draws itself.

    The metrics are those of the ensemble's update and of the density ratio's (0 offline), the
    `online_share` of the batch, and `online_share_expected`, that of the next one if no row comes.

    Args:
        state: after `look` on these buffers.
        offline: the log; one row at least.
        online: the online data; after the hand-over one row at least.
        key: of the draws and the update.
        config: constants.

    Raises:
        ValueError: the tree is not that of these buffers.
    """
    capacity = offline.capacity + online.capacity
    if state.tree.capacity != capacity:
        raise ValueError(
            f"the tree holds {state.tree.capacity} rows, the buffers {capacity}; call `look` first."
        )
    key_draw, key_update = jax.random.split(key)
    is_online = state.ensemble.online
    state = admit(state, offline, online)
    draws = draw(state, offline, online, key_draw, config)

    # So that the tree is rewritten in place: it stays out of the conditional, and no metric from
    # here on is computed from what it was before, or from the rows that it gave. Otherwise XLA
    # (jax 0.10.2, CPU) reads the old tree late, and so copies it in every step.
    ensemble, priorities, metrics = jax.lax.cond(
        is_online,
        lambda: learn_online(state.ensemble, draws, key_update, config),
        lambda: learn_offline(state.ensemble, draws, key_update, config),
    )
    rows = jnp.where(is_online, draws.batch.row, -1)
    tree = sum_tree.rewrite(state.tree, rows, priorities)
    metrics["online_share_expected"] = online_share(tree, offline.capacity)
    new_state = BalancedReplayState(
        ensemble=ensemble,
        tree=tree,
        seen=state.seen,
        largest=jnp.maximum(state.largest, jnp.max(priorities)),  # offline those are 0
    )
    return new_state, metrics


def policy(state: BalancedReplayState) -> Mixture:
    """What acts and is evaluated, in both stages."""
    return balanced.policy(state.ensemble)
