"""How the adapter calls an environment: with its own settings of JAX, and its errors untouched."""

import jax
import jax.numpy as jnp
import pytest

from made_plants import Tank
from moore.envs.make import make_env
from moore.errors import InputError
from moore.jax_settings import plain_jax


class Breaks(Tank):
    """Its pump stops at the step of this number, counted from 1."""

    def __init__(self, at: int):
        super().__init__()
        self.at = at

    def step(self, action):
        if len(self.sent) + 1 == self.at:
            raise ConnectionError("the pump does not answer")
        return super().step(action)


def test_what_fails_at_the_first_call_may_be_no_environment_and_is_told_in_one_line():
    env = make_env(lambda: Breaks(at=1))
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"its first step\(\) fails with .*pump does not answer"):
        env.step(env.action_space.sample())


def test_what_fails_later_is_the_plants_own_error():
    env = make_env(lambda: Breaks(at=2))
    env.reset(seed=0)
    env.step(env.action_space.sample())
    with pytest.raises(ConnectionError, match="the pump does not answer"):
        env.step(env.action_space.sample())


class Compiled:
    """A function without a signature, as those are that are written in C."""

    __signature__ = "unknown"

    def __init__(self, function):
        self.function = function

    def __call__(self, **options):
        return self.function(**options)


def test_a_reset_that_is_written_in_c_is_believed_to_take_a_seed():
    tank = Tank()
    tank.reset = Compiled(tank.reset)
    obs, _ = make_env(lambda: tank).reset(seed=0)
    assert obs.shape == (2,)


class InJax(Tank):
    """Computes with JAX, and remembers in how many bits."""

    def __init__(self):
        super().__init__()
        self.widths = []

    def reset(self, *, seed=None, options=None):
        self.widths.append(jnp.zeros(1).dtype.itemsize)
        return super().reset(seed=seed)

    def step(self, action):
        self.widths.append(jnp.zeros(1).dtype.itemsize)
        return super().step(action)


def test_every_call_is_made_with_the_settings_of_the_users_program():
    inner = InJax()
    with jax.enable_x64(True), plain_jax():
        env = make_env(lambda: inner)
        env.reset(seed=0)
        for _ in range(2):
            env.step(env.action_space.sample())
        assert jnp.zeros(1).dtype.itemsize == 4
    assert inner.widths == [8, 8, 8]
