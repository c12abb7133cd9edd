"""A saved policy with NumPy alone: what `moore.load_policy` gives where JAX is not installed.

It reads the same folder as `moore.runs.policy`, and returns the same actions to float32's rounding.
This module, and whatever it imports, imports no package but NumPy.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from moore.agents.numpy_acting import ActorArrays, check_arrays, check_noise, take, take_layers
from moore.runs.policy_file import (
    bounds_of,
    check_hash,
    checked_obs,
    facts_of,
    noise_of,
    read_files,
    telling_damage,
    within_bounds,
)


@dataclass
class NumpyPolicy:
    """A policy in the units of its environment.

    Attributes:
        actor: the network.
        agent: name of the update rule that it comes from.
        obs_dim: entries of an observation.
        low, high: (action,) bounds of the actions.
        env_id: where it was trained.
        obs_mean, obs_std: (obs,) float64; the mean is subtracted from an observation, then it is
            divided by the deviation. Empty: observations stay as they are.
        seed: seed of the samples that `deterministic=False` draws.
    """

    actor: ActorArrays
    agent: str
    obs_dim: int
    low: np.ndarray
    high: np.ndarray
    env_id: str
    obs_mean: np.ndarray
    obs_std: np.ndarray
    seed: int = 0
    _rng: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        self._rng = np.random.default_rng(self.seed)

    def __call__(self, obs: np.ndarray, *, deterministic: bool = True) -> np.ndarray:
        """Actions for one observation (obs,) or a batch (n, obs), float32, within the bounds.

        Raises:
            InputError: the observation has another number of entries, or one that is not finite.
        """
        obs = checked_obs(obs, self.obs_dim)
        rows = np.atleast_2d(obs)
        if self.obs_mean.size:
            rows = ((rows - self.obs_mean) / self.obs_std).astype(np.float32)
        drawn_from = self.actor.gaussian(rows)
        squashed = drawn_from.mode() if deterministic else drawn_from.sample(self._rng)
        action = within_bounds(squashed, self.low, self.high)
        return action.reshape(*obs.shape[:-1], self.low.size)


def load_policy(run: str | Path, *, seed: int = 0) -> NumpyPolicy:
    """The policy of a run folder, or of a `policy` folder itself; see `moore.load_policy`.

    Args:
        run: the folder.
        seed: seed of sampled actions.

    Raises:
        InputError: there is no policy, it is damaged, or its format is that of a newer version.
    """
    folder, about, weights = read_files(run)
    with telling_damage(folder):
        check_hash(about, weights)
        obs_dim, env_id = facts_of(about)
        low, high = bounds_of(about)
        actor = _actor(read_arrays(weights), obs_dim, low.size, noise_of(about))
        mean, std = _columns(about.get("units"), obs_dim)
        return NumpyPolicy(actor, str(about["agent"]), obs_dim, low, high, env_id, mean, std, seed)


def _actor(
    arrays: dict[str, np.ndarray], obs_dim: int, action_dim: int, noise: float
) -> ActorArrays:
    """The actor; the names and shapes of its arrays say which kind it is."""
    check_arrays(arrays)
    rest, stacked = dict(arrays), any(name.startswith("actors.") for name in arrays)
    prefix = "actors.trunk" if stacked else "trunk"
    depth = sum(1 for name in arrays if name.endswith("].weight"))
    last = arrays.get(f"{prefix}.layers[{depth - 1}].bias")
    # A policy that is squashed after sampling also has a log standard deviation for every state.
    squashed = stacked or (last is not None and last.shape[-1:] == (2 * action_dim,))
    outputs = 2 * action_dim if squashed else action_dim
    layers = take_layers(rest, prefix, inputs=obs_dim, outputs=outputs, stacked=stacked)
    if squashed:
        actor = ActorArrays("mixture" if stacked else "squashed", layers)
    elif "log_std" in rest:
        actor = ActorArrays("clipped", layers, log_std=take(rest, "log_std", (action_dim,)))
    else:
        check_noise(noise)
        actor = ActorArrays("deterministic", layers, noise=float(noise))
    if rest:
        raise ValueError(f"{min(rest)} belongs to no part of it")
    return actor


def _columns(units: dict | None, obs_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the observations, float64; empty where there are none."""
    if units is None:  # policies that were saved before there were units
        return np.zeros(0), np.zeros(0)
    mean, std = (np.asarray(units[name], np.float64) for name in ("obs_mean", "obs_std"))
    if mean.shape not in ((0,), (obs_dim,)) or std.shape != mean.shape:
        raise ValueError(f"its units have {mean.size} means for {obs_dim} observations")
    if not (np.isfinite([mean, std]).all() and (std > 0).all()):
        raise ValueError("its units need finite means and positive deviations")
    return mean, std


_HEADER_BYTES = 8
_LARGEST_HEADER = 10**7
_TYPES = {"F32": np.dtype("<f4")}


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file: the length of a JSON header, the header, the numbers.

    Raises:
        ValueError: it is no such file, or holds other numbers than float32.
    """
    size = int.from_bytes(content[:_HEADER_BYTES], "little")
    start = _HEADER_BYTES + size
    if len(content) < _HEADER_BYTES or size > _LARGEST_HEADER or start > len(content):
        raise ValueError("its weights are cut off")
    try:
        header = json.loads(content[_HEADER_BYTES:start])
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(header, dict):
        raise ValueError("its weights have no header")
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _TYPES:
            raise ValueError(f"{name} holds {entry['dtype']}, not float32")
        first, last = (start + offset for offset in entry["data_offsets"])
        if not start <= first <= last <= len(content):
            raise ValueError(f"{name} lies outside its file")
        numbers = np.frombuffer(content[first:last], _TYPES[entry["dtype"]])
        arrays[name] = numbers.reshape(entry["shape"]).astype(np.float32)
    return arrays
