"""What a short trial of a simulator tells of it before a run."""

import gymnasium as gym
import numpy as np
import pytest

from moore.envs.evaluation import evaluate_policy
from moore.errors import InputError
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


@pytest.mark.parametrize(
    ("steps", "words"),
    [(5, "a trial of 20 steps"), (70, "random actions"), (1500, "--episode-steps")],
)
def test_a_failure_in_the_trial_is_one_line_with_its_place(steps, words):
    class Fails(LinearGaussian):
        count = 0

        def step(self, action):
            self.count += 1
            if self.count == steps:
                raise ArithmeticError("the solver\ndiverged")
            return super().step(action)

    with pytest.raises(InputError, match=words) as refused:
        notes(Fails, None)
    assert "ArithmeticError: the solver diverged (test_probe.py, line" in str(refused.value)


@pytest.mark.parametrize("change", [lambda r: -r, lambda r: 1e3 * r, lambda r: 1e-3 * r])
def test_costs_and_other_units_of_the_reward_are_told(change):
    assert "are unlike the log's" in notes(rewarded(change))


@pytest.mark.parametrize("change", [lambda r: 0.1 * r, lambda r: r + 1.0, lambda r: 0.0])
def test_rewards_that_may_be_another_policys_are_not(change):
    assert notes(rewarded(change)) == ""


class RunningScale(gym.Wrapper):
    """Divides rewards by a running size, which starts at one."""

    size = 1.0

    def step(self, action):
        obs, reward, *rest = super().step(action)
        self.size += 0.1 * (abs(reward) - self.size)
        return obs, reward / self.size, *rest


class Smoothed(gym.Wrapper):
    """A filter of the readings that no reset clears, though the first reading is as it is."""

    level = 0.0

    def step(self, action):
        obs, *rest = super().step(action)
        self.level = np.float32(0.5 * self.level + 0.5 * obs)
        return self.level, *rest


@pytest.mark.parametrize("wrapper", [RunningScale, Smoothed])
def test_what_is_carried_over_is_told_though_the_first_observation_is_the_same(wrapper):
    assert "carried over between its episodes" in notes(lambda: wrapper(ENV()), None)


class Client(LinearGaussian):
    """One of several objects that stand for the same simulator."""

    shared = np.zeros(1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        Client.shared = self.first()
        return Client.shared.astype(np.float32), {}

    def first(self) -> np.ndarray:
        return self.state

    def step(self, action):
        self.state = Client.shared
        Client.shared = 0.9 * self.state + 0.4 * action
        return Client.shared.astype(np.float32), -1.0, False, False, {}


class Rested(Client):
    """Every episode begins at rest."""

    def first(self) -> np.ndarray:
        return np.zeros(1)


class GlobalNoise(LinearGaussian):
    """Its steps draw from a generator that all have in common; each reset seeds it."""

    def reset(self, *, seed=None, options=None):
        np.random.seed(seed)
        return super().reset(seed=seed)

    def step(self, action):
        *_, reward, terminated, truncated, info = super().step(action)
        self.state = self.state + np.random.normal(size=1)
        return self.state.astype(np.float32), reward, terminated, truncated, info


@pytest.mark.parametrize("client", [Client, Rested])
def test_objects_that_stand_for_one_simulator_are_refused(client):
    with pytest.raises(InputError, match=r"one system.*--evaluation\.episodes 0"):
        notes(of(client))


@pytest.mark.parametrize("client", [Client, Rested])
def test_nor_are_they_evaluated_side_by_side(client):
    class Still:
        low, high = np.float32([-2.0]), np.float32([2.0])

        def __call__(self, obs, *, deterministic):
            return np.zeros_like(obs)

    with pytest.raises(InputError, match="are one system"):
        evaluate_policy(Still(), of(client), episodes=2, seed=0)
    assert evaluate_policy(Still(), of(client), episodes=1, seed=0).lengths == [20]


class Flickers(LinearGaussian):
    """Its sensor drops out now and then, whatever the episode."""

    steps = 0

    def step(self, action):
        obs, *rest = super().step(action)
        self.steps += 1
        return np.where(self.steps % 17 == 0, np.nan, obs), *rest


def test_a_sensor_that_drops_out_carries_nothing_over():
    told = notes(of(Flickers))
    assert "not finite" in told and "carried over" not in told


def test_a_generator_that_several_share_is_told():
    assert "if another one is reset beside it" in notes(of(GlobalNoise))


# --- environments that reset themselves ---


class Falls(LinearGaussian):
    """Its state grows until it leaves [-1, 1]; it begins near 0."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.state = self.np_random.uniform(-0.1, 0.1, 2)
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.state = 1.1 * self.state + 0.02 * action
        fell = bool(np.abs(self.state).max() > 1)
        return self.state.astype(np.float32), -1.0, fell, False, {}


class ResetsItself(gym.Wrapper):
    """Where an episode ends it shows the first observation of the next, and says nothing of it."""

    def step(self, action):
        obs, reward, terminated, truncated, _ = super().step(action)
        if terminated or truncated:
            obs, _ = self.env.reset()
        return obs, reward, terminated, truncated, {}


class Drawn(LinearGaussian):
    """Two states that any episode may begin in, anywhere in their range; it is cut by itself."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        gym.Env.reset(self, seed=seed)
        self.state, self.steps = self.np_random.uniform(-1, 1, 2), 0
        return self.state.astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        self.state = 0.99 * self.state + 0.01 * action
        return self.state.astype(np.float32), -1.0, False, self.steps == 30, {}


class Lands(Falls):
    """It begins at 0 and is at rest there again where an episode ends: it went there itself."""

    def step(self, action):
        reward = super().step(action)[1]
        self.steps = getattr(self, "steps", 0) + 1
        self.state = np.sin(0.1 * self.steps) * np.ones(2) * 0.9
        down = self.steps % 63 == 0
        return self.state.astype(np.float32), reward, down, False, {}


@pytest.mark.parametrize("plant", [Falls, Drawn])
def test_an_environment_that_resets_itself_without_a_word_is_told(plant):
    assert "seems to reset itself" in notes(lambda: ResetsItself(plant()), None)
    assert "resets itself" not in notes(plant, None)


@pytest.mark.parametrize("plant", [Falls, Drawn, Lands, LinearGaussian])
def test_one_whose_episodes_end_where_they_end_is_not(plant):
    assert "reset itself" not in notes(lambda: gym.wrappers.TimeLimit(plant(), 50), None)
