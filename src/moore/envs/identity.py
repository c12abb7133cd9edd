"""Which environment is it? The answer depends on the environment, not on what a log calls it."""

import gymnasium as gym
from gymnasium.wrappers import (
    NormalizeObservation,
    NormalizeReward,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    RecordVideo,
    TimeLimit,
)

from moore.data.dataset import Dataset
from moore.data.log import parts_of
from moore.envs.adapter import Adapter
from moore.envs.make import EnvSource, Registered
from moore.envs.termination import known_environments
from moore.envs.trusted_id import trusted_env_id
from moore.errors import InputError

# The id of an environment that has none.
CUSTOM = "custom"
# Wrappers under which observations, rewards and ends stay what they are.
_TRANSPARENT = (
    Adapter,
    OrderEnforcing,
    PassiveEnvChecker,
    RecordEpisodeStatistics,
    RecordVideo,
    TimeLimit,
)


def find_source(
    env: EnvSource | None, env_id: str, env_args: str, log: Dataset | None
) -> EnvSource | None:
    """How to make the environment: the given one, else the one of the configuration or the log.

    An id is made with the given arguments. If none are given and the log names the same id, it is
    made with the arguments that the log was recorded with.

    Args:
        env: id or function; None if it is not given.
        env_id, env_args: those of the configuration; empty if they are not given.
        log: the log, which may name an environment; None if there is none.

    Returns:
        The source of the environment; None if nothing names an environment.

    Raises:
        InputError: only the log names an environment, and its id would import a module.
    """
    if callable(env):
        return env
    if env is not None and not isinstance(env, str):
        raise InputError(
            f"env is a {type(env).__name__}; give an id, or a function that makes the environment: "
            "env=lambda: ..."
        )
    logged = None if log is None else log.env_id
    where = "" if log is None else f"the log {log.name}"
    chosen = trusted_env_id(env or env_id, logged, where=where)
    if chosen is None:
        return None
    recorded = logged_arguments(log) if chosen == logged else ""
    return Registered(chosen, env_args or recorded)


def logged_arguments(log: Dataset | None) -> str:
    """The arguments of `gymnasium.make` that the log was recorded with, as JSON; else empty."""
    if log is None:
        return ""
    parts = parts_of(log.metadata) or [log.metadata]
    found = {text for part in parts if isinstance(text := part.get("env_args"), str)}
    if len(found) > 1:
        raise InputError(
            f"the parts of {log.name} were recorded with different arguments of the environment: "
            f"{', '.join(sorted(found))}; choose those for the evaluation with --env-args."
        )
    return found.pop() if found else ""


def name_of(source: EnvSource, made: gym.Env, label: str) -> str:
    """The id under which rules and reference scores are looked up.

    If a function makes the environment, the id is that of its registration, provided that no
    wrapper changes what it shows. Otherwise it is the configuration's label, unless that names
    another environment.

    Args:
        source: id, or function that makes the environment.
        made: an environment that `source` has made.
        label: `env_id` of the configuration; may be empty.
    """
    if isinstance(source, str):
        return source
    if isinstance(source, Registered):
        return source.env_id
    layer = made
    while isinstance(layer, gym.Wrapper):
        if not isinstance(layer, (*_TRANSPARENT, gym.ActionWrapper)):
            break
        layer = layer.env
    spec = None if isinstance(layer, gym.Wrapper) else layer.spec
    if spec is not None:
        return spec.id
    foreign = label in known_environments() or label in gym.registry
    return CUSTOM if foreign or not label else label


def refuse_normalisers(env: gym.Env, name: str) -> None:
    """Refuses wrappers that normalise by running statistics, which each environment has of its own.

    Raises:
        InputError: there is such a wrapper.
    """
    layer = env
    while isinstance(layer, gym.Wrapper):
        learns = getattr(layer, "update_running_mean", False)
        if isinstance(layer, NormalizeObservation | NormalizeReward) and learns:
            raise InputError(
                f"{name} is wrapped in {type(layer).__name__}: its statistics change while it runs "
                "and differ from one environment to the next, so that log, evaluation and live "
                "system would show other numbers for the same state. Leave the wrapper out: moore "
                "normalises by the log (--standardise-obs, --scale-rewards)."
            )
        layer = layer.env
