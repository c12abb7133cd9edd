"""Whole episodes of a fixed policy, in several environments at the same time."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from moore.envs.adapter import Adapter
from moore.envs.identity import refuse_normalisers
from moore.envs.make import EnvSource, episode_seed, make_env
from moore.envs.probe import refuse_one_simulator, refuse_shared
from moore.envs.returns import Return
from moore.envs.several import close_all, open_all
from moore.errors import InputError

# (episodes, obs) -> (episodes, action) in [-1, 1].
BatchPolicy = Callable[[np.ndarray], np.ndarray]


@runtime_checkable
class SavedPolicy(Protocol):
    """A policy in the units of its environment, with the bounds (action,) of its actions."""

    @property
    def low(self) -> np.ndarray: ...

    @property
    def high(self) -> np.ndarray: ...

    def __call__(self, obs: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Actions (n, action) for observations (n, obs)."""


# Steps after which an episode is taken to have no end.
_ENDLESS = 100_000


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns, discounted returns and lengths in steps, one entry an episode."""

    returns: list[float]
    lengths: list[int]
    discounted: list[float]

    @property
    def mean_return(self) -> float:
        return float(np.mean(self.returns))


def run_episodes(
    envs: Sequence[Adapter], policy: BatchPolicy, seeds: Sequence[int], *, discount: float = 1.0
) -> Episodes:
    """Runs one episode in each environment with its own reset seed; the policy acts in batches.

    Raises:
        InputError: an episode does not end, or has no measured reward at all.
    """
    obs = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    returns, discounted = [Return() for _ in envs], np.zeros(len(envs))
    running = list(range(len(envs)))
    while running:
        actions = policy(obs)
        still_running = []
        for i in running:
            obs[i], reward, terminated, truncated, _ = envs[i].step(actions[i])
            discounted[i] += discount ** returns[i].steps * (reward if np.isfinite(reward) else 0.0)
            returns[i].add(reward)
            if not (terminated or truncated):
                still_running.append(i)
        running = still_running
        if running and returns[running[0]].steps >= _ENDLESS:
            raise InputError(
                f"an episode has not ended after {_ENDLESS:,} steps; wrap the environment in "
                "gymnasium.wrappers.TimeLimit, or give --episode-steps."
            )
    totals = [one.total for one in returns if one.total is not None]
    if len(totals) < len(returns):
        raise InputError("no reward of a whole episode is a finite number; look at the rewards.")
    return Episodes(totals, [one.steps for one in returns], discounted.tolist())


def random_policy(action_dim: int, seed: int) -> BatchPolicy:
    """A policy with uniform actions, whose return is the zero of the normalised scores."""
    rng = np.random.default_rng(seed)
    return lambda obs: rng.uniform(-1.0, 1.0, (len(obs), action_dim)).astype(np.float32)


def evaluate_policy(
    policy: SavedPolicy,
    env: EnvSource,
    *,
    episodes: int,
    seed: int,
    deterministic: bool = True,
    limit: int | None = None,
) -> Episodes:
    """Runs episodes of a saved policy, which acts in the units of its environment.

    Args:
        policy: `(obs, deterministic=...) -> action`, batched; see `moore.load_policy`.
        env: id of the environment, or a function that makes it. If its bounds are narrower than
            those that the policy was trained with, the actions are clipped to them.
        episodes: number of episodes.
        seed: seed of the episodes.
        deterministic: take the mode of the policy instead of a sample.
        limit: steps after which an episode is cut, if the environment does not end it before.

    Raises:
        InputError: the environments are one system, or unsound.
    """
    envs = open_all(lambda: make_env(env, limit=limit), episodes)
    try:
        refuse_shared(envs)
        refuse_normalisers(envs[0], str(getattr(env, "__name__", env)))
        refuse_one_simulator(envs, episode_seed(seed, "probe", 0))
        bounds, trained = envs[0].bounds, (policy.low, policy.high)
        if not np.array_equal(trained, (bounds.low, bounds.high)):
            warnings.warn(
                f"the environment's actions lie within {bounds}, but the policy was trained with "
                f"actions within {policy.low.tolist()} to {policy.high.tolist()}: its actions are "
                "cut at the environment's bounds.",
                stacklevel=2,
            )
        seeds = [episode_seed(seed, "evaluate", i) for i in range(episodes)]

        def scaled(obs: np.ndarray) -> np.ndarray:
            return bounds.scaled(policy(obs, deterministic=deterministic))

        return run_episodes(envs, scaled, seeds)
    finally:
        close_all(envs)
