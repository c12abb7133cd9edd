"""Adaptive BC's draws: the whole log offline; the kept part and every online row afterwards."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from moore.agents import adaptive_bc
from moore.agents.adaptive_bc_config import AdaptiveBCConfig
from moore.algorithms import find
from moore.config import Config
from moore.envs.termination import never
from moore.experience.kept import KeptReplay
from moore.experience.learning import gradient_steps
from moore.experience.protocol import Moment, Task
from moore.replay.buffer import Replay, empty_replay
from moore.runs.setup import prepare
from tiny import ENV, tiny_config, tiny_log

N_OFF, N_ON = 400, 60
NOTHING = empty_replay(1, 1, 1, max_holdout=1)  # as a run's offline stage has it
CONFIG = AdaptiveBCConfig(
    critics=2, hidden=(4,), batch_size=20_000, kept_share=0.05, kept_least=30,
    return_low=0.0, return_high=10.0,
)  # fmt: skip


def replay(size: int, capacity: int, episode: int = 10) -> Replay:
    """Rows of reward 1, a terminal every `episode` of them."""
    made = empty_replay(capacity, 1, 1, max_holdout=1)
    ends = jnp.arange(capacity) % episode == episode - 1
    return eqx.tree_at(
        lambda r: (r.data.reward, r.data.terminated, r.size),
        made,
        (jnp.ones(capacity), ends, jnp.asarray(size, jnp.int32)),
    )


LOG, ONLINE = replay(N_OFF, N_OFF), replay(N_ON, 200)


def kept_replay(config=CONFIG) -> KeptReplay:
    return KeptReplay(Task(Config(adaptive_bc=config), adaptive_bc.AGENT, LOG, never))


def handed_over(config=CONFIG, seed=0):
    experience = kept_replay(config)
    return experience.hand_over(experience.begin(jax.random.key(seed)))


def batches(state, online, stage="online", config=CONFIG):
    now = Moment(stage, 1, None, online)
    return kept_replay(config).batches(state, now, jax.random.key(0), 1)


def drawn(state, online, stage="online", config=CONFIG):
    found = batches(state, online, stage, config)
    rows = np.asarray(found.how.rows(found.pool, LOG, online, jax.random.key(5)))
    return np.bincount(rows, minlength=N_OFF + 200)


def test_offline_every_row_of_the_log_is_as_likely():
    state = kept_replay().begin(jax.random.key(0))
    found = drawn(state, NOTHING, "offline")
    assert state.rows.size == 0 and not found[N_OFF:].any()
    assert stats.chisquare(found[:N_OFF]).pvalue > 1e-4


def test_a_runs_offline_stage_learns_from_the_whole_log_and_its_online_stage_from_the_part():
    config = tiny_config(algorithm="adaptive_bc", adaptive_bc=CONFIG)
    setup = prepare(config, dataset=tiny_log(), env=ENV)
    learner, state = setup.learner, setup.learner.init(setup.key)

    def rows(state):
        now = learner.moment(state, 1)
        found = learner.experience.batches(state.experience, now, jax.random.key(1), 1)
        drawn = found.how.rows(found.pool, learner.offline, state.online, jax.random.key(0))
        return set(np.asarray(drawn).tolist())

    assert rows(state) == set(range(int(learner.offline.size)))
    handed = learner.hand_over(state)
    assert rows(handed) == set(np.asarray(handed.experience.rows).tolist())
    assert handed.experience.rows.size == 30


def test_online_they_are_uniform_over_the_kept_part_and_the_online_rows():
    state = handed_over()
    kept = np.bincount(np.asarray(state.rows), minlength=N_OFF)
    assert kept.sum() == 30
    weight = np.concatenate([kept, np.ones(N_ON)])
    found = drawn(state, ONLINE)
    assert not found[: N_OFF + N_ON][weight == 0].any() and not found[N_OFF + N_ON :].any()
    expected = weight / weight.sum() * found.sum()
    assert stats.chisquare(found[: N_OFF + N_ON][weight > 0], expected[weight > 0]).pvalue > 1e-4


def test_a_new_row_counts_at_once():
    only_log = drawn(handed_over(), replay(0, 200))
    assert not only_log[N_OFF:].any()
    assert drawn(handed_over(), replay(1, 200))[N_OFF] == pytest.approx(20_000 / 31, rel=0.2)


def test_the_oldest_entries_leave_a_full_buffer_the_kept_rows_first():
    state = handed_over()
    config = dataclasses.replace(CONFIG, replay_capacity=70)  # of 30 + 60
    kept = np.bincount(np.asarray(state.rows)[20:], minlength=N_OFF)
    found = drawn(state, ONLINE, config=config)
    assert set(np.flatnonzero(found[:N_OFF])) == set(np.flatnonzero(kept))
    last = dataclasses.replace(CONFIG, replay_capacity=10)
    assert set(np.flatnonzero(drawn(state, ONLINE, config=last))) == set(
        range(N_OFF + 50, N_OFF + 60)
    )


def test_the_part_is_chosen_by_the_seed():
    first = handed_over()
    assert eqx.tree_equal(first, handed_over())
    assert (np.asarray(handed_over(seed=1).rows) != np.asarray(first.rows)).any()
    large = dataclasses.replace(CONFIG, kept_share=0.5)
    assert handed_over(large).rows.size == 200


def test_the_weight_moves_when_an_episode_has_ended_and_not_before():
    config = dataclasses.replace(CONFIG, batch_size=8)
    found = batches(handed_over(), ONLINE, config=config)

    def learn(agent, online, key):
        keys = jax.random.split(key, 1)
        agent, _, _ = gradient_steps(
            agent, None, found.pool, None, LOG, online, keys,
            how=found.how, agent=find("adaptive_bc").agent, agent_config=config,
        )  # fmt: skip
        return agent

    start = adaptive_bc.init(jax.random.key(0), 1, 1, config)
    before = learn(adaptive_bc.hand_over(start, config), replay(9, 200), jax.random.key(0))
    weight = float(before.adaptation.bc_weight)
    after = learn(before, replay(10, 200), jax.random.key(1))
    assert weight == np.float32(0.4)
    # Its return, 10, counts as 1: a_bc falls by T K_P (1.05 - 1).
    fall = 10 * config.proportional_gain * (config.target_return - 1.0)
    assert float(after.adaptation.bc_weight) == pytest.approx(0.4 - fall, abs=1e-7)
