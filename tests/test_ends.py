"""What older interfaces say in the info where an episode ends, and what the adapter makes of it."""

import gymnasium as gym
import numpy as np
import pytest

from made_plants import Shown, Tank
from moore.envs.collector import Collector
from moore.envs.make import make_env
from moore.errors import InputError


def collected(env: gym.Env, steps: int) -> list:
    """What a collector makes of some steps."""
    collector = Collector(make_env(lambda: env), 0)
    return [collector.step(np.zeros(1, np.float32)) for _ in range(steps)]


def ending(terminated: bool, truncated: bool, **info) -> tuple[bool, bool]:
    flags = terminated, truncated
    env = Shown(Tank(), lambda n, obs, reward, *rest: (obs, reward, *flags, info))
    (row,) = collected(env, 1)
    return bool(row.terminated), bool(row.truncated)


@pytest.mark.parametrize("yes", [True, np.True_, 1])
def test_a_time_out_that_is_flagged_as_a_termination_is_one(yes):
    assert ending(True, False, **{"TimeLimit.truncated": yes}) == (False, True)


@pytest.mark.parametrize("info", [{}, {"TimeLimit.truncated": False}])
def test_other_ends_are_what_they_are_flagged_as(info):
    assert ending(True, False, **info) == (True, False)
    assert ending(False, True, **info) == (False, True)
    assert ending(True, True, **info) == (True, False), (
        "what has failed at its last step has failed"
    )


def test_a_step_without_an_info_is_taken():
    env = Shown(Tank(own_limit=1), lambda n, *shown: (*shown[:4], None))
    assert [bool(row.truncated) for row in collected(env, 2)] == [True, True]


def test_an_environment_that_resets_itself_is_refused_at_its_first_end():
    class ResetsItself(gym.Wrapper):
        def step(self, action):
            *shown, cut, info = self.env.step(action)
            if cut:
                info["final_observation"] = shown[0]
                shown[0], _ = self.env.reset()
            return *shown, cut, info

    env = ResetsItself(Tank(own_limit=3))
    with pytest.raises(InputError, match=r"resets itself: .* info\['final_observation'\]"):
        collected(env, 3)


@pytest.mark.parametrize(
    "last", [lambda obs: obs, lambda obs: 50 * obs + 9, lambda obs: obs[:1], lambda obs: "gone"]
)
def test_one_that_tells_its_last_observation_twice_is_not(last):
    """The info may hold it in other units, before a wrapper changed it."""

    def alter(n, obs, *rest):
        return obs, *rest[:3], {"terminal_observation": last(obs)}

    assert len(collected(Shown(Tank(own_limit=3), alter), 9)) == 9
