"""Logs of a small linear plant, whose every true successor is known; and faults put into them."""

from dataclasses import replace

import h5py
import numpy as np

from moore.data.log import Log


def plant_log(episodes=20, length=50, *, end="truncated", dim=2, seed=0) -> Log:
    """Episodes from 4 to 6 towards 0; float64, flagged at their last rows."""
    rng = np.random.default_rng(seed)
    obs, after, action = [], [], rng.uniform(-1, 1, (episodes * length, 1))
    for row, act in enumerate(action):
        here = rng.uniform(4, 6, dim) if row % length == 0 else after[-1]
        obs.append(here)
        after.append(0.99 * here + 0.1 * act)
    last = np.arange(len(obs)) % length == length - 1
    obs = np.array(obs)
    return Log(
        obs=obs,
        action=action,
        reward=-np.abs(obs[:, 0] - 5) - rng.normal(0, 0.1, len(obs)) ** 2,
        terminated=last & (end == "terminated"),
        truncated=last & (end == "truncated"),
        next_obs=np.array(after),
        name="plant",
    )


def with_ends(log: Log, **changes) -> Log:
    """Other values in the last rows of the episodes: next_obs=..., for instance."""
    last = log.terminated | log.truncated
    arrays = {key: getattr(log, key).copy() for key in changes}
    for key, value in changes.items():
        arrays[key][last] = value
    return replace(log, **arrays)


D4RL = {
    "obs": "observations",
    "action": "actions",
    "reward": "rewards",
    "next_obs": "next_observations",
    "terminated": "terminals",
    "truncated": "timeouts",
}


def save_hdf5(path, log: Log, *, names=None, env_id=None) -> str:
    """D4RL's layout, under other names where `names` has some; without arrays that are None."""
    with h5py.File(path, "w") as file:
        for key, name in (D4RL | (names or {})).items():
            if getattr(log, key) is not None:
                file[name] = getattr(log, key)
        if env_id is not None:
            file.attrs["env_id"] = env_id
    return str(path)


def save_npz(path, log: Log, *, names=None) -> str:
    names = dict(zip(D4RL, D4RL, strict=True)) | (names or {})
    arrays = {name: getattr(log, key) for key, name in names.items()}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return str(path)
