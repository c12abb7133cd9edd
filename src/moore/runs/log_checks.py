"""Checks before training whether an algorithm can use a log."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.algorithms import Algorithm
from moore.config import Config
from moore.data.dataset import Dataset
from moore.data.intervals import MORE, row_seconds, span
from moore.envs.bounds import Bounds
from moore.envs.termination import known_environments, termination_rule
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores

# Share of action entries at the border of the bounds from which on a note is printed.
_MANY = 0.05
# Share of unflagged ends, relative to flagged ones, that rounding at the limits may explain.
_ROUNDED = 0.01


def check_log_suits(algorithm: Algorithm, log: Dataset, env_id: str) -> None:
    """Refuses a log from which the algorithm would learn nothing or something wrong.

    Raises:
        InputError: all rewards are 0, or equal while no episode ends; or, for agents that learn
            from the logged rows themselves, rows in which the environment ended are not flagged as
            terminal.
    """
    check_rewards(log)
    if not algorithm.experience.has_models and env_id in known_environments():
        # A model-based algorithm uses the termination rule; the others trust the flags of the log.
        rule = jax.vmap(termination_rule(env_id, spec="auto", has_terminals=log.has_terminals))
        ends = np.asarray(jax.jit(rule)(log.obs, log.action, log.next_obs))
        missed = ends & ~log.terminated & log.successor_known
        # A few states may lie within rounding of the limits; if there are more, flags are missing.
        if missed.sum() > _ROUNDED * log.terminated.sum():
            raise InputError(
                f"{log.name}: {missed.sum():,} rows (first: {int(missed.argmax())}) lead to a "
                f"state that ends {env_id} and are not terminal, so {algorithm.agent.name} would "
                "learn values beyond the end; flag them, or name their environment (--env-id)."
            )


def check_rewards(log: Dataset) -> None:
    """Refuses a log by whose rewards no policy is better than another.

    Raises:
        InputError: all rewards are 0, or equal while no episode ends.
    """
    if np.ptp(log.reward) == 0 and (log.reward[0] == 0 or not log.has_terminals):
        why = "" if log.reward[0] == 0 else " and no row is terminal"
        raise InputError(
            f"{log.name}: every reward is {log.reward[0] + 0:g}{why}, so no policy is better than "
            "another; log the true reward."
        )


def check_gate(algorithm: Algorithm, config: Config) -> None:
    """Refuses settings of gate, clone and dip budget that do not fit the algorithm.

    Raises:
        InputError: no log shows how episodes begin, `gate.earned` is used together with random
            warm-up steps, or the algorithm has no agent of its own for `online.rehearsal_epochs` or
            `offline.log_updates`.
    """
    if config.gate.enabled and config.gate.earned and config.online.random_steps:
        raise InputError(
            "gate.earned judges by what the acting policy earns, but the first "
            f"{config.online.random_steps} steps are random (online.random_steps); leave one of "
            "the two out."
        )
    if config.dip_budget and not algorithm.uses_log:
        raise InputError(
            f"dip_budget is a share of what a reference controller earns, but {config.algorithm} "
            "has no log of one; leave dip_budget out, or take an algorithm with a log."
        )
    if config.online.rehearsal_epochs and len(algorithm.agent.parts) < 2:
        raise InputError(
            f"online.rehearsal_epochs is {config.online.rehearsal_epochs}, but {config.algorithm} "
            "has no agent of its own that learns in the models; take moore_safe, or leave it out."
        )
    if config.offline.log_updates and len(algorithm.agent.parts) < 2:
        raise InputError(
            f"offline.log_updates is {config.offline.log_updates:,}, but {config.algorithm} has no "
            "agent of its own that learns in the system; take moore_safe, or leave it out."
        )
    if config.clone and not (algorithm.experience.has_models and config.gate.enabled):
        raise InputError(
            "clone needs models that judge when another policy is better: set gate.enabled, and "
            "take an algorithm that learns in models of the system."
        )
    whole = config.gate.enabled and config.gate.horizon is None
    if whole and algorithm.experience.has_models and not algorithm.uses_log:
        raise InputError(
            "gate.enabled compares episodes that begin where those of the log begin, but "
            f"{config.algorithm} has no log; give gate.horizon."
        )


def note_on_log(
    algorithm: Algorithm, agent_config: Any, log: Dataset, bounds: Bounds
) -> str | None:
    """A note for the user about this log with this algorithm; None if there is none."""
    if not algorithm.agent.scores_actions(agent_config):
        return None
    free = bounds.low < bounds.high
    at_border = (log.action <= bounds.low) | (log.action >= bounds.high)
    share = float(np.mean(at_border[:, free]))
    if share <= _MANY:
        return None
    return (
        f"{share:.0%} of the logged action entries lie at the border of the bounds, where a tanh "
        f"policy has no density; {algorithm.agent.name} scores them a little inside."
    )


def with_return_scale(
    config: AdaptiveBCConfig, log: Dataset, reference: ReferenceScores | None
) -> AdaptiveBCConfig:
    """Settings with the returns that count as 0 and 1, from the reference scores or the log.

    Raises:
        InputError: there are no reference scores, and the log has no two complete episodes whose
            returns differ.
    """
    low: float | None
    high: float | None
    returns = log.episode_returns
    if reference is not None:
        low, high = reference.random, reference.expert
    elif len(returns) and returns.min() < returns.max():
        low, high = float(returns.min()), float(returns.max())
    else:
        low = high = None
    low = low if config.return_low is None else config.return_low
    high = high if config.return_high is None else config.return_high
    if low is None or high is None:
        raise InputError(
            f"{log.name} has no two complete episodes of different return, and no reference "
            "returns are known; give --adaptive-bc.return-low and --adaptive-bc.return-high."
        )
    return replace(config, return_low=low, return_high=high)


def check_interval(config: Config, log: Dataset | None) -> None:
    """Raises InputError if the log's rows are known to lie further apart than its steps, or less.

    The discount would otherwise be that of another horizon than the one that was asked for.
    """
    rows, interval = None if log is None else row_seconds(log.metadata), config.control_interval
    if log is None or rows is None or interval is None or 1 / MORE < interval / rows < MORE:
        return
    raise InputError(
        f"control_interval is {interval:g} s, and {log.name} has a row every {span(rows)}; a row "
        "is a step of control, so give that time, in seconds."
    )


def with_horizon(config: Config, sections: Iterable[str]) -> Config:
    """With a horizon of three settling times in these agents' sections, if the time is given."""
    if config.settling_time is None or config.control_interval is None:
        return config
    discount = 1.0 - config.control_interval / (3.0 * config.settling_time)
    settings = {name: replace(getattr(config, name), discount=discount) for name in sections}
    return replace(config, **settings)


