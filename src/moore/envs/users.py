"""An environment that computes with JAX itself, in the settings that its user gave to JAX."""

import gymnasium as gym

from moore.jax_settings import settings_differ, users_jax


class InUsersJax(gym.Wrapper):
    """The environment with the user's settings of JAX, not those of the run around it."""

    def reset(self, **kwargs):
        with users_jax():
            return self.env.reset(**kwargs)

    def step(self, action):
        with users_jax():
            return self.env.step(action)

    def close(self):
        with users_jax():
            return self.env.close()


def in_users_jax(env: gym.Env) -> gym.Env:
    """The environment itself where the user's settings are the run's."""
    return InUsersJax(env) if settings_differ() else env
