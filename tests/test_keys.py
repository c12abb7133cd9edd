"""Random keys: none is used twice, and all bits of a seed count."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.experimental.key_reuse._core import check_key_reuse

from moore.agents.ppo import PPOBatch
from moore.algorithms import AGENTS, find
from moore.config import Config
from moore.dynamics import fit
from moore.envs.make import episode_seed
from moore.experience import rollouts
from moore.experience.diagnostics import observed_range
from moore.experience.learning import gradient_steps
from moore.experience.partly_imagined import PartlyImagined
from moore.experience.protocol import Moment, Task
from moore.experience.settings import RolloutSettings
from moore.jax_settings import key_of
from moore.replay.buffer import Batch, GroupedBatch, empty_replay, empty_ring
from moore.replay.sampler import sample_rows
from moore.stages import acting

OBS, ACTION, ROWS = 3, 2, 8
SMALL = {
    "hidden": (8,),
    "batch_size": ROWS,
    "critics": 3,
    "critic_subset": 2,
    "max_target_backup": True,
    "entropy_backup": True,
    "sampled_actions": 2,
    "members": 2,
    "kept_least": 5,
    "return_low": 0.0,
    "return_high": 1.0,
}
KEY = jax.eval_shape(lambda: jax.random.key(0))
STATES = jax.ShapeDtypeStruct((ROWS, OBS), jnp.float32)


def config_of(name: str) -> Config:
    """With everything switched on that draws numbers, in networks without size."""
    section = getattr(Config(), name)
    there = {field.name for field in dataclasses.fields(section)}
    changes = {setting: value for setting, value in SMALL.items() if setting in there}
    return dataclasses.replace(Config(), **{name: dataclasses.replace(section, **changes)})


# Shapes alone, here and below: nothing is computed.
BUFFER = jax.eval_shape(lambda: empty_replay(20, OBS, ACTION, max_holdout=2))
RING = jax.eval_shape(lambda: empty_ring(100, OBS, ACTION))


def batch() -> Batch:
    row, flag = jnp.zeros(ROWS), jnp.zeros(ROWS, bool)
    obs, action = jnp.zeros((ROWS, OBS)), jnp.zeros((ROWS, ACTION))
    return Batch(obs, action, row, obs, flag, flag, jnp.arange(ROWS))


@pytest.fixture
def no_folding(monkeypatch):
    """JAX's check lets a key be split and folded, though both can give the same key."""

    def fold_in(key, data):
        raise AssertionError("fold_in(key, i) is the i-th of split(key, n): split once instead")

    monkeypatch.setattr(jax.random, "fold_in", fold_in)


@pytest.mark.usefixtures("no_folding")
@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_uses_no_key_twice(name):
    agent, section = AGENTS[name], AGENTS[name].config(config_of(name))

    def init(key):
        return agent.init(key, OBS, ACTION, section)

    def handed_over(key):
        state = init(key)
        return agent.hand_over(state, section)

    def learn(key, state, offline, online):
        state = agent.summarise_data(state, offline, online, section)
        drawn = batch()
        if name == "balanced_replay":
            drawn = GroupedBatch(drawn, drawn, drawn)
        if name == "ppo":
            drawn = PPOBatch(drawn.obs, drawn.action, *[drawn.reward] * 3)
        return agent.update(state, drawn, key, section)

    check_key_reuse(init, KEY)
    for begin in (init, handed_over):
        state = eqx.filter_eval_shape(begin, KEY)
        check_key_reuse(learn, KEY, state, BUFFER, BUFFER)
    check_key_reuse(
        lambda key, state, obs: agent.act(agent.policy(state), obs, key), KEY, state, STATES
    )
    if agent.value is not None:
        check_key_reuse(lambda key, state, obs: agent.value(state, obs, key), KEY, state, STATES)


@pytest.fixture(scope="module")
def sac_state():
    section = config_of("sac").sac
    return eqx.filter_eval_shape(lambda key: AGENTS["sac"].init(key, OBS, ACTION, section), KEY)


@pytest.fixture(scope="module")
def model():
    init = lambda key: fit.init_model(key, OBS, ACTION, Config().model)  # noqa: E731
    return eqx.filter_eval_shape(init, KEY)


@pytest.mark.usefixtures("no_folding")
@pytest.mark.parametrize("uncertainty", ["std", "value"])
def test_imagination_uses_no_key_twice(uncertainty, sac_state, model):
    settings = RolloutSettings(uncertainty=uncertainty, trust_quantile=0.9, rollout_chunk=ROWS)
    sac = AGENTS["sac"]

    def imagine(key, ring, state, model, offline, online, rows):
        return rollouts.imagine(
            ring, sac.policy(state), model, offline, online, observed_range(offline), rows,
            jnp.ones(()), key,
            agent=sac, terminated_fn=never, settings=settings, agent_state=state,
        )  # fmt: skip

    rows = jax.ShapeDtypeStruct((2 * ROWS + 1,), jnp.int32)
    check_key_reuse(imagine, KEY, RING, sac_state, model, BUFFER, BUFFER, rows)


