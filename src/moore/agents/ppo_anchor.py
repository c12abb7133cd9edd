"""The anchor of proximal policy optimisation: the policy that learning is pulled to, and how much.

The pull grows with the square of the doubt about the models, which is their error about what the
anchor earns.
"""

import dataclasses

import equinox as eqx
import jax.numpy as jnp

from moore.agents.nets import Actor
from moore.agents.ppo_config import PPOConfig
from moore.agents.ppo_state import RATE, PPOState, actor_optimiser
from moore.trees import copied


def begin_with(state: PPOState, policy: Actor, config: PPOConfig, doubt: float = 1.0) -> PPOState:
    """The agent with this policy as its actor and as the anchor that it stays near."""
    begun = begun_anew(state, policy, config)
    pull, known = jnp.full_like(state.pull, config.anchor), jnp.full_like(state.doubt, doubt)
    return dataclasses.replace(begun, pull=pull, doubt=known)


def begun_anew(state: PPOState, policy: Actor, config: PPOConfig) -> PPOState:
    """Learning begins at this policy, with the noise of the settings; the critic goes on."""
    last = policy.trunk.layers[-1]
    count = last.bias.size // 2
    heads = last.weight.at[:, count:].set(0.0), last.bias.at[count:].set(config.log_std)
    actor = eqx.tree_at(
        lambda x: (x.trunk.layers[-1].weight, x.trunk.layers[-1].bias), policy, heads
    )
    return dataclasses.replace(
        state,
        actor=copied(actor),
        average=copied(actor),
        anchor=copied(actor),
        actor_opt=actor_optimiser().init(actor),
        rate=jnp.full_like(state.rate, RATE),
    )
