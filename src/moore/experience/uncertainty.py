"""Which u(s, a) a configuration asks for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.ensemble import Normaliser
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.penalty import UncertaintyFn, of_std, value_spread
from moore.experience.settings import RolloutSettings


def make_uncertainty(
    settings: RolloutSettings,
    agent: Agent,
    agent_state: PyTree,
    terminated_fn: TerminationFn,
    spread: Normaliser | None = None,
) -> UncertaintyFn | None:
    """u of Eq. 2, for `uncertainty` "std" or "value"; None for "none".

    Args:
        settings: uses `uncertainty`, `discount` and `imagined_bound`: what a member predicts
            beyond the bound is valued as if it lay on it.
        agent, agent_state: their critics value the states.
        terminated_fn: a state that ends the episode is worth nothing.
        spread: what the bound counts in, as in `rollout`.
    """
    if settings.uncertainty == "none":
        return None
    if settings.uncertainty == "std":
        return of_std
    low, high = -settings.imagined_bound, settings.imagined_bound
    if spread is not None:
        low, high = (spread.mean + bound * spread.std for bound in (low, high))

    def of_values(obs, action, mean, std, key: PRNGKeyArray) -> Float[Array, " batch"]:
        def next_value(member: Float[Array, "batch outputs"]) -> Float[Array, " batch"]:
            next_obs = obs + member[:, 1:]
            ends = jax.vmap(terminated_fn)(obs, action, next_obs)
            # The same key for every member: they must not differ by the action that is drawn.
            values = agent.value(agent_state, jnp.clip(next_obs, low, high), key)
            return jnp.where(ends, 0.0, values)

        return value_spread(mean[..., 0], jax.vmap(next_value)(mean), settings.discount)

    return of_values
