"""Whole runs with the options of the hand-over; and what ends a stage or is refused before one."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from equinox import tree_equal
from gymnasium.wrappers import TimeLimit

from handover import arrays, rows
from moore.config import Config, GateConfig, from_dict
from moore.dynamics.imagine import rollout
from moore.envs.collector import Collector
from moore.envs.make import make_env
from moore.errors import InputError
from moore.experience.imagination import Imagination
from moore.runs.policy import load_policy
from moore.runs.run import run
from moore.runs.setup import prepare
from moore.stages.first_policy import why_not_believed
from moore.stages.gatekeeping import pass_gate
from moore.stages.offline import gains_nothing, stands_still
from moore.stages.online import online_stage
from moore.trees import copied
from steps import imagine
from tiny import ENV, LinearGaussian, tiny_config, tiny_log

NAN = float("nan")


@pytest.mark.parametrize(
    ("values", "patience", "tolerance", "expected"),
    [
        ([5.0] * 10, None, 0.01, False),
        ([5.0] * 3, 4, 0.01, False),
        ([5.0] * 4, 4, 0.01, True),
        ([9.0, 0.0, 99.0, 101.0, 99.0, 101.0], 4, 0.01, True),  # 1 on either side of 100
        ([9.0, 0.0, 99.0, 101.1, 99.0, 101.0], 4, 0.01, False),
        ([-99.0, -101.0], 2, 0.01, True),  # relative to the size, whatever the sign
        ([-99.0, -101.1], 2, 0.01, False),
        ([90.0, 100.0, 110.0, 110.0, 100.0, 90.0], 6, 0.02, False),  # the halves' means agree
        ([5.0, float("nan"), 5.0, 5.0], 3, 1e9, False),
        ([5.0, 5.0, 5.0, float("nan")], 2, 1e9, False),
        ([0.0] * 9, 4, 0.01, False),  # the critics have not begun to learn
    ],
)
def test_critics_that_stand_still(values, patience, tolerance, expected):
    assert stands_still(values, patience, tolerance) is expected


@pytest.mark.parametrize(
    ("accepted", "refusals", "expected"),
    [
        ([0.0] * 10, None, False),
        ([0.0, 0.0], 3, False),
        ([1.0, 0.0, 0.0], 3, False),
        ([0.0, 1.0, 0.0, 0.0, 0.0], 3, True),
        ([NAN] * 5, 3, False),  # there is no gate
    ],
)
def test_a_gate_that_lets_nobody_through(accepted, refusals, expected):
    assert gains_nothing(accepted, refusals) is expected


@pytest.mark.parametrize(
    ("predicted", "earned", "believed"),
    [(-120.0, -108.0, True), (-204.0, -108.0, False), (None, -108.0, True), (90.0, 108.0, False)],
)
def test_models_that_are_wrong_about_the_clone_are_told(predicted, earned, believed):
    told = why_not_believed({"clone/model_return": predicted, "clone/part_return": earned})
    assert (not told) is believed
    if told:
        assert f"earned {earned:.1f}, the models say {predicted:.1f}" in told
    assert why_not_believed({}) == ""


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("sac", "critic_subset", 3),  # of two critics
        ("rlpd", "critic_subset", 11),  # of ten
        ("sac", "critic_subset", 0),
        ("sac", "critics", 0),
        ("sac", "clip_targets", 1.5),
        ("sac", "average_rate", -0.1),
        ("offline", "patience", -1),
        ("offline", "patience", 1),
        ("offline", "tolerance", -0.5),
        ("gate", "horizon", 0),
        ("gate", "confidence", float("nan")),
        (None, "penalty_coverage", 1.01),
        (None, "trust_quantile", -0.01),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(section, name, value):
    with pytest.raises(InputError, match=f"^{section}.{name} is" if section else f"^{name} is"):
        from_dict({section: {name: value}} if section else {name: value})
    base = Config()
    bad = {section: replace(getattr(base, section), **{name: value})} if section else {name: value}
    with pytest.raises(InputError, match=name):
        replace(base, **bad)


# --- Whole runs ---


@pytest.mark.parametrize("horizon", [5, pytest.param(None, marks=pytest.mark.slow)])
def test_a_gate_that_lets_nothing_through_keeps_the_first_policy_in_both_stages(
    horizon, log_file, tmp_path
):
    gate = GateConfig(enabled=True, horizon=horizon, rollouts=50, confidence=1e9)
    tiny = tiny_config(gate=gate, accept=("hand-over",))
    config = replace(tiny, offline=replace(tiny.offline, epochs=2))
    run(
        config, dataset=log_file, env=ENV, out=tmp_path / "run", quiet=True,
        until=lambda row, state: row["epoch"] == 2,
    )  # fmt: skip
    _, *epochs = rows(tmp_path / "run", "offline") + rows(tmp_path / "run", "online")[1:]
    assert len(epochs) == 4
    for row in epochs:
        assert row["gate/accepted"] == 0.0
        assert row["eval/returns"] == epochs[0]["eval/returns"]
        assert row["eval/candidate_return"] != row["eval/return"], "the agent goes on learning"
    handed_over = arrays(tmp_path / "run", "hand-over")
    for i, layer in enumerate(load_policy(tmp_path / "run").weights.trunk.layers):
        for name in ("weight", "bias"):
            kept = handed_over[f"state['acting'].trunk.layers[{i}].{name}"]
            np.testing.assert_array_equal(getattr(layer, name), kept)
            learned = handed_over[f"state['agent'].actor.trunk.layers[{i}].{name}"]
            assert (kept != learned).any()


def test_a_refused_policy_need_not_meet_the_environment(log_file, tmp_path):
    tiny = tiny_config(gate=GateConfig(enabled=True, rollouts=8))
    config = replace(
        tiny,
        offline=replace(tiny.offline, epochs=1),
        evaluation=replace(tiny.evaluation, candidate=False),
    )
    run(config, dataset=log_file, env=ENV, out=tmp_path / "run", stages="offline", quiet=True)
    assert not any("eval/candidate_return" in row for row in rows(tmp_path / "run"))
    assert all("eval/return" in row for row in rows(tmp_path / "run")[1:])


def test_until_an_episode_has_ended_nothing_passes_a_gate_that_asks_for_what_was_earned(log_file):
    gate = GateConfig(enabled=True, rollouts=8, earned=True, confidence=-1e9)
    learner = prepare(tiny_config(gate=gate), dataset=log_file, env=ENV).learner
    state = learner.hand_over(learner.init(jax.random.key(0)))
    # An episode that the policy before has begun does not count.
    for returns, accepted in (([], 0), ([-1e9], 1), ([1e9], 1), ([1e9, 1e9], 0), ([], 0)):
        state, found = pass_gate(learner, state, 1, returns)
        assert found["gate/accepted"] == accepted


def test_what_was_earned_is_of_whole_episodes():
    with pytest.raises(InputError, match=r"leave gate\.horizon out"):
        tiny_config(gate=GateConfig(enabled=True, earned=True, horizon=5))


def test_random_steps_are_no_policys_to_have_earned():
    gate = GateConfig(enabled=True, earned=True)
    config = tiny_config(gate=gate, online=replace(tiny_config().online, random_steps=100))
    with pytest.raises(InputError, match=r"gate\.earned .*first 100 steps are random"):
        prepare(config, dataset=tiny_log(), env=ENV)


def test_imagined_episodes_are_as_long_as_the_environments():
    learner = prepare(tiny_config(), dataset=tiny_log(), env=ENV).learner
    assert learner.task.episode_steps == 20  # a limit that no `spec` tells
    longer = prepare(
        tiny_config(), dataset=tiny_log(), env=lambda: TimeLimit(LinearGaussian(), 3000)
    )
    assert longer.learner.task.episode_steps == 3000


def test_a_gate_over_whole_episodes_needs_a_log_to_begin_them():
    config = tiny_config(algorithm="mbpo", gate=GateConfig(enabled=True))
    with pytest.raises(InputError, match="mbpo has no log"):
        prepare(config, env=ENV)
    horizon = GateConfig(enabled=True, horizon=5)
    assert prepare(replace(config, gate=horizon), env=ENV).learner.gated


def test_a_gate_over_whole_episodes_asks_what_it_is_told_to(log_file):
    """Both policies, from first states of the log, to the end, with lambda u or without."""
    gate = GateConfig(enabled=True, rollouts=8)
    with_and_without = []
    for penalised in (True, False):
        config = tiny_config(gate=replace(gate, penalised=penalised), penalty_coef=3.0)
        config = replace(config, offline=replace(config.offline, real_ratio=0.0))
        learner = prepare(config, dataset=log_file, env=ENV).learner
        learner = learner.changed(episode_steps=7)
        state = learner.init(jax.random.key(0))
        assert tree_equal(state.gate.acting, learner.newest_policy(state))
        before = copied(state.gate.acting)
        state, _ = imagine(learner, state, 1, 200)
        state, _ = learner.update(state, 1, 50)
        assert tree_equal(before, state.gate.acting), "an update leaves the policy that acts alone"
        passed, found = pass_gate(learner, state, 1)
        assert tree_equal(passed.gate.acting, learner.newest_policy(state)) == bool(
            found["gate/accepted"]
        )
        _, key_starts, key_rollout = jax.random.split(state.key, 3)
        first = jax.random.randint(key_starts, (8,), 0, 15)
        sums = {}
        for name, policy in (("old", state.gate.acting), ("new", learner.newest_policy(state))):
            transitions, happened, _ = rollout(
                state.experience.model.ensemble,
                partial(learner.algorithm.agent.act, policy),
                learner.task.terminated_fn,
                learner.task.first_states[first],
                key_rollout,
                length=7,
                penalty_coef=3.0 if penalised else 0.0,
                obs_bound=np.inf,
                **({} if penalised else {"uncertainty_fn": None}),  # what nobody asks for
            )
            assert happened.all()
            sums[name] = transitions.reward.sum(axis=0)
        gains = np.asarray(sums["new"] - sums["old"])
        np.testing.assert_allclose(found["gate/gain"], gains.mean(), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            found["gate/standard_error"], gains.std() / np.sqrt(8), rtol=1e-3, atol=1e-3
        )
        with_and_without.append(found["gate/gain"])
    assert abs(with_and_without[0] - with_and_without[1]) > 0.005


class _Reached(Exception):
    pass


@pytest.mark.parametrize(("full", "batches"), [(True, 4), (False, 1)])
def test_imagined_data_may_start_full(full, batches, monkeypatch):
    """Room for 2 epochs of 2 refits, each of 20 rollouts of 3 steps: 240 transitions."""
    online = replace(
        tiny_config().online,
        epochs=1,
        steps_per_epoch=2,
        refit_every=1,
        retain_epochs=2,
        rollout_batch=20,
        start_full=full,
    )
    config = tiny_config(online=online, rollout_chunk=20)
    learner = prepare(config, dataset=tiny_log(), env=ENV).learner
    state = learner.hand_over(learner.init(jax.random.key(0)))
    found = []

    def first_refit(self, state, now, key, on_pass):
        found.extend([int(state.imagined.size), state.imagined.capacity])
        raise _Reached

    monkeypatch.setattr(Imagination, "refresh", first_refit)
    with pytest.raises(_Reached):
        online_stage(learner, state, Collector(make_env(ENV), 0), on_epoch=lambda *row: None)
    assert found == [batches * 60, 240]


def test_a_lambda_that_was_given_may_be_given_anew(tiny_offline, log_file, tmp_path):
    start = {"env": ENV, "stages": "online", "start_from": tiny_offline, "quiet": True}
    start |= {"until": lambda row, state: row["epoch"] == 1}
    for coverage, expected in ((None, 5.0), (0.9, tiny_config().penalty_coef)):
        config = replace(tiny_config(), penalty_coef=5.0, penalty_coverage=coverage)
        folder = tmp_path / f"online-{coverage}"
        run(config, dataset=log_file, out=folder, **start)
        assert rows(folder, "online")[1]["model/penalty_coef"] == pytest.approx(expected)