def discount_for(
    config: Config, agent_settings: Any, log: Dataset, step_limit: int | None
) -> float:
    """The discount with a horizon that is long enough to notice an early termination.

    It is 1 - n / limit with n = `horizons_per_episode` if the log has terminals and this is above
    the given discount, otherwise the given discount. The limit is that of the environment, or the
    length of the longest logged episode.
    """
    given, wanted = agent_settings.discount, config.horizons_per_episode
    if wanted is None or not log.has_terminals:
        return given
    longest = int(log.episode_lengths.max(initial=0))
    return max(given, 1.0 - wanted / max(step_limit or longest, 1))


def resolved(
    config: Config,
    algorithm: Algorithm,
    log: Dataset,
    reference: ReferenceScores | None,
    step_limit: int | None,
) -> Config:
    """The configuration with the settings that the log and the environment determine."""
    agent = algorithm.agent
    if agent.name == "adaptive_bc":
        # Config declares one section of an agent, and finds the others when it is made.
        section: dict[str, Any] = {
            agent.name: with_return_scale(config.adaptive_bc, log, reference)
        }
        return replace(config, **section)
    if agent.long_horizon and algorithm.uses_log:
        settings = getattr(config, agent.name)
        discount = discount_for(config, settings, log, step_limit)
        return replace(config, **{agent.name: replace(settings, discount=discount)})
    return config
