"""Soft lambda-returns along imagined rollouts: what the critics learn, when rollouts are made.

A one-step target moves a value by one step; under a discount of 0.997 it takes tens of thousands of
updates until what is earned at the end of a rollout is known at its beginning. The lambda-return
(Sutton 1988; over imagined rollouts with a lowest value LEQ, ICLR 2025, and Dreamer) takes it from
the rollout itself:

    G_t = r_t + gamma [(1 - lambda) V(s_{t+1}) + lambda (alpha H_{t+1} + G_{t+1})]

or r_t where the step terminates, with the soft value V(s) = min_j Q_j(s, a) + alpha H(s), a ~ pi,
of the target critics, and V(s_{t+1}) alone where the rollout was cut. The rewards are penalised
ones. A target is that of the policy that made the rollout: rows get old with it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents.nets import MLP, Actor, sample_action
from moore.replay.buffer import Transition


class NextState(eqx.Module):
    """What the critics and the policy say of s_{t+1}: its soft value, and alpha H of it."""

    value: Float[Array, "length batch"]
    entropy_bonus: Float[Array, "length batch"]


def follows(happened: Bool[Array, "length batch"]) -> Bool[Array, "length batch"]:
    """Whether the rollout went on after each step: not after its last one, or where it was cut."""
    return jnp.concatenate([happened[1:], jnp.zeros_like(happened[:1])])


def lambda_returns(
    reward: Float[Array, "length batch"],
    terminated: Bool[Array, "length batch"],
    goes_on: Bool[Array, "length batch"],
    next_state: NextState,
    *,
    discount: float,
    trace: float,
    low: float | Float[Array, ""] = -jnp.inf,
    high: float | Float[Array, ""] = jnp.inf,
) -> Float[Array, "length batch"]:
    """G_t of every step, see above.

    Args:
        reward: r_t, penalised.
        terminated: nothing follows s_{t+1}.
        goes_on: the rollout has a step t + 1; elsewhere the value of s_{t+1} stands for the rest.
        next_state: of s_{t+1}.
        discount: gamma.
        trace: lambda; 0: one-step targets, 1: what the rollout earned and the value at its cut.
        low, high: every G_t is clipped to them, before it enters the one before.
    """

    def back(later, step):
        step_reward, ends, more, value, bonus = step
        rest = jnp.where(more, (1.0 - trace) * value + trace * (bonus + later), value)
        target = step_reward + discount * jnp.where(ends, 0.0, rest)
        target = jnp.clip(target, low, high)
        return target, target

    steps = (reward, terminated, goes_on, next_state.value, next_state.entropy_bonus)
    _, targets = jax.lax.scan(back, jnp.zeros_like(reward[0]), steps, reverse=True)
    return targets


def look_ahead(
    actor: Actor,
    target_critics: MLP,
    temperature: Float[Array, ""],
    transitions: Transition,
    key: PRNGKeyArray,
) -> NextState:
    """Values of all next states of a rollout (length, batch), by the policy that made it."""
    action, log_density = sample_action(actor, transitions.next_obs, key)
    inputs = jnp.concatenate([transitions.next_obs, action], axis=-1)
    lowest = jax.vmap(lambda critic: critic(inputs)[..., 0])(target_critics).min(axis=0)
    bonus = -temperature * log_density
    return NextState(lowest + bonus, bonus)
