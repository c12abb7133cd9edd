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
# A pressure in pascal that hardly varies, a valve's position, a temperature. No float32 is a mean.
PLANT = Units(obs_mean=(101_325.3, 0.4, -12.0), obs_std=(10.0, 0.2, 30.0))


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


def by_hand(*members: tuple[float, float, float], units: Units = AS_GIVEN) -> Policy:
    """A policy of one observation and one action within [-1, 3], whose numbers are worked by hand.

    Before the tanh it is a relu(x) + b relu(-x) + c for the (a, b, c) of a member. One member is a
    SAC policy, several are a mixture; the log standard deviation is 0.
    """
    weights = [
        (np.asarray([[1.0, -1.0]]), np.zeros(2), np.asarray([[a, 0.0], [b, 0.0]]), [c, 0.0])
        for a, b, c in members
    ]
    stacked = [
        np.stack([np.asarray(x, np.float32) for x in part]) for part in zip(*weights, strict=True)
    ]
    agent = AGENTS["balanced_replay" if len(members) > 1 else "sac"]
    config = Config()
    sizes = {"hidden": (2,)} | ({"members": len(members)} if len(members) > 1 else {})
    section = dataclasses.replace(agent.config(config), **sizes)
    like = agent.policy(agent.init(jax.random.key(0), 1, 1, section))
    leaves = stacked if len(members) > 1 else [part[0] for part in stacked]
    trunk = (like.actors if len(members) > 1 else like).trunk
    where = lambda t: [x for layer in t.layers for x in (layer.weight, layer.bias)]  # noqa: E731
    trunk = eqx.tree_at(where, trunk, leaves)
    place = (lambda p: p.actors.trunk) if len(members) > 1 else (lambda p: p.trunk)
    low, high = np.asarray([-1.0], np.float32), np.asarray([3.0], np.float32)
    return Policy(eqx.tree_at(place, like, trunk), agent, config, 1, low, high, "", units=units)
