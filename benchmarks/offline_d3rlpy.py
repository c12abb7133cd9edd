"""Offline stages of d3rlpy's agents on the logs of Fig. 1, to compare ours with.

    pip install torch d3rlpy "gymnasium[mujoco]" h5py       # in an environment of its own
    python benchmarks/offline_d3rlpy.py quick/inverted-pendulum --agents cql td3bc iql awac
    python benchmarks/offline_d3rlpy.py hopper-medium-replay.hdf5 --env-id Hopper-v5 --agents iql

Widths, batches, learning rates, discounts and numbers of updates are those of the presets
quick/inverted-pendulum and laptop/*. Prints one line of JSON an evaluation (10 episodes, the
deterministic policy).
"""

import argparse
import json
import sys
from pathlib import Path

import d3rlpy
import gymnasium
import h5py
import numpy as np
import structlog
import torch

BUILTIN = Path(__file__).parents[1] / "src/moore/data/builtin/inverted-pendulum-medium.npz"
QUICK = {"widths": [64, 64], "batch_size": 128, "gamma": 0.95, "rate": 1e-3, "actor_rate": 3e-4}
LAPTOP = {"widths": [256, 256], "batch_size": 256, "gamma": 0.99, "rate": 3e-4, "actor_rate": 1e-4}


def read(path: Path) -> dict[str, np.ndarray]:
    """observations, actions, rewards, terminals, timeouts of a log in .npz or D4RL's HDF5."""
    if path.suffix == ".npz":
        names = ("obs", "action", "reward", "terminated", "truncated")
        file = np.load(path)
    else:
        names = ("observations", "actions", "rewards", "terminals", "timeouts")
        file = h5py.File(path)
    return {new: file[name][:].astype(np.float32) for new, name in zip("oartc", names, strict=True)}


def data_set(log: dict[str, np.ndarray], space) -> d3rlpy.dataset.MDPDataset:
    """Actions as in [-1, 1], off the border; a row that ended is not cut, the last row is."""
    scaled = (log["a"] - space.low) / (space.high - space.low) * 2 - 1
    cut = np.where(log["t"] > 0, 0, log["c"])
    cut[-1] = 1 - log["t"][-1]
    bound = 1 - 1e-5
    actions = np.clip(scaled, -bound, bound).astype(np.float32)
    return d3rlpy.dataset.MDPDataset(log["o"], actions, log["r"].reshape(-1, 1), log["t"], cut)


def agent(name: str, size: dict, updates: int):
    algos, optimizers = d3rlpy.algos, d3rlpy.optimizers
    encoder = d3rlpy.models.encoders.VectorEncoderFactory(size["widths"])
    common = {
        "batch_size": size["batch_size"],
        "gamma": size["gamma"],
        "actor_encoder_factory": encoder,
        "critic_encoder_factory": encoder,
        "critic_learning_rate": size["rate"],
        "actor_learning_rate": size["rate"],
    }
    if name == "iql":
        decay = optimizers.CosineAnnealingLRFactory(T_max=updates)
        config = algos.IQLConfig(
            **common,
            value_encoder_factory=encoder,
            actor_optim_factory=optimizers.AdamFactory(lr_scheduler_factory=decay),
            reward_scaler=d3rlpy.preprocessing.ReturnBasedRewardScaler(multiplier=1000.0),
        )
    elif name == "awac":
        config = algos.AWACConfig(**common, lam=1 / 3)
    elif name == "cql":
        config = algos.CQLConfig(
            **common | {"actor_learning_rate": size["actor_rate"]},
            temp_learning_rate=size["actor_rate"],
            alpha_learning_rate=0.0,
            initial_alpha=1.0,
            conservative_weight=5.0,
            n_action_samples=4,
            soft_q_backup=False,
        )
    else:
        config = algos.TD3PlusBCConfig(**common, alpha=2.5)
    return config.create(device=False)


def evaluate(policy, env, episodes: int) -> float:
    low, high = env.action_space.low, env.action_space.high
    returns = []
    for episode in range(episodes):
        obs, _ = env.reset(seed=1000 + episode)
        total, over = 0.0, False
        while not over:
            action = np.clip(policy.predict(obs[None].astype(np.float32))[0], -1, 1)
            action = (low + (action + 1) / 2 * (high - low)).astype(np.float32)
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", help="quick/inverted-pendulum, or a file in D4RL's layout")
    parser.add_argument("--env-id", default="InvertedPendulum-v5")
    parser.add_argument("--agents", nargs="+", default=["iql"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    options = parser.parse_args()
    torch.set_num_threads(1)
    # d3rlpy's own log, out of the way of the results.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    quick = options.log == "quick/inverted-pendulum"
    size, updates, epoch = (QUICK, 7500, 500) if quick else (LAPTOP, 60_000, 2000)
    env = gymnasium.make(options.env_id)
    log = data_set(read(BUILTIN if quick else Path(options.log)), env.action_space)
    for seed in options.seeds:
        for name in options.agents:
            d3rlpy.seed(seed)
            policy = agent(name, size, updates)
            for number, _ in policy.fitter(
                log,
                n_steps=updates,
                n_steps_per_epoch=epoch,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
                show_progress=False,
            ):
                value = evaluate(policy, env, 10)
                line = {"agent": name, "seed": seed, "updates": number * epoch, "return": value}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
