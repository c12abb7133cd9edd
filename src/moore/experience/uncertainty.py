"""The uncertainty u(s, a) that a configuration asks for."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from moore.agents.agent import Agent
from moore.dynamics.blocks import each_member
from moore.dynamics.ensemble import Normaliser
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.penalty import UncertaintyFn, of_std, value_spread
from moore.errors import InputError
from moore.experience.settings import RolloutSettings


def make_uncertainty(
    settings: RolloutSettings,
    agent: Agent,
    agent_state: PyTree,
    terminated_fn: TerminationFn,
    spread: Normaliser | None = None,
) -> UncertaintyFn | None:
    """u of Eq. 2; `uncertainty` is "std" or "value", or "none", which gives None.

    Args:
        settings: `uncertainty`, `discount` and `imagined_bound` are used. A prediction beyond the
            bound is valued as if it lay on the bound.
        agent, agent_state: the critics that value the states.
        terminated_fn: the termination rule; a state that ends the episode has the value 0.
        spread: the unit of the bound, as in `rollout`.

    Raises:
        InputError: `uncertainty` is "value", and the agent values no states.
    """
    if settings.uncertainty == "none":
        return None
    if settings.uncertainty == "std":
        return of_std
    bound, value = settings.imagined_bound, agent.value
    if value is None:
        raise InputError(
            f"uncertainty is value, and the agent {agent.name} has no critics that can tell it; "
            "give --uncertainty std."
        )
    low: float | Array = -bound
    high: float | Array = bound
    if spread is not None:
        low, high = ((spread.mean + end * spread.std)[None] for end in (-bound, bound))

    def of_values(obs, action, mean, std, key: PRNGKeyArray) -> Float[Array, " batch"]:
        def next_value(member: Float[Array, "batch outputs"]) -> Float[Array, " batch"]:
            next_obs = obs + member[:, 1:]
            ends = jax.vmap(terminated_fn)(obs, action, next_obs)
            # The key is the same for every member, so that they do not differ by the drawn action.
            same = jax.random.clone(key)
            values = value(agent_state, jnp.clip(next_obs, low, high), same)
            return jnp.where(ends, 0.0, values)

        return value_spread(mean[..., 0], each_member(next_value, mean), settings.discount)

    return of_values
