"""Recording the rows of an acting policy, with MuJoCo's own state if there is one."""

from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np

from moore.envs.adapter import Adapter
from moore.envs.make import episode_seed
from moore.errors import InputError

# (observation (obs,), number of the row) -> action (action,) in [-1, 1].
Act = Callable[[np.ndarray, int], np.ndarray]


def record_episodes(
    env: Adapter, act: Act, *, run_seed: int, purpose: str, episode: int = 0, row: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Yields whole episodes, one after the other, without end.

    Args:
        env: an environment from `make_env`.
        act: the policy; it is called once a row.
        run_seed, purpose: what the reset seeds are derived from, see `episode_seed`.
        episode: number of the first episode.
        row: number of the first row of that episode.

    Yields:
        Arrays with one entry a step: obs, action (in the environment's units), reward, next_obs
        (the true successor), terminated, truncated; and, from MuJoCo, qpos and qvel of the state
        that `obs` shows.

    Raises:
        InputError: a reading is not finite; a log must hold measured values only.
    """
    while True:
        obs, _ = env.reset(seed=episode_seed(run_seed, purpose, episode))
        rows, ended = [], False
        while not ended:
            action = act(obs, row)
            state = _simulator_state(env)
            next_obs, reward, terminated, truncated, _ = env.step(action)
            if env.fault is not None:
                raise InputError(
                    f"row {row} cannot be recorded: {env.fault}; a simulator must not give such "
                    "readings."
                )
            rows.append(
                {
                    "obs": obs,
                    "action": np.asarray(env.action(action), np.float32),
                    "reward": np.float32(reward),
                    "next_obs": next_obs,
                    "terminated": bool(terminated),
                    "truncated": bool(truncated and not terminated),
                    **state,
                }
            )
            obs, ended, row = next_obs, terminated or truncated, row + 1
        yield {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        episode += 1


def _simulator_state(env: gym.Env) -> dict[str, np.ndarray]:
    """MuJoCo's positions and velocities (float64); empty for other simulators."""
    data = getattr(env.unwrapped, "data", None)
    if data is None or not hasattr(data, "qpos"):
        return {}
    return {"qpos": np.array(data.qpos), "qvel": np.array(data.qvel)}
