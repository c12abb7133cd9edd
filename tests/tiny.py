"""A tiny linear-Gaussian task with a known optimum, a log of it, and a run that takes seconds.

s' = 0.9 s + 0.4 a + noise, reward -s^2 - 0.05 a^2, episodes of 20 steps from s ~ U(-2, 2).
"""

import gymnasium as gym
import numpy as np

from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.agents.awac import AWACConfig
from moore.agents.balanced_config import BalancedConfig
from moore.agents.bc import BCConfig
from moore.agents.bear import BEARConfig
from moore.agents.brac import BRACConfig
from moore.agents.cql_config import CQLConfig
from moore.agents.iql import IQLConfig
from moore.agents.sac import SACConfig
from moore.agents.wsrl import WSRLConfig
from moore.config import Config, EvaluationConfig, OfflineConfig, OnlineConfig
from moore.data.dataset import Dataset, episode_statistics
from moore.dynamics.model_config import ModelConfig

_SIZES = {"hidden": (32,), "batch_size": 64}
# Of the agents that learn from replay: small networks, every part in use.
AGENT_SETTINGS = {
    "awac": {"awac": AWACConfig(**_SIZES, temperature=1.0)},
    "iql": {"iql": IQLConfig(**_SIZES, decay_updates=200)},
    "cql": {"cql": CQLConfig(**_SIZES, sampled_actions=2, warm_up=50)},
    "cal_ql": {"cal_ql": CQLConfig(**_SIZES, sampled_actions=2, warm_up=50, calibrated=True)},
    "balanced_replay": {
        "balanced_replay": BalancedConfig(**_SIZES, members=2, sampled_actions=2, initial_rows=40)
    },
    "adaptive_bc": {
        "adaptive_bc": AdaptiveBCConfig(**_SIZES, critics=3, kept_share=0.1, kept_least=20)
    },
    "rlpd": {"rlpd": SACConfig(**_SIZES, critics=3, critic_subset=2, actor_every=2)},
    "wsrl": {"wsrl": WSRLConfig(**_SIZES, critics=3, sampled_actions=2)},
    "bear": {"bear": BEARConfig(**_SIZES, model_hidden=(32,), target_actions=2, warm_up=50)},
    "brac": {
        "brac": BRACConfig(
            **_SIZES, critic_hidden=(32,), sampled_actions=2, clone_updates=50, warm_up=50
        )
    },
    "sqil": {"sqil": SACConfig(**_SIZES)},
    "bc": {"bc": BCConfig(**_SIZES, updates=200, share=0.4)},
}


class LinearGaussian(gym.Env):
    """The task itself."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-2.0, 2.0, 1)
        return self.state.astype(np.float32), {}

    def step(self, action):
        reward = -float(self.state[0] ** 2 + 0.05 * action[0] ** 2)
        noise = 0.02 * self.np_random.normal(size=1)
        self.state = 0.9 * self.state + 0.4 * np.clip(action, -2.0, 2.0) + noise
        return self.state.astype(np.float32), reward, False, False, {}


def ENV() -> gym.Env:
    return gym.wrappers.TimeLimit(LinearGaussian(), 20)


def tiny_log(episodes: int = 15, seed: int = 0, gain: float = 0.3, noise: float = 1.0) -> Dataset:
    """A poor controller a = -gain s with much noise."""
    rng, env = np.random.default_rng(seed), ENV()
    rows = []
    for episode in range(episodes):
        obs, _ = env.reset(seed=1000 * seed + episode)
        ended = False
        while not ended:
            action = np.clip(-gain * obs + noise * rng.normal(size=1), -2, 2).astype(np.float32)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            rows.append((obs, action, np.float32(reward), next_obs, terminated, truncated))
            obs, ended = next_obs, terminated or truncated
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    returns, lengths = episode_statistics(columns[2], columns[4] | columns[5])
    return Dataset(
        *columns,
        successor_known=np.ones(len(rows), bool),
        episode_returns=returns,
        episode_lengths=lengths,
        name="tiny",
        env_id=None,
        sha256=f"{seed}",
        reference=None,
        metadata={},
    )


def tiny_config(**changes) -> Config:
    """Seconds of training, every part of the method in use.

    The tests share it, and with it the compiled programs, which take longer than the runs.
    """
    settings = {
        "env_id": "LinearGaussian",
        "rollout_length": 3,
        "rollout_chunk": 100,
        "penalty_coef": 0.5,
        "termination": "never",
        "model": ModelConfig(
            members=3,
            elites=2,
            hidden=(32, 32),
            weight_decay=(1e-5,) * 4,
            batch_size=64,
            max_fit_steps=600,
            max_refit_steps=20,
        ),
        "sac": SACConfig(
            discount=0.9, learning_rate=3e-3, target_entropy=-1.0, batch_size=64, hidden=(32, 32)
        ),
        "offline": OfflineConfig(epochs=4, updates_per_epoch=150, rollout_batch=200),
        "online": OnlineConfig(
            epochs=4, steps_per_epoch=60, refit_every=20, rollout_batch=200, updates_per_step=4
        ),
    }
    return Config(**(settings | changes))


def quick_config(**changes) -> Config:
    """A run without models that takes a second, for tests of what is around the learning."""
    settings = {
        "algorithm": "awac",
        "awac": AWACConfig(hidden=(8, 8), batch_size=16),
        "offline": OfflineConfig(epochs=2, updates_per_epoch=5),
        "online": OnlineConfig(epochs=3, steps_per_epoch=12, refit_every=6, updates_per_step=1),
        "evaluation": EvaluationConfig(episodes=1),
    }
    return tiny_config(**(settings | changes))
