"""Policies of every agent with weights drawn at random: nothing is trained."""

import dataclasses

import equinox as eqx
import jax
import numpy as np

from moore.algorithms import AGENTS
from moore.config import Config
from moore.runs.policy import Policy
from moore.units import AS_GIVEN, Units

LOW, HIGH = np.asarray([-1.0, 0.0], np.float32), np.asarray([2.0, 0.1], np.float32)
# A pressure in pascal that hardly varies, a valve's position, a temperature.
PLANT = Units(obs_mean=(101_325.0, 0.4, -12.0), obs_std=(10.0, 0.2, 30.0))


def made(name: str = "sac", seed: int = 0, *, units: Units = AS_GIVEN, **changes) -> Policy:
    """A policy of that agent: three observations, two actions, layers of 8 and 7.

    `changes`: of the configuration.
    """
    agent, config = AGENTS[name], Config(**changes)
    section = agent.config(config)
    sizes = {"hidden": (8, 7)} | ({"members": 3} if hasattr(section, "members") else {})
    section = dataclasses.replace(section, **sizes)
    config = dataclasses.replace(config, **{name: section})
    init = lambda key: agent.policy(agent.init(key, 3, 2, section))  # noqa: E731
    shapes, rng = eqx.filter_eval_shape(init, jax.random.key(0)), np.random.default_rng(seed)
    weights = jax.tree.map(lambda x: rng.normal(0.0, 0.4, x.shape).astype(np.float32), shapes)
    return Policy(weights, agent, config, 3, LOW, HIGH, "Some-v0", units=units)
