"""Makes the files of other libraries in this folder, and the actions that those libraries compute.

    pip install stable-baselines3==2.9.2 d3rlpy==2.8.1
    python make_files.py

Networks are tiny, with random weights. Entries that acting does not need are left out of the zips.
"""

import contextlib
import json
import zipfile
from pathlib import Path

import d3rlpy
import gymnasium
import numpy as np
import torch
from d3rlpy import preprocessing
from d3rlpy.models import VectorEncoderFactory
from stable_baselines3 import PPO, SAC, TD3

FOLDER = Path(__file__).parent
LOW, HIGH = np.array([-2, 0], np.float32), np.array([2, 5], np.float32)
RNG = np.random.default_rng(0)
OBS = (RNG.normal(size=(5, 3)) * [1, 5, 100] + [0, 2, 300]).astype(np.float32)
EXPECTED = {}


class Plant(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1000, 1000, (3,), np.float32)
    action_space = gymnasium.spaces.Box(LOW, HIGH)

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}


def of_stable_baselines3(name, kind, *, use_sde=False, **kwargs):
    torch.manual_seed(1)
    noise = {"use_sde": True} if use_sde else {}
    model = kind("MlpPolicy", Plant(), seed=1, device="cpu", policy_kwargs=kwargs, **noise)
    path = FOLDER / f"{name}.zip"
    model.save(path)
    EXPECTED[path.name] = model.predict(OBS / 100, deterministic=True)[0].tolist()
    with zipfile.ZipFile(path) as saved:
        entries = {key: saved.read(key) for key in ("data", "policy.pth")}
    data = json.loads(entries["data"])
    kept = ("policy_class", "policy_kwargs", "action_space", "observation_space", "use_sde")
    entries["data"] = json.dumps({key: data[key] for key in kept if key in data})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for key, content in entries.items():
            made.writestr(zipfile.ZipInfo(key, (2026, 1, 1, 0, 0, 0)), content)


def of_d3rlpy(name, config):
    torch.manual_seed(1)
    observations = (RNG.normal(size=(400, 3)) * [1, 5, 100] + [0, 2, 300]).astype(np.float32)
    actions = RNG.uniform(LOW, HIGH, (400, 2)).astype(np.float32)
    ends = np.tile([0.0] * 39 + [1.0], 10).astype(np.float32)
    data = d3rlpy.dataset.MDPDataset(observations, actions, np.ones(400, np.float32), ends)
    algo = config.create(device=False)
    with contextlib.suppress(TypeError):
        algo.fit(data, n_steps=5, n_steps_per_epoch=5, show_progress=False,
                 logger_adapter=d3rlpy.logging.NoopAdapterFactory())  # fmt: skip
    path = FOLDER / f"{name}.d3"
    algo.save(str(path))
    EXPECTED[path.name] = algo.predict(OBS).tolist()


if __name__ == "__main__":
    of_stable_baselines3("sac", SAC, net_arch=[4, 3])
    of_stable_baselines3("td3_elu", TD3, net_arch=[4, 3], activation_fn=torch.nn.ELU)
    of_stable_baselines3("ppo", PPO, net_arch=[4, 3])
    of_stable_baselines3("sac_sde", SAC, net_arch=[4], use_sde=True)
    tiny = VectorEncoderFactory([3])
    standard, ends = preprocessing.StandardObservationScaler(), preprocessing.MinMaxActionScaler()
    of_d3rlpy("cql", d3rlpy.algos.CQLConfig(batch_size=8, critic_encoder_factory=tiny,
        actor_encoder_factory=VectorEncoderFactory([4, 3]), observation_scaler=standard,
        action_scaler=ends))  # fmt: skip
    of_d3rlpy("iql", d3rlpy.algos.IQLConfig(batch_size=8, critic_encoder_factory=tiny,
        value_encoder_factory=tiny, action_scaler=preprocessing.MinMaxActionScaler(),
        actor_encoder_factory=VectorEncoderFactory([4], activation="tanh"),
        observation_scaler=preprocessing.MinMaxObservationScaler()))  # fmt: skip
    of_d3rlpy("bc", d3rlpy.algos.BCConfig(batch_size=8,
        encoder_factory=VectorEncoderFactory([4], activation="swish")))  # fmt: skip
    text = json.dumps({"obs": OBS.tolist(), "low": LOW.tolist(), "high": HIGH.tolist(),
                       "actions": EXPECTED})  # fmt: skip
    (FOLDER / "expected.json").write_text(text + "\n")
