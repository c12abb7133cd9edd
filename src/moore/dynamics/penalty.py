"""The uncertainty u(s, a) of Eq. 2, as MOPO estimates it or in units of value."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# (obs, action, mean, std, key) -> u of a batch, where every member predicts mean and std of the
# outputs (r, s' - s); the key is for what it draws.
UncertaintyFn = Callable[
    [
        Float[Array, "batch obs"],
        Float[Array, "batch action"],
        Float[Array, "members batch outputs"],
        Float[Array, "members batch outputs"],
        PRNGKeyArray,
    ],
    Float[Array, " batch"],
]


def max_std_norm(std: Float[Array, "members *batch outputs"]) -> Float[Array, " *batch"]:
    """u(s, a) = max over all members of ||sigma_k(s, a)||_2.

    All members count, not only the elites. The norm is over every output, including the reward, in
    raw units, because lambda is defined for these (MOPO's fake_env.py with penalty_learned_var).
    """
    return jnp.max(jnp.linalg.norm(std, axis=-1), axis=0)


def of_std(obs, action, mean, std, key) -> Float[Array, " batch"]:
    """MOPO's u, with the arguments of any uncertainty; only `std` is used."""
    return max_std_norm(std)


def disagreement(
    mean: Float[Array, "members batch outputs"], scale: Float[Array, " outputs"]
) -> Float[Array, " batch"]:
    """How far apart the members' means are: root mean square over the outputs, in units of `scale`.

    Unlike sigma it has no share of the noise of the system, and it does not change with the
    critics: a rollout can be halted by it (NEUBAY, arXiv 2512.04341).
    """
    return jnp.sqrt(jnp.mean((jnp.std(mean, axis=0) / scale[None]) ** 2, axis=-1))


def value_spread(
    reward: Float[Array, "members batch"],
    next_value: Float[Array, "members batch"],
    discount: float,
) -> Float[Array, " batch"]:
    """u(s, a) = std over the members of r_k + gamma V(s'_k), their disagreement in value.

    MOPO's guarantee needs lambda u to cover the models' error in value (Yu et al. 2020, section
    4.2). In this unit lambda is a pure number. Sun et al. (2023, MOBILE) penalise such a spread in
    the targets of the critics.
    """
    return jnp.std(reward + discount * next_value, axis=0)


def penalised_reward(
    reward: Float[Array, " *batch"],
    uncertainty: Float[Array, " *batch"],
    penalty_coef: float | Float[Array, ""],
) -> Float[Array, " *batch"]:
    """r~ = r^ - lambda u, Eq. 2."""
    return reward - penalty_coef * uncertainty
