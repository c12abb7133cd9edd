"""Which rule ends the imagined rollouts of a run: a known one, the user's, or a learned one."""

import jax
import jax.numpy as jnp
import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.dynamics.imagine import TerminationFn
from moore.envs.termination import termination_rule
from moore.errors import InputError


def make_rule(
    config: Config, log: Dataset, env_id: str, low: np.ndarray, high: np.ndarray, key: jax.Array
) -> tuple[TerminationFn, dict | None]:
    """The rule of a run, for actions in [-1, 1]; and a report on it if it was learned."""
    del key
    rule = termination_rule(env_id, spec=config.termination, has_terminals=log.has_terminals)
    _check_rule(rule, config.termination, log)
    return _on_scaled_actions(rule, low, high), None


def _check_rule(rule: TerminationFn, spec: str, log: Dataset) -> None:
    """Raises InputError unless the rule takes one transition and returns one bool."""
    obs = jax.ShapeDtypeStruct((log.obs_dim,), jnp.float32)
    action = jax.ShapeDtypeStruct((log.action_dim,), jnp.float32)
    try:
        ends = jax.eval_shape(rule, obs, action, obs)
        fits = ends.shape == () and ends.dtype == bool
    except Exception as error:
        raise InputError(f"--termination {spec} fails on a row of the log: {error}") from None
    if not fits:
        raise InputError(f"--termination {spec} returns {ends}; expected one bool.")


def _on_scaled_actions(rule: TerminationFn, low: np.ndarray, high: np.ndarray) -> TerminationFn:
    """A rule in the environment's units, for actions in [-1, 1]."""

    def terminated(obs, action, next_obs):
        return rule(obs, low + (action + 1.0) * (0.5 * (high - low)), next_obs)

    return terminated
