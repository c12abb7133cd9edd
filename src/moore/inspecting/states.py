"""From a logged observation back to the simulator's state, if that is possible.

The state is exact up to the float32 of the observation: the hidden entry (the root's horizontal
position) influences nothing else, and rows with a clipped velocity are left out. Ant, Humanoid,
Reacher and Pusher are missing, because their rewards or observations use body positions that lag
the joints by a substep.
"""

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from moore.errors import InputError

Put = Callable[[gym.Env, np.ndarray], None]  # sets the bare environment to (obs,) float64


@dataclass(frozen=True)
class WayBack:
    """A function that sets an environment to the state of an observation, and its limits."""

    put: Put
    clipped: slice | None = None  # entries that the environment clips at +-10

    def whole(self, obs: np.ndarray) -> np.ndarray:
        """(rows,) bool, true if the row of `obs` (rows, obs) determines the whole state."""
        if self.clipped is None:
            return np.ones(len(obs), bool)
        return (np.abs(obs[:, self.clipped]) < 10.0).all(axis=1)


def way_back(env_id: str) -> WayBack:
    """The `WayBack` for an environment's default observations; InputError if none is known."""
    family = env_id.rpartition("-v")[0]
    if family not in _WAYS:
        raise InputError(
            f"{env_id}: no way is known from an observation to the simulator's state; expected one "
            f"of {', '.join(sorted(_WAYS))}, or a log with infos/qpos and infos/qvel beside each "
            "row; record these, or leave --replay-check out"
        )
    return _WAYS[family]


def set_joints(env: gym.Env, qpos: np.ndarray, qvel: np.ndarray) -> None:
    """Sets the state of a bare MuJoCo environment; the next step depends on nothing else."""
    assert hasattr(env, "data") and hasattr(env, "set_state")  # as all environments of MuJoCo
    env.data.qacc_warmstart[:] = 0.0  # the solver's first guess, of whatever was simulated last
    env.set_state(np.asarray(qpos, np.float64), np.asarray(qvel, np.float64))


def _joints(hidden: int) -> Put:
    """For observations with qpos without its first `hidden` entries, then qvel."""

    def put(env: gym.Env, obs: np.ndarray) -> None:
        assert hasattr(env, "model")
        shown, nv = env.model.nq - hidden, env.model.nv
        qpos = np.concatenate([np.zeros(hidden), obs[:shown]])
        set_joints(env, qpos, obs[shown : shown + nv])

    return put


def _double_pendulum(env: gym.Env, obs: np.ndarray) -> None:
    """For observations with position, two sines, two cosines, three velocities, then forces."""
    set_joints(env, np.concatenate([obs[:1], np.arctan2(obs[1:3], obs[3:5])]), obs[5:8])


def _pendulum(env: gym.Env, obs: np.ndarray) -> None:
    """For observations with cosine, sine and velocity."""
    assert hasattr(env, "state")
    env.state = np.array([np.arctan2(obs[1], obs[0]), obs[2]])


def _mountain_car(env: gym.Env, obs: np.ndarray) -> None:
    assert hasattr(env, "state")
    env.state = obs.astype(np.float32)  # the environment itself computes in float32


_WAYS = {
    "HalfCheetah": WayBack(_joints(1)),
    "Hopper": WayBack(_joints(1), clipped=slice(5, 11)),
    "InvertedDoublePendulum": WayBack(_double_pendulum, clipped=slice(5, 8)),
    "InvertedPendulum": WayBack(_joints(0)),
    "MountainCarContinuous": WayBack(_mountain_car),
    "Pendulum": WayBack(_pendulum),
    "Swimmer": WayBack(_joints(2)),
    "Walker2d": WayBack(_joints(1), clipped=slice(8, 17)),
}
