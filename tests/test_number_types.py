"""Learning mixes no types of numbers, and repeats no array unasked, whatever the agent.

JAX is told to refuse both in all tests (`strict_jax.py`). Here every agent is asked for both
stages; programs are traced, which costs little, and not compiled.
"""

import contextlib

import jax
import jax.numpy as jnp
import optax
import pytest

from moore.agents.ppo_state import PPOBatch
from moore.algorithms import AGENTS
from moore.config import Config
from moore.dynamics.ensemble import init_ensemble
from moore.dynamics.fit import train_step
from moore.dynamics.imagine import rollout
from moore.dynamics.model_config import ModelConfig
from moore.jax_settings import plain_jax, users_jax
from moore.replay.buffer import Batch, GroupedBatch, empty_replay
from tiny import AGENT_SETTINGS

ROWS, OBS, ACTION = 8, 3, 2


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def flags(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, bool)


def counts(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


KEY = jax.eval_shape(lambda: jax.random.key(0))
EACH = floats(ROWS)
STEPS = floats(ROWS, OBS), floats(ROWS, ACTION), EACH, floats(ROWS, OBS)
COLUMNS = *STEPS, flags(ROWS), flags(ROWS), counts(ROWS)


def batch_of(name: str, columns):
    """What an agent of this name learns from."""
    if name == "ppo":
        obs, action, each, *_ = columns
        return PPOBatch(obs, action, each, each, each)
    batch = Batch(*columns)
    return GroupedBatch(batch, batch, batch) if name == "balanced_replay" else batch


@pytest.mark.parametrize("settings", [contextlib.nullcontext, plain_jax, users_jax])
def test_jax_refuses_both_in_the_tests_and_within_runs(settings):
    with settings():
        with pytest.raises(ValueError, match="implicit dtype promotion"):
            jnp.ones(2) + jnp.arange(2)
        with pytest.raises(ValueError, match="could not be broadcast together"):
            jnp.ones((3, 2)) + jnp.ones(2)


def rows_of_a_buffer():
    return jax.eval_shape(lambda: empty_replay(ROWS, OBS, ACTION, max_holdout=2))


def of_floats(tree) -> bool:
    """Whether no floating-point number has another width."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return all(leaf.dtype == jnp.float32 for leaf in leaves)


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_learns_in_both_stages(name):
    agent, config = AGENTS[name], getattr(Config(**AGENT_SETTINGS.get(name, {})), name)

    def learns(key, columns, data):
        batch = batch_of(name, columns)
        state = agent.init(key, OBS, ACTION, config)
        state = agent.summarise_data(state, data, data, config)
        state, offline = agent.update(state, batch, key, config)
        state, online = agent.update(agent.hand_over(state, config), batch, key, config)
        return state, offline, online

    assert of_floats(jax.eval_shape(learns, KEY, COLUMNS, rows_of_a_buffer()))


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_acts(name):
    agent, config = AGENTS[name], getattr(Config(**AGENT_SETTINGS.get(name, {})), name)

    def acts(key, obs):
        policy = agent.policy(agent.init(key, OBS, ACTION, config))
        return agent.act(policy, obs, key), agent.act_mode(policy, obs)

    for action in jax.eval_shape(acts, KEY, floats(ROWS, OBS)):
        assert (action.shape, action.dtype) == ((ROWS, ACTION), jnp.float32)


def test_the_models_learn_and_imagine():
    config = ModelConfig(members=3, elites=2, hidden=(8,), weight_decay=(1e-5,) * 3, batch_size=4)

    def learns(key, data, rows, starts):
        sizes = {"members": 3, "elites": 2, "hidden": config.hidden}
        models = init_ensemble(key, OBS, ACTION, **sizes)
        opt_state = optax.adam(config.learning_rate).init(models.networks)
        fitted = train_step(models.networks, opt_state, models.normaliser, data, data, rows, config)
        imagined = rollout(
            models, lambda obs, key: jnp.tanh(obs[:, :ACTION]), lambda *step: jnp.zeros((), bool),
            starts, key, length=2, penalty_coef=0.5, obs_bound=10.0,
        )  # fmt: skip
        return fitted, imagined

    rows, starts = counts(3, config.batch_size), floats(ROWS, OBS)
    assert of_floats(jax.eval_shape(learns, KEY, rows_of_a_buffer(), rows, starts))
