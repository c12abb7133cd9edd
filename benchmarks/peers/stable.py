"""stable-baselines3: SAC.train, which draws from its own replay buffer."""

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.logger import Logger
from work import UPDATE, Operation, Sizes, made_rows


class Spaces(gymnasium.Env):
    """An environment of which nothing but the spaces is asked."""

    def __init__(self, sizes: Sizes):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (sizes.obs,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (sizes.action,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        return self.reset()[0], 0.0, False, False, {}


def filled(model, sizes: Sizes):
    """The model with rows in its replay buffer, and nobody who listens to its log."""
    rows, buffer = made_rows(sizes), model.replay_buffer
    buffer.observations[:, 0], buffer.next_observations[:, 0] = rows["obs"], rows["next_obs"]
    buffer.actions[:, 0], buffer.rewards[:, 0] = rows["action"], rows["reward"]
    buffer.pos, buffer.full = 0, True
    model.set_logger(Logger(None, []))
    return model


def settings(sizes: Sizes) -> dict:
    """What its SAC and that of sbx have in common."""
    return {"buffer_size": sizes.rows, "batch_size": sizes.batch, "learning_rate": 3e-4}


def operations(sizes: Sizes, threads: int) -> tuple[list[Operation], str]:
    """What is timed here, and the version of the library."""
    torch.set_num_threads(threads)
    model = filled(
        stable_baselines3.SAC(
            "MlpPolicy",
            Spaces(sizes),
            policy_kwargs={"net_arch": list(sizes.hidden)},
            device="cpu",
            **settings(sizes),
        ),
        sizes,
    )
    update = Operation(
        UPDATE,
        "stable-baselines3",
        "draws from its replay buffer, one Python call an update",
        sizes.updates,
        lambda: model.train(gradient_steps=sizes.updates, batch_size=sizes.batch),
    )
    return [update], stable_baselines3.__version__
