"""A log of made-up rows of an environment's shape: for what a run costs, not for its curve."""

import gymnasium
import numpy as np
from scipy.signal import lfilter

from moore.data.dataset import Dataset, episode_statistics


def made_log(env_id: str, rows: int, episode: int = 500) -> Dataset:
    """Rows near the environment's first states, in episodes of equal length that a limit cuts."""
    rng = np.random.default_rng(0)
    with gymnasium.make(env_id) as env:
        first = np.asarray(env.reset(seed=0)[0], np.float32)
        low, high = env.action_space.low, env.action_space.high
    action = rng.uniform(low, high, (rows, low.size)).astype(np.float32)
    # The system answers the actions and forgets: a log that does not is refused.
    pushed = rng.standard_normal((rows + 1, first.size), np.float32)
    pushed[1:] += action @ rng.standard_normal((low.size, first.size), np.float32)
    moved = 0.01 * lfilter([1.0], [1.0, -0.9], pushed, axis=0).astype(np.float32)
    obs = first + moved
    ends = np.arange(1, rows + 1) % episode == 0
    reward = 0.1 * rng.standard_normal(rows, np.float32) - np.abs(moved[1:]).mean(axis=1)
    returns, lengths = episode_statistics(reward, ends)
    return Dataset(
        obs[:-1],
        action,
        reward,
        obs[1:],
        np.zeros(rows, bool),
        ends,
        np.ones(rows, bool),
        episode_returns=returns,
        episode_lengths=lengths,
        name=f"{rows} made rows",
        env_id=None,
        sha256="made",
        reference=None,
        metadata={},
    )
