"""Soft lambda-returns along imagined rollouts, as targets of the critics.

A one-step target carries a value back by one step. With a discount of 0.997 it takes tens of
thousands of updates until a reward at the end of a rollout changes the value at its beginning. The
lambda-return (Sutton 1988; over imagined rollouts with a lowest value LEQ, ICLR 2025, and Dreamer)
takes it from the rollout itself:

    G_t = r_t + gamma [(1 - lambda) V(s_{t+1}) + lambda (alpha H_{t+1} + G_{t+1})]

or r_t where the step terminates, with the soft value V(s) = min_j Q_j(s, a) + alpha H(s), a ~ pi,
of the target critics, and V(s_{t+1}) alone where the rollout was cut. The rewards are penalised. A
target belongs to the policy that made the rollout, so rows become outdated with it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.agents.nets import MLP, Actor, sample_action
from moore.replay.buffer import Transition


class NextState(eqx.Module):
    """The soft value of s_{t+1}, and alpha H of it."""

    value: Float[Array, "length batch"]
    entropy_bonus: Float[Array, "length batch"]


def follows(happened: Bool[Array, "length batch"]) -> Bool[Array, "length batch"]:
    """Whether the rollout went on after each step."""
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
        terminated: whether the episode ends at s_{t+1}.
        goes_on: whether the rollout has a step t + 1; otherwise the value of s_{t+1} stands for the
            rest.
        next_state: of s_{t+1}.
        discount: gamma.
        trace: lambda. With 0 the targets are one-step targets; with 1 they are the rewards of the
            rollout and the value at its end.
        low, high: bounds to which every G_t is clipped before it enters the previous one.
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
