"""Chooses the termination rule of a run: a known one, the user's, or a learned one."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from moore.config import Config
from moore.data.dataset import Dataset
from moore.dynamics.imagine import TerminationFn
from moore.dynamics.terminal import learned_rule
from moore.dynamics.terminal_fit import fit_terminal
from moore.envs.termination import never, termination_rule
from moore.errors import InputError
from moore.replay.buffer import Transition
from moore.runs.termination_check import check_rule_against
from moore.units import AS_GIVEN, Units

# Folded into the run's first key, for a stream that no training draw uses. Large, because
# fold_in(key, i) is the i-th of split(key, n).
_STREAM = 0x656E6473  # "ends" in ASCII


@dataclass(frozen=True)
class InAgentsUnits:
    """A rule in the user's units that takes transitions in the agent's units.

    Two of them with the same rule and units are equal, so that no program is compiled twice.

    Attributes:
        rule: the rule for observations and actions in the user's units.
        low, high: (action,) bounds of the environment's own actions.
        units: units of the observations.
    """

    rule: TerminationFn
    low: tuple[float, ...]
    high: tuple[float, ...]
    units: Units

    def __call__(
        self,
        obs: Float[Array, " obs"],
        action: Float[Array, " action"],
        next_obs: Float[Array, " obs"],
    ) -> Bool[Array, ""]:
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        own = (action + 1.0) * (0.5 * (high - low)) + low
        return self.rule(self.units.obs_out(obs), own, self.units.obs_out(next_obs))


def make_rule(
    config: Config,
    log: Dataset | None,
    env_id: str,
    obs_dim: int,
    low: np.ndarray,
    high: np.ndarray,
    key: jax.Array,
    units: Units = AS_GIVEN,
) -> tuple[TerminationFn, dict | None]:
    """The rule of a run in the agent's units, and a report on it if it was learned.

    Args:
        config: its `termination` is "learned", or a spec of `termination_rule`.
        log: log with the examples for a learned rule; None for an algorithm without one.
        env_id: id of the environment.
        obs_dim: number of entries of its observations.
        low, high: (action_dim,) bounds of the environment's own actions.
        key: first key of the run, from which the fit derives a stream of its own.
        units: conversion of the user's units to the agent's. A known rule and the user's rule take
            the user's units; a learned one is fitted in the agent's units.

    Returns:
        The rule, and for "learned" the report of `fit_terminal`; {"rule": "never", ...} where the
        log has no terminal to learn from.

    Raises:
        InputError: the rule is unknown, does not take a transition, or cannot be learned from the
            log.
    """
    report = None
    if config.termination == "learned":
        if log is None:
            raise InputError("--termination learned needs a log with terminals to learn from.")
        rule, report = _learn(log, jax.random.fold_in(key, _STREAM), units)
        units = AS_GIVEN
    else:
        ends = log is None or log.has_terminals
        rule = termination_rule(env_id, spec=config.termination, has_terminals=ends)
    _check_rule(rule, config.termination, obs_dim, low.size)
    if report is None and log is not None:
        check_rule_against(log, rule, spec=config.termination, env_id=env_id)
    if rule is never:
        return never, report  # it is the same in all units
    return InAgentsUnits(rule, tuple(low.tolist()), tuple(high.tolist()), units), report


def _learn(log: Dataset, key: jax.Array, units: Units) -> tuple[TerminationFn, dict]:
    """Learns a rule for observations in the agent's units and the environment's own actions.

    So the rule is the same whatever the user's units are. Its report is returned too.
    """
    if not log.has_terminals:
        return never, {"rule": "never", "terminals": 0, "rows": log.size}
    data = Transition(log.obs, log.action, log.reward, log.next_obs, log.terminated, log.truncated)
    head, report = fit_terminal(units.transition_in(data), log.successor_known, key)
    return learned_rule(head), report


def _check_rule(rule: TerminationFn, spec: str, obs_dim: int, action_dim: int) -> None:
    """Raises InputError unless the rule takes one transition and returns one bool."""
    obs = jax.ShapeDtypeStruct((obs_dim,), jnp.float32)
    action = jax.ShapeDtypeStruct((action_dim,), jnp.float32)
    try:
        ends = jax.eval_shape(rule, obs, action, obs)
        fits = ends.shape == () and ends.dtype == bool
    except Exception as error:
        raise InputError(f"--termination {spec} fails on a transition: {error}") from None
    if not fits:
        raise InputError(f"--termination {spec} returns {ends}; expected one bool.")
