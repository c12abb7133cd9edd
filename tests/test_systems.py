"""Systems that nobody here wrote, put through the main job: log, inspect, offline, online, policy.

Minutes each; `pip install -e ".[systems]"` brings them. What an engineer would do: a simple
controller with noise makes the log, and the preset `plant` does the rest.
"""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

import moore
from moore.formats.load import read_log
from moore.inspecting.summary import summarize

pytestmark = pytest.mark.slow


class NeverTerminates(gym.Wrapper):
    """pcgym calls the end of its horizon a termination; it is a time limit."""

    def step(self, action):
        obs, reward, _, _, info = self.env.step(action)
        return obs, float(reward), False, False, info


def reactor(*, normalised: bool) -> gym.Env:
    """pcgym's stirred tank reactor: hold a concentration, whose setpoint moves once, by cooling."""
    pcgym = pytest.importorskip("pcgym")
    env = pcgym.make_env(
        {
            "N": 100,
            "tsim": 26,
            "SP": {"Ca": [0.85] * 50 + [0.9] * 50},
            "a_space": {"low": np.array([295.0]), "high": np.array([302.0])},
            "o_space": {"low": np.array([0.7, 300, 0.8]), "high": np.array([1, 350, 0.9])},
            "x0": np.array([0.8, 330, 0.8]),
            "model": "cstr",
            "normalise_a": False,
            "normalise_o": normalised,
            "noise": False,
            "integration_method": "casadi",
            "r_scale": {"Ca": 1e3},
        }
    )
    return gym.wrappers.TimeLimit(NeverTerminates(env), 99)


def cools(*, normalised: bool):
    """A proportional controller; without noise it earns -33.8."""
    reach = np.array([0.15, 0.0, 0.05]) if normalised else np.array([1.0, 0.0, 1.0])
    centre = np.array([0.85, 0.0, 0.85]) if normalised else np.zeros(3)

    def act(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen = centre + reach * obs
        wanted = 299.0 - 50.0 * (seen[2] - seen[0]) + 1.5 * rng.normal()
        return np.clip([wanted], 295.0, 302.0).astype(np.float32)

    return act


def cart() -> gym.Env:
    """dm_control's cartpole-balance through shimmy: a dictionary, truncated by itself at 1000."""
    pytest.importorskip("dm_control")
    shimmy = pytest.importorskip("shimmy")
    gym.register_envs(shimmy)
    return gym.wrappers.FlattenObservation(gym.make("dm_control/cartpole-balance-v0"))


def balances(obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Position, cosine and sine of the pole, two velocities; without noise it earns 1000."""
    wanted = 0.4 * obs[0] + 4.0 * obs[2] + 0.5 * obs[3] + 0.8 * obs[4] + 0.6 * rng.normal()
    return np.clip([wanted], -1.0, 1.0).astype(np.float32)


def write_log(path, make, act, *, rows: int) -> None:
    env, rng, logged, episode = make(), np.random.default_rng(0), [], 0
    while len(logged) < rows:
        obs, _ = env.reset(seed=episode)
        episode, ended = episode + 1, False
        while not ended:
            action = act(obs, rng)
            after, reward, terminated, truncated, _ = env.step(action)
            logged.append((obs, action, reward, after, terminated, truncated))
            obs, ended = after, terminated or truncated
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    np.savez(path, **dict(zip(names, map(np.array, zip(*logged, strict=True)), strict=True)))


def systems():
    for normalised in (False, True):
        yield pytest.param(
            lambda normalised=normalised: reactor(normalised=normalised),
            cools(normalised=normalised),
            id="reactor, normalised" if normalised else "reactor, raw units",
        )
    yield pytest.param(cart, balances, id="cart")


@pytest.mark.parametrize(("make", "act"), systems())
def test_the_main_job_from_log_to_policy(tmp_path, make, act):
    make().close()
    path = tmp_path / "log.npz"
    write_log(path, make, act, rows=6000)
    summary = summarize(read_log(path))
    assert summary["episodes"] >= 6 and not summary["non_finite"]
    log = moore.load_dataset(path)

    config = moore.preset("plant")
    config = dataclasses.replace(
        config,
        evaluation=dataclasses.replace(config.evaluation, episodes=3, candidate=False),
        offline=dataclasses.replace(config.offline, epochs=20),
        online=dataclasses.replace(config.online, epochs=2, steps_per_epoch=500),
        accept=("hand-over",),  # so that both stages are run, whatever came out of the first
    )
    result = moore.run(config, dataset=path, env=make, out=tmp_path / "run", quiet=True)
    found = result.summary["hand_over"]
    assert found["log_return"] == pytest.approx(log.episode_returns.mean())
    # Most of the way from random actions to the log's controller. To reach it is the aim, and is
    # not reached everywhere yet: the summary says so (`below_log`).
    random, logged = result.summary["random_return"], found["log_return"]
    bar = random + 0.6 * (logged - random)
    assert found["policy_return"] > bar and result.summary["transfer"]["final"] > bar, found

    policy = moore.load_policy(result.folder)
    env = make()
    obs, _ = env.reset(seed=0)
    assert env.action_space.contains(policy(obs).astype(env.action_space.dtype))
