"""Balanced Replay in small: linear networks, buffers, and the state of its priorities."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from moore.agents import balanced
from moore.agents.balanced import BalancedState
from moore.agents.balanced_config import BalancedConfig
from moore.experience import prioritised
from moore.experience.prioritised import GroupedRows, Priority
from moore.replay import sum_tree
from moore.replay.buffer import Replay, Transition, empty_replay

# Without hidden layers every network is linear, and its numbers can be worked by hand. P0 is 1 for
# a log of 2 rows, and 3 for one of 6. The ratio's first step is 0.5 an entry.
LINEAR = BalancedConfig(
    members=2, hidden=(), sampled_actions=2, batch_size=4, ratio_learning_rate=0.5,
    initial_online_share=0.5, initial_rows=2,
)  # fmt: skip
# The same rooms in most tests, so that few programs are compiled.
LOG, ROOM = 8, 5


class Both(eqx.Module):
    """The agent and the priorities of the rows that it learns from."""

    ensemble: BalancedState
    priority: Priority


def step(state: Both, offline, online, key, config) -> tuple[Both, dict]:
    """One gradient step, as the loop of a run makes it; the stage is the agent's own."""

    def of_stage(is_online: bool):
        how = GroupedRows(
            config.batch_size, offline.capacity, is_online, balanced.row_priorities, config
        )
        key_draw, key_update = jax.random.split(key)
        batch, notes, drawn = how.draw(None, state.priority, offline, online, None, key_draw)
        ensemble, metrics = balanced.update(state.ensemble, batch, key_update, config)
        notes, noted = how.learned(notes, batch, state.ensemble)
        return Both(ensemble, notes), metrics | drawn | noted

    return jax.lax.cond(state.ensemble.online, lambda: of_stage(True), lambda: of_stage(False))


learn = jax.jit(step, static_argnames="config")


def replay(capacity, obs, action=None, reward=None, terminated=True) -> Replay:
    """So many rows of room, the first ones filled; what lies behind them is not a number."""
    rows = len(obs)

    def column(values=None):
        whole = np.full(capacity, np.nan, np.float32)
        whole[:rows] = 0.0 if values is None else values
        return jnp.asarray(whole)

    states = column(obs)[:, None]
    data = Transition(
        obs=states,
        action=column(action)[:, None],
        reward=column(reward),
        next_obs=states,
        terminated=jnp.asarray(np.full(capacity, terminated)),
        truncated=jnp.asarray(np.zeros(capacity, bool)),
    )
    empty = empty_replay(capacity, 1, 1, max_holdout=1)
    return dataclasses.replace(empty, data=data, size=jnp.asarray(rows, jnp.int32))


def linear(network, rows):
    """The layer's weights and biases from rows of (..., inputs and 1, outputs)."""
    rows = np.asarray(rows, np.float32)
    where = lambda n: (n.layers[0].weight, n.layers[0].bias)  # noqa: E731
    return eqx.tree_at(
        where, network, (jnp.asarray(rows[..., :-1, :]), jnp.asarray(rows[..., -1, :]))
    )


def fresh(config=LINEAR) -> BalancedState:
    return balanced.init(jax.random.key(0), 1, 1, config)


def begun(offline, online, config=LINEAR) -> Priority:
    return prioritised.begun(
        offline, online.capacity, config.initial_online_share, config.initial_rows
    )


def started(offline, online, config=LINEAR, *, ratio=(0.0, 31.0, 1.0), is_online=True) -> Both:
    """With w(s, a) = max(ratio . (s, a, 1), 0) and Q(s, a) = s of all critics."""
    state = fresh(config)
    if is_online:
        state = balanced.hand_over(state, config)
    critics = np.zeros((config.members, 2, 3, 1)) + np.asarray([1.0, 0.0, 0.0])[:, None]
    state = eqx.tree_at(
        lambda s: (s.ratio, s.members.critics),
        state,
        (
            linear(state.ratio, np.asarray(ratio)[:, None]),
            linear(state.members.critics, critics),
        ),
    )
    return Both(state, begun(offline, online, config))


def priorities(state) -> np.ndarray:
    return np.asarray(sum_tree.get(state.priority.tree, jnp.arange(state.priority.tree.capacity)))


def with_priorities(state, values, seen):
    """With these priorities, so many online rows among them."""
    tree = sum_tree.build(jnp.asarray(values, jnp.float32))
    assert tree.capacity == state.priority.tree.capacity
    new = dataclasses.replace(state.priority, tree=tree, seen=jnp.asarray(seen, jnp.int32))
    return dataclasses.replace(state, priority=new)


def shapes(state):
    return jax.tree.map(lambda x: (x.shape, x.dtype), state)


def is_finite(tree) -> bool:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
