"""The environments of a run, and what is known about them before training.

A simulator is tried out (`moore.envs.probe`); of a live system only the spaces are read.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moore.config import Config
from moore.data.dataset import Dataset
from moore.envs.adapter import Adapter
from moore.envs.bounds import Bounds
from moore.envs.identity import CUSTOM, find_source, name_of, refuse_normalisers
from moore.envs.limits import StepLimit, inner_limit, limit_of, step_limit
from moore.envs.make import EnvSource, Registered, episode_seed, make_env
from moore.envs.plant_spec import PlantSpec
from moore.envs.probe import failures_told, tried
from moore.envs.several import is_held
from moore.errors import InputError
from moore.files import short_path
from moore.runs.policy_file import bounds_of, read_files


@dataclass(frozen=True)
class World:
    """The environments of a run.

    Attributes:
        source: makes an environment of evaluation; None: there is no environment, only facts.
        system_source: makes the environment in which the policy acts online; None: the same as
            `source`.
        env_id: name under which rules and reference scores are looked up.
        bounds: bounds of the actions.
        obs_dim: number of entries of an observation.
        limit: number of steps after which an episode is truncated.
        max_bad_readings: largest number of bad readings in a row, see `Adapter`.
        notes: sentences about the environments that the user should read.
    """

    source: EnvSource | None
    system_source: EnvSource | None
    env_id: str
    bounds: Bounds
    obs_dim: int
    limit: StepLimit
    max_bad_readings: int
    notes: tuple[str, ...] = ()

    @property
    def is_simulator(self) -> bool:
        """Whether it is certainly a simulator, because it has a Gymnasium id."""
        return isinstance(self.source, Registered)

    @property
    def registered(self) -> str:
        """Its Gymnasium id without the module, and its arguments; empty for a function."""
        if not isinstance(self.source, Registered):
            return ""
        return f"{self.source.env_id.rpartition(':')[2]} {self.source.arguments}".strip()

    @property
    def arguments(self) -> str:
        """Arguments of `gymnasium.make` besides the id; empty for a function."""
        return self.source.arguments if isinstance(self.source, Registered) else ""

    def make_env(self) -> Adapter:
        """Makes one more environment of evaluation."""
        return self._make(self.source, None, ("own", "measured", "varying"))

    def make_system(self) -> Adapter:
        """Makes the environment in which the policy acts online."""
        if self.system_source is None:
            return self.make_env()
        # The environment of evaluation may state or have a limit that the system itself has not.
        return self._make(self.system_source, "the live system", ("varying",))

    def _make(self, source: EnvSource | None, name: str | None, own: tuple[str, ...]) -> Adapter:
        """Makes an environment that is cut at the limit, unless its source is one of `own`."""
        if source is None:
            raise InputError(f"{self.env_id}: there is no environment; give one with env=.")
        made = make_env(source, name=name, max_bad_readings=self.max_bad_readings)
        # If the environment truncates its own episodes, a guess must not truncate them earlier.
        cuts_itself = self.limit.source in own or inner_limit(made) is not None
        if self.limit.source == "given" or not cuts_itself:
            made.limit = self.limit.steps
        return made

    @property
    def known_limit(self) -> int | None:
        """Number of steps after which the environment ends an episode; None if it is a guess."""
        return self.limit.steps if self.limit.source in ("own", "given", "measured") else None


def find_world(
    config: Config,
    log: Dataset | None,
    *,
    env: EnvSource | None,
    system: EnvSource | None,
    acts: bool = True,
    fresh: bool = True,
) -> World:
    """Finds and checks the environments of a run.

    Args:
        config: configuration of the run.
        log: log, which may name the environment.
        env, system: environment and live system, as `moore.run` takes them.
        acts: whether the run has an online stage.
        fresh: whether simulators are tried out first; False for a run that has begun.

    Raises:
        InputError: there is no environment, its interface or spaces are not supported, a function
            returns the same object twice, or the live system differs from its simulator.
    """
    source = _source(config, log, env)
    if isinstance(source, PlantSpec):
        _check_not_stepped(config, acts=acts and system is None)
    at_once = config.evaluation.episodes + (acts and system is None)
    with _opened_once(source, config, log, at_once=at_once, fresh=fresh) as (made, notes):
        limit = _limit(made, config, log)
        if system is not None:
            _check_system(system, made)
        world = World(
            source=source,
            system_source=system,
            env_id=name_of(source, made, config.env_id),
            bounds=made.bounds,
            obs_dim=made.obs_dim,
            limit=limit,
            max_bad_readings=config.online.max_bad_readings,
            notes=(*notes, *_notes(source, config, made, limit)),
        )
    return world


def _source(config: Config, log: Dataset | None, env: EnvSource | None) -> EnvSource:
    """How to make the environment, or the plant whose bounds the configuration says instead."""
    low, high = config.action_low, config.action_high
    if not low:
        source = find_source(env, config.env_id, config.env_args, log)
        if source is None:
            raise InputError(_no_environment(config, log))
        return source
    if env is not None or config.env_id not in ("", CUSTOM):
        raise InputError(
            "action_low and action_high are for a plant without an environment, and an "
            "environment is given, too; leave out one of them."
        )
    if log is None:
        raise InputError(
            f"{config.algorithm} learns from no log, so it needs an environment: give one with "
            "--env-id in place of --action-low and --action-high."
        )
    if len(low) != log.action_dim:
        raise InputError(
            f"action_low has {len(low)} numbers, but an action of {log.name} has "
            f"{log.action_dim}; give a bound for each, in the order of the log."
        )
    return PlantSpec(log.obs_dim, low, high)


def _no_environment(config: Config, log: Dataset | None) -> str:
    if log is None:
        return f"{config.algorithm} names no environment; give one with --env-id."
    low, high = ([f"{x:g}" for x in f(log.action, axis=0)] for f in (np.min, np.max))
    return (
        f"{log.name} names no environment; give one with --env-id. For a plant that has none, say "
        "the bounds of its actions with --action-low and --action-high; in the log they go from "
        f"{', '.join(low)} to {', '.join(high)} (docs/logs.md)."
    )


def _check_not_stepped(config: Config, *, acts: bool) -> None:
    """Refuses what would step a plant of which only the signals are known."""
    if acts:
        raise InputError(
            "of the plant only its signals are known, so it cannot be stepped: run the offline "
            'stage alone (moore offline; stages="offline" in Python), then act in it with '
            "moore serve or a moore.Session (docs/session.md)."
        )
    if config.evaluation.episodes:
        raise InputError(
            "of the plant only its signals are known, so no policy can be evaluated in it; give "
            "--evaluation.episodes 0, or begin from the preset plant, which has that."
        )


@contextlib.contextmanager
def _opened_once(
    source: EnvSource, config: Config, log: Dataset | None, *, at_once: int, fresh: bool
) -> Iterator[tuple[Adapter, list[str]]]:
    """Opens one environment, tries it out if it is a simulator, and closes it."""

    def make() -> Adapter:
        made = make_env(source, max_bad_readings=config.online.max_bad_readings)
        try:
            refuse_normalisers(made, getattr(source, "__name__", "the environment"))
        except InputError:
            made.close()
            raise
        return made

    if not (fresh and config.evaluation.episodes):
        # It is not tried out, because it may be the live system itself.
        with _looked_at(make(), source) as made:
            yield made, []
        return
    seed = episode_seed(config.seed, "probe", 0)
    with tried(make, at_once=at_once, seed=seed, log=log) as found:
        yield found


@contextlib.contextmanager
def _looked_at(made: Adapter, source: EnvSource) -> Iterator[Adapter]:
    """Closes an environment after its spaces were read, unless the same one will be used later."""
    with contextlib.ExitStack() as stack:
        if not is_held(made, source):
            stack.enter_context(contextlib.closing(made))
        yield made


def _limit(made: Adapter, config: Config, log: Dataset | None) -> StepLimit:
    if config.episode_steps is not None:
        stated = step_limit(made)
        if stated is not None and stated <= config.episode_steps:
            return StepLimit(stated, "own")
        return StepLimit(config.episode_steps, "given")
    seed = episode_seed(config.seed, "probe", 1)
    with failures_told(
        "whole episodes, which say after how many steps it ends them",
        "say it: --episode-steps N",
    ):
        return limit_of(made, log, seed, may_move=config.evaluation.episodes > 0)


def _check_system(source: EnvSource, env: Adapter) -> None:
    """Checks that observations, actions and episodes are those of the evaluation."""
    with _looked_at(make_env(source, name="the live system"), source) as system:
        refuse_normalisers(system, "the live system")
        limits = inner_limit(system), inner_limit(env)
        for name, of_system, of_env in (
            ("observations of the shape", *(e.observation_space.shape for e in (system, env))),
            ("actions within", *(str(e.bounds) for e in (system, env))),
            ("a step limit of", *(limits if None not in limits else (None, None))),
        ):
            if of_system != of_env:
                raise InputError(
                    f"the live system has {name} {of_system}, but the environment of evaluation "
                    f"has {of_env}: they must be the same."
                )


def _notes(source: EnvSource, config: Config, made: Adapter, limit: StepLimit) -> list[str]:
    notes = []
    if isinstance(source, Registered) and source.arguments and not config.env_args:
        notes.append(
            f"the log was recorded in {source.env_id} with {source.arguments}; the environment is "
            "made with the same arguments."
        )
    if made.bounds.locked.size:
        notes.append(
            f"action entries {made.bounds.locked.tolist()} are locked: their bounds are equal, so "
            "this value is always sent."
        )
    if limit.note is not None:
        notes.append(limit.note)
    return notes


def check_same_bounds(run: Path, bounds: Bounds) -> None:
    """Refuses an environment whose actions have other bounds than those of a run's policy.

    The policy and the logged actions would be scaled to the new bounds, and act otherwise. A run
    without a policy so far has nothing to compare.

    Raises:
        InputError: the bounds differ.
    """
    try:
        kept = Bounds(*bounds_of(read_files(run)[1]))
    except (InputError, KeyError, TypeError, ValueError):
        return  # what is damaged is told where it is used
    if not (np.array_equal(kept.low, bounds.low) and np.array_equal(kept.high, bounds.high)):
        raise InputError(
            f"{short_path(run)} was learned with actions within {kept}, but the environment has "
            f"{bounds}; give the environment that it was learned for."
        )
