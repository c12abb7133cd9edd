"""Whole episodes of a fixed policy, several environments in step with one another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.envs.make import EnvSource, episode_seed, make_env
from moore.envs.several import close_all, open_all

# (episodes, obs) -> (episodes, action) in [-1, 1].
BatchPolicy = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Episodes:
    """One entry an episode: undiscounted and discounted returns, lengths in steps."""

    returns: list[float]
    lengths: list[int]
    discounted: list[float]

    @property
    def mean_return(self) -> float:
        return float(np.mean(self.returns))


def run_episodes(
    envs: Sequence[gym.Env], policy: BatchPolicy, seeds: Sequence[int], *, discount: float = 1.0
) -> Episodes:
    """One episode in each environment, begun with its seed, the policy called on all at once."""
    obs = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]).astype(
        np.float32
    )
    returns, discounted = np.zeros(len(envs)), np.zeros(len(envs))
    lengths = np.zeros(len(envs), int)
    running = list(range(len(envs)))
    while running:
        actions = policy(obs)
        still_running = []
        for i in running:
            obs[i], reward, terminated, truncated, _ = envs[i].step(actions[i])
            returns[i] += float(reward)
            discounted[i] += discount ** lengths[i] * float(reward)
            lengths[i] += 1
            if not (terminated or truncated):
                still_running.append(i)
        running = still_running
    return Episodes(returns.tolist(), lengths.tolist(), discounted.tolist())


def random_policy(action_dim: int, seed: int) -> BatchPolicy:
    """Uniform actions, for the return that counts as no skill."""
    rng = np.random.default_rng(seed)
    return lambda obs: rng.uniform(-1.0, 1.0, (len(obs), action_dim)).astype(np.float32)


def evaluate_policy(
    policy: Callable, env: EnvSource, *, episodes: int, seed: int, deterministic: bool = True
) -> Episodes:
    """Episodes of a saved policy, which acts in the units of its environment.

    Args:
        policy: `(obs, deterministic=...) -> action`, batched; see `moore.load_policy`.
        env: id, or function that makes the environment.
        episodes: how many.
        seed: of the episodes; those of a run's own evaluations come from the run's seed.
        deterministic: the mode of the policy, or a sample.
    """
    envs = open_all(lambda: make_env(env), episodes)
    seeds = [episode_seed(seed, "evaluate", i) for i in range(episodes)]
    half_range = 0.5 * (policy.high - policy.low)

    def scaled(obs: np.ndarray) -> np.ndarray:
        return (policy(obs, deterministic=deterministic) - policy.low) / half_range - 1.0

    try:
        return run_episodes(envs, scaled, seeds)
    finally:
        close_all(envs)
