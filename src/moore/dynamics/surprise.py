"""How well the models predict transitions that they have not been fitted to."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from moore.dynamics.ensemble import Ensemble, predict_all
from moore.dynamics.inputs import inputs_and_targets
from moore.dynamics.penalty import UncertaintyFn, max_std_norm
from moore.replay.buffer import Transition

# Of a standard normal variable, 95% lies within.
QUANTILE_95 = 1.959964


def uncertainty_of(
    ensemble: Ensemble, seen: Transition, uncertainty_fn: UncertaintyFn, key: PRNGKeyArray
) -> Float[Array, " rows"]:
    """u(s, a) of real transitions (rows,)."""
    mean, std = predict_all(ensemble, inputs_and_targets(seen)[0])
    return uncertainty_fn(jnp.asarray(seen.obs), jnp.asarray(seen.action), mean, std, key)


def surprise(
    ensemble: Ensemble, new: Transition, there: Bool[Array, " rows"] | None = None
) -> dict[str, Float[Array, ""]]:
    """The error of one-step predictions, compared with the error that the models expect.

    Let z = (y - mu_k) / sigma_k for the outputs y = (r, s' - s) and every member k.

    Args:
        ensemble: an ensemble that was fitted without these transitions.
        new: transitions (rows,).
        there: which rows count; None for all. Without any row the results are NaN.

    Returns:
        new_mse: mean of (y - mu_k)^2, comparable with the holdout error.
        new_z: root mean square of z; 1 if sigma is right, above 1 if the models are overconfident.
        new_coverage: share of |z| < 1.96; 0.95 if errors are normal and sigma is right.
        new_admissible: share of the transitions for which u(s, a) is at least the norm of the error
            of the members' mean, so that u is an admissible error estimator (MOPO, definition 4.1).
            This is MOPO's u (from standard deviations), even if the run uses another one.
    """
    inputs, targets = inputs_and_targets(new)
    mean, std = predict_all(ensemble, inputs)
    targets = targets[None]
    z = (targets - mean) / std
    error = jnp.linalg.norm(targets[0] - mean.mean(axis=0), axis=-1)
    rows = None if there is None else there[:, None]  # broadcast over members and outputs
    return {
        "new_mse": jnp.mean((targets - mean) ** 2, where=rows),
        "new_z": jnp.sqrt(jnp.mean(z**2, where=rows)),
        "new_coverage": jnp.mean(jnp.abs(z) < QUANTILE_95, where=rows),
        "new_admissible": jnp.mean(error <= max_std_norm(std), where=there),
    }
