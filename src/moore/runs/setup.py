"""From a configuration to everything that a run needs: log, environment, learner."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from moore import algorithms
from moore.config import Config
from moore.data.cuts import other_limit
from moore.data.dataset import Dataset
from moore.data.heed import heed
from moore.data.load import check_against_spaces, load_dataset
from moore.envs.evaluation import Episodes, random_policy, run_episodes
from moore.envs.make import (
    DEFAULT_MAX_EPISODE_STEPS,
    EnvSource,
    action_bounds,
    episode_seed,
    make_env,
    step_limit,
)
from moore.envs.simulator import EnvFacts
from moore.envs.termination import never
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores, reference_scores
from moore.replay.buffer import Replay, Transition, empty_replay, full_replay
from moore.runs.ends import make_rule
from moore.runs.policy import Policy
from moore.runs.suitable import check_gate, check_suits, resolved
from moore.stages.learner import Learner


@dataclass(frozen=True)
class Setup:
    """The parts of a run that its configuration determines.

    Attributes:
        config: resolved: data set and environment are named.
        dataset: the log as it was read; None for an algorithm without one.
        reference: returns that define the normalised score, where they are known.
        env_source: how to make environments.
        system_source: how to make the one in which the policy acts online; None: like the others.
        action_low, action_high: bounds of the environment's own actions.
        learner: the operations of Algorithm 1; its configuration also has what the log determines.
        key: where the run's randomness starts.
        termination_report: how well a learned termination rule does; None for a given one.
        notes: what the user should know before the run, a sentence each.
    """

    config: Config
    dataset: Dataset | None
    reference: ReferenceScores | None
    env_source: EnvSource
    action_low: np.ndarray
    action_high: np.ndarray
    learner: Learner
    key: jax.Array
    termination_report: dict | None = None
    system_source: EnvSource | None = None
    notes: tuple[str, ...] = ()

    def make_env(self) -> gym.Env:
        return make_env(self.env_source)

    @property
    def live(self) -> bool:
        """Whether the policy acts elsewhere than it is evaluated, or is not evaluated at all."""
        return self.system_source is not None or not self.config.evaluation.episodes

    def make_system(self) -> gym.Env:
        return make_env(self.env_source if self.system_source is None else self.system_source)

    def policy(self, weights: PyTree) -> Policy:
        """A policy of the learner, in the environment's units."""
        agent, obs_dim = self.learner.algorithm.agent, self.learner.dims[0]
        bounds = self.action_low, self.action_high
        weights = jax.device_get(weights)
        return Policy(weights, agent, self.config, obs_dim, *bounds, self.config.env_id)


def prepare(
    config: Config,
    *,
    dataset: Dataset | str | Path | None = None,
    env: EnvSource | None = None,
    system: EnvSource | None = None,
    split_seed: int | None = None,
) -> Setup:
    """Loads and checks everything before the first second of training.

    Args:
        config: of the run.
        dataset: the log; by default the configuration's.
        env: the environment; by default the configuration's, or the one that the log names.
        system: another one in which the policy acts online; by default one more of `env`.
        split_seed: of the log's holdout and of a learned rule for the ends; by default the
            configuration's. An online stage takes that of the run it starts from: its models have
            been trained on one split, and must not be judged by another.

    Raises:
        InputError: whatever does not fit: names, files, spaces, bounds, terminations.
    """
    algorithm = algorithms.find(config.algorithm)
    check_gate(algorithm, config)
    log = _load(dataset if dataset is not None else config.dataset, config, algorithm)
    logged_in = None if log is None else log.env_id
    env_source = env or config.env_id or logged_in
    if not env_source:
        name = config.algorithm if log is None else log.name
        raise InputError(f"{name} names no environment; give one with --env-id.")
    env_id = env_source if isinstance(env_source, str) else config.env_id or logged_in or "custom"

    with contextlib.closing(make_env(env_source)) as probe:
        low, high = action_bounds(probe)
        obs_dim = probe.observation_space.shape[0]
        limit = step_limit(probe)
        if system is not None:
            _check_system(system, probe)
    if limit != DEFAULT_MAX_EPISODE_STEPS and other_limit(log, limit):
        log = _load(dataset or config.dataset, config, algorithm, max_episode_steps=limit)
    name = "" if log is None else log.name
    config = dataclasses.replace(config, dataset=name, env_id=env_id)
    reference = reference_scores(env_id)
    key, _ = jax.random.split(jax.random.key(config.seed))
    base = jax.random.key(config.seed if split_seed is None else split_seed)
    _, key_holdout = jax.random.split(base)
    terminated_fn, report = never, None
    if log is not None:
        reference = log.reference or reference
        check_against_spaces(log, obs_dim=obs_dim, action_low=low, action_high=high, env_id=env_id)
    offline = empty_replay(1, obs_dim, low.size, max_holdout=1)
    notes: list[str] = []
    if algorithm.uses_log:
        notes = heed(log, EnvFacts(env_id, obs_dim, low, high, limit), config.accept)
        check_suits(algorithm, log, env_id)
        offline = _to_replay(log, low, high, key_holdout, config)
    if algorithm.experience == "imagination":
        examples = log if algorithm.uses_log else None
        terminated_fn, report = make_rule(config, examples, env_id, obs_dim, low, high, base)
    known = config if log is None else resolved(config, algorithm, log, reference, limit)
    learner = Learner(
        known,
        algorithm,
        offline,
        terminated_fn,
        first_states=_first_states(log) if algorithm.uses_log else None,
        episode_steps=limit,
    )
    return Setup(
        config, log, reference, env_source, low, high, learner, key, report, system, tuple(notes)
    )


