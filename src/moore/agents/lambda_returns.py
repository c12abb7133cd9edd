"""Lambda-returns along imagined rollouts: what a critic of states learns, and advantages.

A one-step target moves a value by one step; under a discount of 0.997 it takes tens of thousands of
updates until what is earned at the end of a rollout is known at its beginning. The lambda-return
(Sutton 1988) takes it from the rollout itself:

    G_t = r_t + gamma [(1 - lambda) V(s_{t+1}) + lambda G_{t+1}]

or r_t where the step terminates, and V(s_{t+1}) alone for the rest where the rollout was cut.
G_t - V(s_t) is the generalised advantage of the action (Schulman et al. 2016, Eq. 16). Both are of
the policy that made the rollout.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def lambda_returns(
    reward: Float[Array, "length batch"],
    terminated: Bool[Array, "length batch"],
    goes_on: Bool[Array, "length batch"],
    next_value: Float[Array, "length batch"],
    *,
    discount: float,
    trace: float,
) -> Float[Array, "length batch"]:
    """G_t of every step, see above.

    Args:
        reward: r_t, penalised.
        terminated: nothing follows s_{t+1}.
        goes_on: step t + 1 of the rollout begins at s_{t+1}; elsewhere the value of s_{t+1} stands
            for the rest. What is said of the last step does not matter: it has no next one.
        next_value: V(s_{t+1}).
        discount: gamma.
        trace: lambda; 0: one-step targets, 1: what the rollout earned and the value at its cut.
    """
    goes_on = goes_on.at[-1].set(False)

    def back(later, step):
        step_reward, ends, more, value = step
        rest = jnp.where(more, (1.0 - trace) * value + trace * later, value)
        target = step_reward + discount * jnp.where(ends, 0.0, rest)
        return target, target

    steps = (reward, terminated, goes_on, next_value)
    _, targets = jax.lax.scan(back, jnp.zeros_like(reward[0]), steps, reverse=True)
    return targets
