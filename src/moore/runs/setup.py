"""Prepares a run from its configuration: log, environment, learner."""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from moore import algorithms
from moore.config import Config
from moore.data.column_names import columns_of
from moore.data.content import sum_of_rows
from moore.data.cuts import other_limit
from moore.data.dataset import Dataset
from moore.data.log import notes_of
from moore.dynamics.imagine import TerminationFn
from moore.envs.adapter import Adapter
from moore.envs.evaluation import Episodes, random_policy, run_episodes
from moore.envs.make import EnvSource, episode_seed
from moore.envs.probe import refuse_shared
from moore.envs.several import close_all, open_all
from moore.envs.simulator import EnvFacts
from moore.envs.termination import never
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.experience.protocol import Task
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import check_against_spaces, load_dataset
from moore.formats.reward_function import named_reward
from moore.jax_settings import key_of, plain_jax
from moore.replay.buffer import Replay, empty_replay
from moore.runs.log_checks import (
    check_gate,
    check_interval,
    check_log_suits,
    resolved,
    with_horizon,
)
from moore.runs.offline_data import check_disk, on_disk, to_replay
from moore.runs.policy import Policy
from moore.runs.termination_choice import make_rule
from moore.runs.units import fitting, units_for
from moore.runs.world import World, find_world
from moore.stages.learner import Learner
from moore.units import Units


@dataclass(frozen=True)
class Setup:
    """The parts of a run that its configuration determines.

    Attributes:
        config: resolved configuration: it names data set and environment, and has the settings that
            the log determines.
        dataset: the log as it was read; None for an algorithm without one.
        reference: returns that define the normalised score, if they are known.
        world: the environments.
        learner: the operations of Algorithm 1.
        key: the first random key of the run.
        termination_report: accuracy of a learned termination rule; None for a given one.
        notes: sentences that the user should read before the run.
    """

    config: Config
    dataset: Dataset | None
    reference: ReferenceScores | None
    world: World
    learner: Learner
    key: jax.Array
    termination_report: dict | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def sum_of_rows(self) -> str:
        """A sum of the log's rows, by which a run knows them again; empty without a log."""
        return "" if self.dataset is None else sum_of_rows(self.dataset)

    @property
    def units(self) -> Units:
        """Conversion of the user's units to the agent's."""
        return self.learner.units

    @property
    def live(self) -> bool:
        """Whether the policy acts elsewhere than it is evaluated, or is not evaluated."""
        return self.world.system_source is not None or not self.config.evaluation.episodes

    def policy(self, weights: PyTree) -> Policy:
        """A policy of the learner, in the environment's units."""
        agent, obs_dim = self.learner.algorithm.agent, self.learner.dims[0]
        bounds = self.world.bounds.low, self.world.bounds.high
        return Policy(
            jax.device_get(weights),
            agent,
            self.config,
            obs_dim,
            *bounds,
            self.config.env_id,
            units=self.units,
            columns=columns_of(self.dataset),
        )