@pytest.mark.usefixtures("no_folding")
@pytest.mark.parametrize("stage", ["offline", "online"])
@pytest.mark.parametrize("algorithm", ["balanced_replay", "adaptive_bc"])
def test_batches_by_a_rule_of_their_own_use_no_key_twice(algorithm, stage):
    row, config = find(algorithm), config_of(algorithm)

    def draw(key, offline, online):
        task = Task(config, row.agent, offline, never)
        experience = row.experience.build(task)
        state = experience.begin(jax.random.key(0))
        if stage == "online":
            state = experience.hand_over(state)
        now = Moment(stage, 1, None, online)
        found = experience.batches(state, now, jax.random.key(0), 1)
        return found.how.draw(found.pool, found.notes, offline, online, found.planned, key)[0]

    check_key_reuse(draw, KEY, BUFFER, BUFFER)


@pytest.mark.usefixtures("no_folding")
def test_updates_and_steps_use_no_key_twice(sac_state):
    sac, section = AGENTS["sac"], config_of("sac").sac

    def update(key, state, ring, offline, online, rows):
        keys = jax.random.split(key, rows.shape[0])
        return gradient_steps(
            state, None, ring, rows, offline, online, keys,
            how=PartlyImagined(ROWS, rows.shape[1]), agent=sac, agent_config=section,
        )  # fmt: skip

    rows = jax.ShapeDtypeStruct((3, 2), jnp.int32)
    check_key_reuse(update, KEY, sac_state, RING, BUFFER, BUFFER, rows)
    obs = jax.ShapeDtypeStruct((OBS,), jnp.float32)
    check_key_reuse(
        lambda key, state, obs: acting.act(sac.policy(state), obs, key, sac), KEY, sac_state, obs
    )
    check_key_reuse(lambda key: acting.act_randomly(key, ACTION), KEY)
    check_key_reuse(
        lambda key, on, new: acting.observe(on, jax.tree.map(lambda x: x[0], new), key, 0.2),
        KEY, BUFFER, BUFFER.data,
    )  # fmt: skip


@pytest.mark.usefixtures("no_folding")
def test_fits_and_draws_use_no_key_twice(model):
    check_key_reuse(lambda key: fit.init_model(key, OBS, ACTION, Config().model), KEY)
    check_key_reuse(
        lambda key, model, off, on: fit.begin_fit(model, off, on, jnp.asarray(0.5), key, 10),
        KEY, model, BUFFER, BUFFER,
    )  # fmt: skip
    for train_only in (False, True):
        check_key_reuse(
            lambda key, off, on, t=train_only: sample_rows(
                key, (4, 5), off, on, jnp.asarray(0.5), train_only=t
            ),
            KEY, BUFFER, BUFFER,
        )  # fmt: skip


def never(obs, action, next_obs):
    return jnp.zeros((), bool)


def test_the_check_finds_what_it_is_for(no_folding):
    def drawn_from_and_split(key):
        return jax.random.normal(key), jax.random.split(key)

    def split_and_folded(key):
        return jax.random.split(key), jax.random.fold_in(key, 1)

    with pytest.raises(jax.errors.KeyReuseError):
        check_key_reuse(drawn_from_and_split, KEY)
    with pytest.raises(AssertionError, match="i-th of split"):
        check_key_reuse(split_and_folded, KEY)


# --- Seeds ---


@given(st.integers(0, 2**32 - 1))
def test_seeds_of_32_bits_have_the_keys_that_they_always_had(seed):
    assert jax.random.key_data(key_of(seed)).tolist() == [0, seed]
    assert key_of(seed) == jax.random.key(seed)


SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, SEEDS)
def test_seeds_that_differ_have_keys_that_differ(one, other):
    if one != other:
        assert key_of(one) != key_of(other)
    assert key_of(one) != key_of(one ^ 2**32)


@given(
    st.integers(0, 2**63 - 1), st.sampled_from(["act", "evaluate", "random"]), st.integers(0, 999)
)
def test_a_simulator_in_c_can_take_a_reset_seed_as_an_int(seed, purpose, episode):
    drawn = episode_seed(seed, purpose, episode)
    assert 0 <= drawn < 2**31
    assert drawn == episode_seed(seed, purpose, episode)
    assert drawn != episode_seed(seed ^ 2**32, purpose, episode)
    assert np.int32(drawn) == drawn
