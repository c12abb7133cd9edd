"""An exported policy with NumPy alone: neither moore nor JAX is needed. Copy this file and use it.

    policy = NumpyPolicy("controller")            # the folder that `moore export` wrote
    action = policy(observation)                  # one observation, or a batch
    action = policy(observation, previous_action) # if it was exported with a rate limit

From the command line, with one observation: python numpy_policy.py controller 0.1 -0.3 2.0
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np


class NumpyPolicy:
    """What policy.npz computes. Inputs and outputs are in their own units, as in contract.json."""

    def __init__(self, folder):
        content = (Path(folder) / "policy.npz").read_bytes()
        self.contract = json.loads((Path(folder) / "contract.json").read_text(encoding="utf-8"))
        wanted = self.contract["files"]["policy.npz"]["sha256"]
        if hashlib.sha256(content).hexdigest() != wanted:
            raise ValueError(f"{folder}/policy.npz is not the file that contract.json describes")
        with np.load(Path(folder) / "policy.npz", allow_pickle=False) as file:
            self.numbers = {name: file[name] for name in file.files}
        self.depth = sum(name.startswith("weight_") for name in self.numbers)
        self.obs_dim = len(self.contract["inputs"][0]["entries"])

    def __call__(self, obs, previous_action=None):
        """Actions (action,) or (n, action) for observations (obs,) or (n, obs), float32."""
        n, obs = self.numbers, np.asarray(obs, np.float32)
        if obs.shape[-1:] != (self.obs_dim,) or not np.isfinite(obs).all():
            raise ValueError(f"expected {self.obs_dim} finite numbers, got {obs}")
        x = np.atleast_2d(obs)
        if n["obs_mean"].size:  # in float64: a mean may be much larger than its deviation
            x = ((x - n["obs_mean"]) / n["obs_std"]).astype(np.float32)
        for i in range(self.depth):
            x = x @ n[f"weight_{i}"] + n[f"bias_{i}"][..., None, :]
            if i + 1 < self.depth:
                x = np.maximum(x, 0.0)
        if x.ndim == 3:  # several members: (members, rows, action)
            x = x.mean(axis=0)
        low, high = n["low"], n["high"]
        action = np.clip(low + (np.tanh(x) + 1.0) * (0.5 * (high - low)), low, high)
        if "rate_limit" in n:
            if previous_action is None or not np.isfinite(previous_action).all():
                raise ValueError("this policy limits the change of its action: give the last one")
            start = np.clip(np.asarray(previous_action, np.float32), low, high)
            action = np.clip(action, start - n["rate_limit"], start + n["rate_limit"])
        return action.reshape(*obs.shape[:-1], low.size)


if __name__ == "__main__":
    policy = NumpyPolicy(sys.argv[1])
    numbers = np.array([float(text) for text in sys.argv[2:]])
    limited = "rate_limit" in policy.numbers
    given = np.split(numbers, [policy.obs_dim]) if limited else [numbers]
    print(*policy(*given))