@plain_jax()
def prepare(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    split_seed: int | None = None,
    units: Units | None = None,
    acts: bool = True,
    fresh: bool = True,
    world: World | None = None,
) -> Setup:
    """Loads and checks everything that a run needs, before training starts.

    Args:
        config: configuration of the run.
        dataset: the log; by default the configuration's.
        env: the environment; by default the configuration's, or the one that the log names.
        system: live system in which the policy acts online; by default one more `env`.
        split_seed: seed of the log's holdout and of a learned termination rule; by default the
            configuration's. An online stage takes that of the run it starts from, because its
            models were trained on that split and must not be judged on their training rows.
        units: units of a run that this one goes on from; by default they are measured, see
            `units_for`.
        acts: whether the run has an online stage.
        fresh: whether simulators are tried out first; False for a run that has begun.
        world: facts about the environment, where it is known without making one.

    Raises:
        InputError: something does not fit: names, files, spaces, bounds, terminations.
    """
    algorithm = algorithms.find(config.algorithm)
    check_gate(algorithm, config)
    # The user's functions and files are read before an environment may change the working folder.
    scheme = algorithm.scheme or config.online.parsed_scheme()
    log = _load(dataset if dataset is not None else config.dataset, config, algorithm)
    if world is None:
        if fresh:
            check_interval(config, log)
        world = find_world(config, log, env=env, system=system, acts=acts, fresh=fresh)
    if other_limit(log, world.known_limit):
        steps = world.limit.steps
        log = _load(dataset or config.dataset, config, algorithm, max_episode_steps=steps)
    config = _named(config, log, world)
    reference = _reference(log, world, config.env_args)
    if log is not None:
        check_disk(algorithm, scheme, log)
        _check_spaces(log, world)
    if units is None:
        units = units_for(config, log, world.make_env)
    else:
        units = fitting(units, world.obs_dim)
    key, _ = jax.random.split(key_of(config.seed))
    key_split = key_of(config.seed if split_seed is None else split_seed)
    offline, notes = _offline_data(log, config, algorithm, world, units, key_split)
    terminated_fn, report = _ends(log, config, algorithm, world, units, key_split)
    config = with_horizon(config, algorithm.agent.sections)
    if log is not None:
        config = resolved(config, algorithm, log, reference, world.limit.steps)
    task = Task(
        config,
        algorithm.agent,
        offline,
        terminated_fn,
        first_states=_first_states(log, algorithm, units),
        episode_steps=world.limit.steps,
        scheme=scheme,
        units=units,
        disk=on_disk(log, offline, world.bounds, units),
    )
    told = () if log is None else notes_of(log.metadata)
    told = tuple(dict.fromkeys((*world.notes, *told, *notes)))
    return Setup(config, log, reference, world, Learner(algorithm, task), key, report, told)


def _ends(
    log: Dataset | None,
    config: Config,
    algorithm: algorithms.Algorithm,
    world: World,
    units: Units,
    key: jax.Array,
) -> tuple[TerminationFn, dict | None]:
    """Where imagined episodes end, and how well a learned rule for that does."""
    if not algorithm.experience.has_models:
        return never, None
    examples, bounds = log if algorithm.uses_log else None, world.bounds
    return make_rule(
        config, examples, world.env_id, world.obs_dim, bounds.low, bounds.high, key, units
    )


def _check_spaces(log: Dataset, world: World) -> None:
    """Raises InputError unless the log fits the environment's spaces."""
    bounds = {"action_low": world.bounds.low, "action_high": world.bounds.high}
    check_against_spaces(log, obs_dim=world.obs_dim, **bounds, env_id=world.env_id)


def _named(config: Config, log: Dataset | None, world: World) -> Config:
    """The configuration with the names of data set and environment, and a limit of our own."""
    return dataclasses.replace(
        config,
        dataset="" if log is None else log.name,
        env_id=world.env_id,
        env_args=world.arguments,
        episode_steps=None if world.limit.source in ("own", "varying") else world.limit.steps,
    )


def _offline_data(
    log: Dataset | None,
    config: Config,
    algorithm: algorithms.Algorithm,
    world: World,
    units: Units,
    key: jax.Array,
) -> tuple[Replay, list[str]]:
    """D_off, and what the user should know about it; an empty one for an algorithm without a log.

    Raises:
        InputError: the log does not suit the algorithm or the environment.
    """
    low, high = world.bounds.low, world.bounds.high
    if log is None or not algorithm.uses_log:
        return empty_replay(1, world.obs_dim, low.size, max_holdout=1), []
    facts = EnvFacts(world.env_id, world.obs_dim, low, high, world.known_limit)
    notes = check_log_for_run(log, facts, (*config.accept, *_cared_for(config)))
    check_log_suits(algorithm, log, world.env_id)
    _, key_holdout = jax.random.split(key)
    return to_replay(log, world.bounds, units, key_holdout, config), notes


def _cared_for(config: Config) -> list[str]:
    """Findings of a log that this configuration already handles."""
    answers = {"observation-scale": config.standardise_obs, "reward-scale": config.scale_rewards}
    return [name for name, answered in answers.items() if answered]


