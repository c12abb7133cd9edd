"""The uncertainty u(s, a) of Eq. 2, as MOPO estimates it."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def max_std_norm(std: Float[Array, "members *batch outputs"]) -> Float[Array, " *batch"]:
    """u(s, a) = max over all members of ||sigma_k(s, a)||_2.

    All members count, not only the elites, and the norm runs over every output, the reward's
    included, in raw units: lambda has no meaning otherwise (MOPO's fake_env.py with
    penalty_learned_var).
    """
    return jnp.max(jnp.linalg.norm(std, axis=-1), axis=0)


def penalised_reward(
    reward: Float[Array, " *batch"],
    uncertainty: Float[Array, " *batch"],
    penalty_coef: float | Float[Array, ""],
) -> Float[Array, " *batch"]:
    """r~ = r^ - lambda u, Eq. 2."""
    return reward - penalty_coef * uncertainty
