"""What a short trial of a simulator tells of it before a run."""

import gymnasium as gym
import numpy as np
import pytest

from moore.runs.world import find_world
from tiny import ENV, LinearGaussian, quick_config, tiny_log

LOG = tiny_log(episodes=3)


def notes(make, log=LOG) -> str:
    return " ".join(find_world(quick_config(), log, env=make, system=None).notes)


class Unseeded(LinearGaussian):
    """Its steps draw from NumPy's own generator."""

    def step(self, action):
        *_, reward, terminated, truncated, info = super().step(action)
        self.state = self.state + np.random.normal(size=1)
        return self.state.astype(np.float32), reward, terminated, truncated, info


class Blind(LinearGaussian):
    """It shows its first state for ever."""

    def step(self, action):
        return np.ones(1, np.float32), *super().step(action)[1:]


def of(plant) -> gym.Env:
    return lambda: gym.wrappers.TimeLimit(plant(), 20)


def rewarded(change) -> gym.Env:
    return lambda: gym.wrappers.TransformReward(ENV(), change)


def test_a_simulator_that_does_what_it_should_says_nothing():
    assert notes(ENV) == ""


def test_steps_that_no_seed_repeats_are_told():
    assert "part under the same actions" in notes(of(Unseeded))


def test_observations_that_never_change_are_told():
    assert "no observation changes in a trial of 20 steps" in notes(of(Blind))


@pytest.mark.parametrize("change", [lambda r: -r, lambda r: 1e3 * r, lambda r: 1e-3 * r])
def test_costs_and_other_units_of_the_reward_are_told(change):
    assert "are unlike the log's" in notes(rewarded(change))


@pytest.mark.parametrize("change", [lambda r: 0.1 * r, lambda r: r + 1.0, lambda r: 0.0])
def test_rewards_that_may_be_another_policys_are_not(change):
    assert notes(rewarded(change)) == ""
