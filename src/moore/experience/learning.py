"""The compiled loop of gradient steps: a batch, an update, and notes for the experience."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Shaped

from moore.agents.agent import Agent
from moore.agents.sac import NO_LIMIT
from moore.experience.protocol import Drawing
from moore.lockstep.program import program
from moore.replay.buffer import Replay


@program(
    static_argnames=("how", "agent", "agent_config"),
    donate_argnames=("agent_state", "notes"),
)
def gradient_steps(
    agent_state: PyTree,
    notes: PyTree,
    pool: PyTree,
    planned: PyTree,
    offline: Replay,
    online: Replay,
    keys: Shaped[Array, " steps *key"],
    *,
    how: Drawing,
    agent: Agent,
    agent_config: Any,
) -> tuple[PyTree, PyTree, dict[str, Float[Array, ""]]]:
    """Makes one gradient step for every key; if a result is not finite, all of them are undone.

    Args:
        agent_state: state of the agent (donated).
        notes, pool, planned, how: see `Batches` (the notes are donated).
        offline, online: D_off and D_on.
        keys: (steps,).
        agent, agent_config: the update rule and its settings.

    Returns:
        The agent's state, the notes, and the means of the metrics (of `q_target_max`, where an
        agent has critics, the largest).
    """

    def step(carry: tuple[PyTree, PyTree], step_input):
        state, noted = carry
        drawn, key = step_input
        key_draw, key_update = jax.random.split(key)
        batch, noted, of_draw = how.draw(pool, noted, offline, online, drawn, key_draw)
        new_state, metrics = agent.update(state, batch, key_update, agent_config)
        noted, of_notes = how.learned(noted, batch, state)
        return (new_state, noted), metrics | of_draw | of_notes

    followed = agent.follow(agent_state, online, agent_config)
    (new_state, new_notes), metrics = jax.lax.scan(step, (followed, notes), (planned, keys))
    leaves = jax.tree.leaves(eqx.filter((new_state, new_notes, metrics), eqx.is_inexact_array))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))
    kept, kept_notes = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old), (new_state, new_notes), (agent_state, notes)
    )
    means = {f"losses/{name}": jnp.mean(value) for name, value in metrics.items()}
    if "q_target_max" in metrics:
        means["losses/q_target_max"] = jnp.max(metrics["q_target_max"])
    # Updates that diverged are undone and counted; their losses are no numbers to plot, and neither
    # is a limit that is not known.
    means = {
        name: jnp.where(finite & (jnp.abs(value) < 0.1 * NO_LIMIT), value, jnp.nan)
        for name, value in means.items()
    }
    means["losses/skipped_updates"] = jnp.where(finite, 0.0, keys.shape[0])
    return kept, kept_notes, means
