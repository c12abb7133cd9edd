"""A system that shows other units than the log is not acted on, or it is said what differs."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.findings.scales import far_outside
from moore.replay.buffer import Transition
from moore.runs.hand_over import check_first
from moore.runs.met import seems_reset, unlike_the_log
from moore.runs.run import run
from tiny import ENV, quick_config, tiny_log

LOG = tiny_log()  # observations within 2, rewards from -4 to 0


def met(obs=None, reward=None, next_obs=None, n=50, cut=()) -> Transition:
    """Transitions like those of the log, but for what is given."""
    flags = np.zeros(n, bool)
    obs = LOG.obs[:n] if obs is None else obs
    reward = LOG.reward[:n] if reward is None else reward
    next_obs = LOG.next_obs[:n] if next_obs is None else next_obs
    return Transition(obs, LOG.action[:n], reward, next_obs, flags, np.isin(np.arange(n), cut))


@given(scale=st.floats(1e-3, 1e6), offset=st.floats(-1e3, 1e3), dims=st.integers(1, 5))
def test_other_units_are_far_whatever_the_units_are(scale, offset, dims):
    rng = np.random.default_rng(dims)
    logged = rng.uniform(-1, 1, (100, dims)) * scale + offset
    assert far_outside(logged[:3], logged) == ""
    assert far_outside(logged[:3] + 5 * scale, logged) == "", "3 standard deviations beyond all"
    elsewhere = logged[:3].copy()
    elsewhere[:, -1] += 100 * scale
    assert far_outside(elsewhere, logged).startswith(f"{dims - 1} (")


def test_a_column_that_never_changed_does_not_stop_a_first_observation():
    log = tiny_log()
    still = np.hstack([log.obs, np.full_like(log.obs, 20.0)])
    object.__setattr__(log, "obs", still)
    check_first(np.asarray([1.0, 21.0], np.float32), log)
    with pytest.raises(InputError, match=r"entries 0 \(1000; in the log -1.9"):
        check_first(np.asarray([1000.0, 20.0], np.float32), log)


def test_what_the_log_never_shows_is_told():
    assert unlike_the_log(met(), LOG) == {}
    assert "units" in unlike_the_log(met(reward=1000 * LOG.reward[:50]), LOG)["reward"]
    assert "order" in unlike_the_log(met(obs=1000 + 50 * LOG.obs[:50]), LOG)["obs"]
    assert "not costs" in unlike_the_log(met(reward=1e-3 - LOG.reward[:50]), LOG)["reward"]
    assert unlike_the_log(met(obs=1000 + LOG.obs[:5], n=5), LOG) == {}, "few rows tell nothing"


@pytest.mark.parametrize("episode", [1000, 10])
def test_sensors_that_stand_still_are_told_also_where_each_episode_has_another_value(episode):
    obs = np.repeat(LOG.obs[: 1 + 49 // episode], episode, axis=0)[:50]
    told = unlike_the_log(met(obs=obs, next_obs=obs), LOG)
    assert "entries [0] have stood still from step to step in 50 steps" in told["still"]
    noisy = np.where(np.arange(50)[:, None] % 10 == 0, obs + 1e-3, obs)
    assert "still" not in unlike_the_log(met(obs=obs, next_obs=noisy), LOG)


def test_another_step_limit_of_the_system_is_told_where_all_its_episodes_show_it():
    sevenths = range(3, 50, 7)
    told = unlike_the_log(met(cut=[*sevenths]), LOG, 20)
    assert "cuts its episodes after 7 steps; the policy is learned" in told["limit"]
    assert "for episodes of 20" in told["limit"]
    as_short = dataclasses.replace(LOG, episode_lengths=np.array([7, 7, 9]))
    assert unlike_the_log(met(cut=[*sevenths]), as_short, 20) == {}, "the log's are no longer"
    assert unlike_the_log(met(cut=[*sevenths]), LOG, 7) == {}
    assert unlike_the_log(met(cut=[*sevenths]), LOG, None) == {}, "nothing is known of it"
    assert unlike_the_log(met(cut=[3, 10, 18, 25]), LOG, 20) == {}, "it is another reason"
    assert unlike_the_log(met(cut=[3, 10]), LOG, 20) == {}, "two are few"


class Elsewhere(gym.Wrapper):
    """The task in other units, which remembers its steps."""

    def __init__(self, sent: list, *, offset=0.0, price=1.0):
        super().__init__(ENV())
        self.sent, self.offset, self.price = sent, np.float32(offset), price

    def reset(self, **options):
        obs, info = super().reset(**options)
        return obs + self.offset, info

    def step(self, action):
        self.sent.append(action)
        obs, reward, *rest = super().step(action)
        return obs + self.offset, self.price * reward, *rest


def test_nothing_is_sent_to_a_live_system_in_other_units(tmp_path):
    sent, how = [], {"dataset": LOG, "env": ENV, "quiet": True}
    with pytest.raises(InputError, match=r"no action was sent.*--accept first-observation"):
        run(quick_config(), system=lambda: Elsewhere(sent, offset=1000), out=tmp_path / "a", **how)
    assert sent == [] and (tmp_path / "a" / "checkpoints" / "hand-over").exists()
    config = quick_config(accept=("first-observation",))
    run(config, system=lambda: Elsewhere(sent, offset=1000), out=tmp_path / "b", **how)
    assert len(sent) == 36


def test_rewards_in_other_units_are_told_once(tmp_path, capsys):
    how = {"dataset": LOG, "env": ENV, "out": tmp_path / "run"}
    run(quick_config(), system=lambda: Elsewhere([], price=1000.0), **how)
    assert capsys.readouterr().err.count("the rewards of the system are about -") == 1


def fallen(reset_first: bool) -> Transition:
    """Episodes of 20 steps from near 0 upwards; their ends may be shown after a reset."""
    rng = np.random.default_rng(0)
    starts = rng.uniform(-0.1, 0.1, (6, 1))
    obs = np.concatenate([start + 0.1 * np.arange(20)[:, None] for start in starts])
    ends = np.arange(120) % 20 == 19
    next_obs = obs + 0.1 + rng.normal(0, 1e-3, obs.shape)
    if reset_first:
        next_obs[ends] = rng.uniform(-0.1, 0.1, (6, 1))
    none = np.zeros(120, bool)
    return Transition(obs, np.zeros((120, 1)), np.zeros(120), next_obs, ends, none)


def test_a_system_that_resets_itself_is_told():
    assert "the system shows an observation with which episodes begin" in seems_reset(fallen(True))
    assert seems_reset(fallen(False)) == seems_reset(met()) == ""


def test_a_live_system_that_resets_itself_is_told_once(tmp_path, capsys):
    class ResetsItself(gym.Wrapper):
        """Every five steps, without a word."""

        count = 0

        def step(self, action):
            obs, reward, *_ = super().step(action)
            self.count += 1
            cut = self.count % 5 == 0
            return self.env.reset()[0] if cut else obs, reward, False, cut, {}

    how = {"dataset": LOG, "env": ENV, "out": tmp_path / "run"}
    run(quick_config(), system=lambda: ResetsItself(ENV().unwrapped), **how)
    assert capsys.readouterr().err.count("seems to reset itself") == 1