def _reference(log: Dataset | None, world: World, arguments: str) -> ReferenceScores | None:
    """Returns that define the score: those that only the log knows, else the environment's."""
    own = None if log is None else log.reference
    if log is not None and own is not None and own != reference_scores(log.env_id):
        return own
    return reference_scores(world.env_id, arguments=arguments, steps=world.limit.steps)


def _first_states(
    log: Dataset | None, algorithm: algorithms.Algorithm, units: Units
) -> jax.Array | None:
    """First states of the log's episodes, in the agent's units; None without a log."""
    if log is None or not algorithm.uses_log:
        return None
    ends = np.flatnonzero(log.terminated | log.truncated)
    first = np.append(0, ends[ends < log.size - 1] + 1)
    if log.whole is not None:
        first = first[log.whole.begins_episode(first)]
    return jnp.asarray(units.obs_in(log.obs[first]))


def _load(
    source: Dataset | str | Path,
    config: Config,
    algorithm: algorithms.Algorithm,
    *,
    max_episode_steps: int | None = None,
) -> Dataset | None:
    """Loads the log; None if none is named and the algorithm needs none.

    `max_episode_steps` is the environment's limit, if the log's flags do not tell it.
    """
    if isinstance(source, str) and not source:
        if not algorithm.uses_log:
            return None
        raise InputError(
            "no data set is given; name one with --dataset (path.hdf5, path.npz, path.csv, "
            "minari:ID, builtin:NAME, ...)."
        )
    columns, reward = config.columns or None, config.reward or None
    if isinstance(source, Dataset):
        columns = None  # the columns were named when it was loaded
        reward = None if named_reward(source.metadata) == reward else reward
    return load_dataset(
        source,
        max_rows=config.max_rows,
        fraction=config.fraction,
        columns=columns,
        reward=reward,
        max_episode_steps=max_episode_steps,
    )


class Evaluator:
    """Runs episodes with the policies of one run, in environments of evaluation."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._agent = setup.learner.algorithm.agent
        self._seen = setup.units.obs_in
        self._envs = open_all(setup.world.make_env, setup.config.evaluation.episodes)
        refuse_shared(self._envs)
        self._mode = jax.jit(self._agent.act_mode)
        self._sample = jax.jit(self._agent.act)

    def _run(self, policy, purpose: str) -> Episodes:
        seed = self._setup.config.seed
        seeds = [episode_seed(seed, purpose, i) for i in range(len(self._envs))]
        discount = self._setup.learner.agent_config.discount
        return run_episodes(self._envs, policy, seeds, discount=discount)

    def deterministic(self, policy: PyTree) -> Episodes:
        """Episodes of a policy without noise; every call uses the same seeds."""
        mode, seen = self._mode, self._seen
        return self._run(lambda obs: np.asarray(mode(policy, seen(obs))), "evaluate")

    def sampled(self, policy: PyTree) -> Episodes:
        """Episodes of a policy as it acts, without learning: the baseline of the behaviour dip."""
        keys = _key_stream(self._setup.config.seed)
        sample, seen = self._sample, self._seen
        return self._run(lambda obs: np.asarray(sample(policy, seen(obs), next(keys))), "baseline")

    def random(self) -> Episodes:
        """Episodes with uniformly random actions."""
        seed = episode_seed(self._setup.config.seed, "random", len(self._envs))
        return self._run(random_policy(self._setup.world.bounds.low.size, seed), "random")

    def refuse_shared_with(self, system: Adapter) -> None:
        """Raises InputError if the live system is one of these environments."""
        refuse_shared([*self._envs, system])

    def close(self) -> None:
        close_all(self._envs)


def _key_stream(seed: int) -> Iterator[jax.Array]:
    """Keys that training does not use: a stream of their own from the run's seed."""
    key = key_of(episode_seed(seed, "baseline", 0))
    return (jax.random.fold_in(key, step) for step in itertools.count())