def _check_system(source: EnvSource, env: gym.Env) -> None:
    """Where the policy acts, observations, actions and episodes must be those of its evaluation."""
    with contextlib.closing(make_env(source)) as system:
        for name, of in (
            ("observations of the shape", lambda one: one.observation_space.shape),
            ("actions within", lambda one: tuple(bound.tolist() for bound in action_bounds(one))),
            ("a step limit of", step_limit),
        ):
            if of(system) != of(env):
                raise InputError(
                    f"the system has {name} {of(system)}, the environment of its evaluation "
                    f"{of(env)}: they must be the same."
                )


def _first_states(log: Dataset) -> jax.Array:
    """Where the log's episodes begin."""
    ends = np.flatnonzero(log.terminated | log.truncated)
    return jnp.asarray(log.obs[np.append(0, ends[ends < log.size - 1] + 1)])


def _load(
    source: Dataset | str | Path,
    config: Config,
    algorithm: algorithms.Algorithm,
    *,
    max_episode_steps: int | None = None,
) -> Dataset | None:
    """The log; None if none is named and the algorithm needs none.

    `max_episode_steps` is the environment's limit, where the log's own flags do not say it.
    """
    if isinstance(source, str) and not source:
        if not algorithm.uses_log:
            return None
        raise InputError(
            "no data set is given; name one with --dataset (path.hdf5, path.npz, minari:ID or "
            "builtin:NAME)."
        )
    return load_dataset(
        source,
        max_rows=config.max_rows,
        fraction=config.fraction,
        max_episode_steps=max_episode_steps,
    )


def _to_replay(
    log: Dataset, low: np.ndarray, high: np.ndarray, key: jax.Array, config: Config
) -> Replay:
    """The log on the device, its actions scaled to [-1, 1]."""
    usable = int(log.successor_known.sum())
    if int(config.model.holdout_fraction * usable) in (0, usable):
        raise InputError(
            f"{log.name} has {usable} rows with a known successor; a holdout of "
            f"{config.model.holdout_fraction:g} of them leaves nothing to validate or to train on."
        )
    scaled = 2.0 * (log.action - low) / (high - low) - 1.0
    data = Transition(
        obs=log.obs,
        action=np.clip(scaled, -1.0, 1.0),
        reward=log.reward,
        next_obs=log.next_obs,
        terminated=log.terminated,
        truncated=log.truncated,
    )
    return full_replay(
        data,
        log.successor_known,
        key,
        holdout_fraction=config.model.holdout_fraction,
        max_holdout=config.model.max_holdout,
    )


class Evaluator:
    """Episodes of the policies of one run, in environments of their own."""

    def __init__(self, setup: Setup):
        self._setup = setup
        self._agent = setup.learner.algorithm.agent
        self._envs = [setup.make_env() for _ in range(setup.config.evaluation.episodes)]
        self._mode = jax.jit(self._agent.act_mode)
        self._sample = jax.jit(self._agent.act)

    def _run(self, policy, purpose: str) -> Episodes:
        seed = self._setup.config.seed
        seeds = [episode_seed(seed, purpose, i) for i in range(len(self._envs))]
        discount = self._setup.learner.agent_config.discount
        return run_episodes(self._envs, policy, seeds, discount=discount)

    def deterministic(self, policy: PyTree) -> Episodes:
        """A policy without its noise; the same start seeds at every call."""
        return self._run(lambda obs: np.asarray(self._mode(policy, obs)), "evaluate")

    def sampled(self, policy: PyTree) -> Episodes:
        """A policy as it acts, without learning: the baseline of the behaviour dip."""
        keys = _key_stream(self._setup.config.seed)
        return self._run(lambda obs: np.asarray(self._sample(policy, obs, next(keys))), "baseline")

    def random(self) -> Episodes:
        """Uniformly random actions."""
        seed = episode_seed(self._setup.config.seed, "random", len(self._envs))
        return self._run(random_policy(self._setup.action_low.size, seed), "random")

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _key_stream(seed: int) -> Iterator[jax.Array]:
    """Keys that no training draw uses: a stream of their own under the run's seed."""
    key = jax.random.key(episode_seed(seed, "baseline", 0))
    return (jax.random.fold_in(key, step) for step in itertools.count())
