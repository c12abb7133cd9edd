"""The tiny task of `tiny`, its log and its runs, told by a user of other units."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
from safetensors.numpy import load_file

from moore import algorithms
from moore.config import OfflineConfig, OnlineConfig
from moore.data.dataset import Dataset
from moore.runs.checkpoint import newest_first
from moore.runs.folder import read_metrics
from moore.runs.run import run
from tiny import AGENT_SETTINGS, ENV, tiny_config, tiny_log

ON = {"standardise_obs": True, "scale_rewards": True}
# Of the rewards, and slope of the observations; then any numbers, and an offset.
EXACT = {"reward": 2.0**12, "slope": 2.0**-9}
OTHER = {"reward": 1e4, "slope": 50.0, "offset": 350.0}


def env_in(reward: float = 1.0, slope: float = 1.0, offset: float = 0.0) -> gym.Env:
    """The tiny task, told in other units."""
    env = gym.wrappers.TransformReward(ENV(), lambda r: reward * r)
    told = lambda obs: (slope * obs + offset).astype(np.float32)  # noqa: E731
    return gym.wrappers.TransformObservation(env, told, env.observation_space)


def log_in(reward: float = 1.0, slope: float = 1.0, offset: float = 0.0) -> Dataset:
    """Its log, told so."""
    log = tiny_log()

    def told(x: np.ndarray, slope: float, offset: float) -> np.ndarray:
        return (slope * x.astype(np.float64) + offset).astype(np.float32)

    obs, next_obs = told(log.obs, slope, offset), told(log.next_obs, slope, offset)
    rewards, returns = told(log.reward, reward, 0.0), reward * log.episode_returns
    return replace(log, obs=obs, next_obs=next_obs, reward=rewards, episode_returns=returns)


def config_of(algorithm: str, **changes):
    """The sizes are those of other tests, so that compiled programs are shared."""
    config = tiny_config(algorithm=algorithm, **ON, **AGENT_SETTINGS.get(algorithm, {}))
    if algorithm in AGENT_SETTINGS:
        offline = OfflineConfig(epochs=1, updates_per_epoch=100)
        online = OnlineConfig(epochs=2, steps_per_epoch=40, refit_every=40, updates_per_step=1)
        config = replace(config, offline=offline, online=online)
    elif not algorithms.find(algorithm).uses_log:
        config = replace(config, online=replace(config.online, random_steps=75, updates_per_step=1))
    config = replace(config, offline=replace(config.offline, epochs=1))
    evaluation = replace(config.evaluation, episodes=2, candidate=False)
    return replace(config, evaluation=evaluation, **changes)


def run_in(units: dict, config, out: Path, **options):
    """The run of a user who has these units, to its first online epoch."""
    log = {"dataset": log_in(**units)} if algorithms.find(config.algorithm).uses_log else {}
    until = {} if "stages" in options else {"until": lambda row, state: True}
    env = partial(env_in, **units)
    return run(config, **log, env=env, out=out, quiet=True, **until, **options)


def final_state(folder: Path) -> dict[str, np.ndarray]:
    return load_file(newest_first(folder / "checkpoints")[0] / "state.safetensors")


def metrics_of(folder: Path) -> list[dict]:
    return read_metrics(folder / "metrics.jsonl")
