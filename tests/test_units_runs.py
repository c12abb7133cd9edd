"""In other units a run learns the same, whatever the algorithm, and tells it in these.

Powers of two change no digit of a float, so that runs in such units must agree bit for bit.
"""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_units import EXACT, OTHER, config_of, env_in, final_state, log_in, metrics_of, run_in
from moore import algorithms
from moore.runs.setup import prepare
from moore.units import AS_GIVEN
from tiny import ENV

KINDS = {(a.agent.name, a.experience.name, a.uses_log): n for n, a in algorithms.ALGORITHMS.items()}
# The others take a minute or more of compiling.
QUICK = ("awac", "adaptive_bc", "sac")
IN_REWARDS = {
    *("eval/return", "eval/returns", "eval/discounted_return", "online/episode_returns"),
    *("model/imagined_reward", "model/episode_return", "model/episode_discounted_return"),
    *("gate/gain", "gate/standard_error", "gate/return", "gate/bar"),
    *("theory/return_old", "theory/return_carried", "theory/return_new"),
    *("theory/predicted_drop", "theory/drop_term"),
}
VALUES = {
    f"losses/{x}" for x in ("q_target", "q_target_max", "q_possible", "q_logged", "advantage")
}


def assert_told_in_them(one: dict, other: dict) -> None:
    """The numbers of two users: equal, but for those that count in rewards."""
    assert one.keys() == other.keys()
    own_scale = "losses/reward_scale" in one  # IQL's values are in rewards that it has scaled
    names = IN_REWARDS | (set() if own_scale else VALUES)
    for name in one.keys() - {"losses/reward_scale"}:
        if name.startswith("time/"):
            continue
        factor = EXACT["reward"] if name in names else 1.0
        if isinstance(one[name], str) or one[name] is None:
            assert one[name] == other[name], name
        else:
            np.testing.assert_array_equal(np.multiply(one[name], factor), other[name], err_msg=name)
    if own_scale:
        assert one["losses/reward_scale"] == EXACT["reward"] * other["losses/reward_scale"]


def compare_runs(config, folder, **options) -> list[dict]:
    """Two users' runs; returns the metrics of the first."""
    one, other = (
        run_in(units, config, folder / name, **options)
        for name, units in (("one", {}), ("other", EXACT))
    )
    states = final_state(one.folder), final_state(other.folder)
    for name in states[0]:
        if not name.startswith("arrays/"):  # the running episode is the user's
            np.testing.assert_array_equal(*(state[name] for state in states), err_msg=name)
    told = [metrics_of(result.folder) for result in (one, other)]
    for rows in zip(*told, strict=True):
        assert_told_in_them(*rows)
    return told[0]


def _unless_quick(algorithm: str):
    return algorithm if algorithm in QUICK else pytest.param(algorithm, marks=pytest.mark.slow)


@pytest.mark.parametrize("algorithm", [_unless_quick(name) for name in KINDS.values()])
def test_in_other_units_a_run_learns_the_same_and_tells_it_in_these(algorithm, tmp_path):
    """One algorithm of every kind: the others differ from it in their scheme or in settings."""
    rows = compare_runs(config_of(algorithm, imagined_bound=4.0), tmp_path)
    if not algorithms.find(algorithm).experience.has_models:
        assert "model/imagined_reward" not in rows[-1]
    elif algorithm not in ("moore_safe", "mbpo"):  # real rows online; random steps at first
        assert "model/imagined_reward" in rows[-1]


def test_so_does_an_offline_stage_in_models(tmp_path):
    rows = compare_runs(config_of("moore"), tmp_path, stages="offline")
    assert rows[-1]["model/imagined_reward"] < 0


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_all_that_any_algorithm_learns_from_is_the_same(algorithm):
    """Of the log: a learner sees these and nothing else of it."""
    log = {"dataset": log_in()}, {"dataset": log_in(**EXACT)}
    config = config_of(algorithm)
    uses_log = algorithms.find(algorithm).uses_log
    one, other = (
        prepare(config, **(given if uses_log else {}), env=partial(env_in, **units)).learner
        for given, units in zip(log, ({}, EXACT), strict=True)
    )
    assert one.units != other.units
    assert one.agent_config == other.agent_config
    parts = [(learner.offline, learner.task.first_states) for learner in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *parts)


@settings(max_examples=8)
@given(
    reward=st.floats(-6, 6).map(lambda x: 10.0**x),
    slope=st.floats(-6, 6).map(lambda x: 10.0**x),
    shift=st.floats(-50, 50),
)
def test_updates_are_the_same_in_any_units(reward, slope, shift):
    """Five of AWAC; an offset of up to 50 slopes costs float32 two of its seven digits."""
    states = []
    for units in ({}, {"reward": reward, "slope": slope, "offset": shift * slope}):
        setup = prepare(config_of("awac"), dataset=log_in(**units), env=partial(env_in, **units))
        state, _ = setup.learner.update(setup.learner.init(setup.key), 1, 5)
        states.append(jax.tree.leaves((state.agent.actor, state.agent.critics)))
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_with_the_settings_off_they_matter():
    off = {"standardise_obs": False, "scale_rewards": False}
    learners = []
    for units in ({}, OTHER):
        config = replace(config_of("awac"), **off)
        learners.append(prepare(config, dataset=log_in(**units), env=ENV).learner)
    means = [float(np.abs(learner.offline.data.obs).mean()) for learner in learners]
    assert means[0] < 2 and means[1] > 300
    assert learners[0].units == learners[1].units == AS_GIVEN
