"""Makes the log that ships with moore: a half-trained SAC policy acts on a Gymnasium task.

    python examples/make_quickstart_log.py Pendulum-v1 --out pendulum-medium.npz

SAC learns from scratch; its policy after --snapshot steps then acts, with its own noise, for --rows
steps: a "medium" log in D4RL's sense. The reference returns in the file are measured here, for
uniformly random actions and for the policy after --steps steps.
"""

import argparse
import dataclasses
import hashlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from moore.agents import sac
from moore.agents.nets import mode_action
from moore.agents.sac import SACConfig
from moore.data.dataset import Dataset
from moore.data.episodes import episode_statistics
from moore.envs.collector import Collector
from moore.envs.evaluation import random_policy, run_episodes
from moore.envs.make import action_bounds, episode_seed, make_env
from moore.evaluation.scores import ReferenceScores
from moore.formats.npz import write_npz
from moore.replay.buffer import as_batch, empty_ring, push
from moore.replay.sampler import sample_ring


@jax.jit
def act(state, obs, key):
    return sac.act(sac.policy(state), obs, key)


@partial(jax.jit, static_argnames=("config",), donate_argnames=("state",))
def learn(state, ring, key, config):
    key_batch, key_update = jax.random.split(key)
    rows = jnp.full(config.batch_size, -1)  # of no log
    batch = as_batch(sample_ring(key_batch, config.batch_size, ring), rows)
    return sac.update(state, batch, key_update, config)[0]


def train(env_id: str, args, config: SACConfig):
    """SAC with one update a step; returns the agent at the snapshot, and at the end."""
    steps, seed, random_steps = args.steps, args.seed, args.random_steps
    env = make_env(env_id)
    collector = Collector(env, seed)
    action_dim = env.action_space.shape[0]
    explore = random_policy(action_dim, seed)
    key = jax.random.key(seed)
    state = sac.init(key, env.observation_space.shape[0], action_dim, config)
    ring = empty_ring(steps, env.observation_space.shape[0], action_dim)
    insert = jax.jit(push, donate_argnums=0)
    for step in range(steps):
        key_act, key_update = jax.random.split(jax.random.fold_in(key, step))
        if step < random_steps:
            action = explore(collector.observation()[None])[0]
        else:
            action = np.asarray(act(state, collector.observation(), key_act))
        row = jax.tree.map(lambda x: x[None], collector.step(action))
        ring = insert(ring, row, np.ones(1, bool))
        if step >= random_steps:
            state = learn(state, ring, key_update, config)
        if step + 1 == args.snapshot:
            snapshot = jax.tree.map(np.asarray, state)
        for episode_return in collector.take_episode_returns():
            print(f"step {step + 1}: return {episode_return:.1f}", flush=True)
    return snapshot, state


def record(env_id: str, state, rows: int, seed: int):
    """`rows` transitions of the acting policy, one episode after the other."""
    collector = Collector(make_env(env_id), seed + 1)
    history = []
    for step in range(rows):
        key = jax.random.fold_in(jax.random.key(seed + 1), step)
        history.append(collector.step(np.asarray(act(state, collector.observation(), key))))
    return jax.tree.map(lambda *column: np.stack(column), *history)


def measure(env_id: str, policy, seed: int, episodes: int = 20) -> float:
    """Mean return of a policy over fresh episodes."""
    envs = [make_env(env_id) for _ in range(episodes)]
    seeds = [episode_seed(seed, "evaluate", i) for i in range(episodes)]
    return run_episodes(envs, policy, seeds).mean_return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("env_id")
    parser.add_argument("--steps", type=int, default=6000, help="environment steps of SAC")
    parser.add_argument("--snapshot", type=int, default=2400, help="step whose policy is logged")
    parser.add_argument("--rows", type=int, default=8000, help="transitions in the log")
    parser.add_argument("--random-steps", type=int, default=500, help="uniform actions at first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    env = make_env(args.env_id)
    action_dim = env.action_space.shape[0]
    config = SACConfig(target_entropy=-float(action_dim), hidden=(64, 64), learning_rate=1e-3)
    medium, state = train(args.env_id, args, config)
    mode = jax.jit(lambda s, o: mode_action(sac.policy(s), o))
    reference = ReferenceScores(
        random=measure(args.env_id, random_policy(action_dim, args.seed), args.seed),
        expert=measure(args.env_id, lambda obs: np.asarray(mode(state, obs)), args.seed),
        source=f"20 episodes each: uniform actions; SAC after {args.steps} steps, deterministic",
    )
    low, high = action_bounds(env)
    log = record(args.env_id, medium, args.rows, args.seed)
    # The log ends inside an episode unless an end falls on its last row.
    truncated = log.truncated.copy()
    truncated[-1] = not log.terminated[-1]
    returns, lengths = episode_statistics(log.reward, log.terminated | log.truncated)
    dataset = Dataset(
        obs=log.obs,
        action=low + (log.action + 1.0) * (0.5 * (high - low)),
        reward=log.reward,
        next_obs=log.next_obs,
        terminated=log.terminated,
        truncated=truncated,
        successor_known=np.ones(args.rows, bool),
        episode_returns=returns,
        episode_lengths=lengths,
        name=args.out,
        env_id=args.env_id,
        sha256=hashlib.sha256(log.obs.tobytes()).hexdigest(),
        reference=reference,
        metadata={
            "made_by": "examples/make_quickstart_log.py",
            "algorithm": "SAC, one update a step, stochastic actions",
            "sac": dataclasses.asdict(config),
            "seed": args.seed,
            "snapshot_step": args.snapshot,
            "steps": args.steps,
        },
    )
    write_npz(args.out, dataset)
    print(f"{args.out}: random {reference.random:.1f}, expert {reference.expert:.1f}")


if __name__ == "__main__":
    main()
