"""Runs without a log and without models: SAC from scratch on plain replay."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from moore.errors import InputError
from moore.presets import preset
from moore.replay.buffer import Transition
from moore.runs.folder import read_metrics
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from tiny import ENV, tiny_config, tiny_log


def config(**changes):
    tiny = tiny_config()
    online = dataclasses.replace(
        tiny.online, steps_per_epoch=100, updates_per_step=1, random_steps=100
    )
    return dataclasses.replace(tiny, algorithm="sac", online=online, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(config(), env=ENV, out=tmp_path_factory.mktemp("sac") / "run", quiet=True)


def test_it_learns_without_a_log(finished):
    # The untrained policy does next to nothing; s0 ~ U(-2, 2) then decays by 0.9 a step.
    rows = read_metrics(finished.folder / "metrics.jsonl")
    assert [row["env_steps"] for row in rows] == [0, 100, 200, 300, 400]
    assert rows[-1]["eval/return"] > rows[0]["eval/return"] + 1.0
    summary = json.loads((finished.folder / "summary.json").read_text())
    assert summary["dataset"] is None and "offline" not in summary
    assert (finished.folder / "report.html").exists()


def test_the_first_steps_are_random_and_teach_nothing(finished):
    untrained, first, second = read_metrics(finished.folder / "metrics.jsonl")[:3]
    assert "losses/critic_loss" not in first and "losses/critic_loss" in second
    assert first["eval/returns"] == untrained["eval/returns"]


def test_there_are_no_models_and_no_rollouts():
    setup = prepare(config(), env=ENV)
    state = setup.learner.hand_over(setup.learner.init(setup.key))
    assert setup.learner.models is None and state.experience is None
    assert int(setup.learner.offline.size) == 0
    assert state.online.capacity == 400


def test_batches_are_rows_of_the_replay():
    """With one row in D_on every batch is that row: the critics learn its reward."""
    settings = dataclasses.replace(config().sac, discount=0.0)
    setup = prepare(config(sac=settings), env=ENV)
    learner = setup.learner
    state = learner.hand_over(learner.init(setup.key))
    obs = np.asarray([0.5], np.float32)
    action, state = learner.act(state, obs, random=True)
    row = {"obs": obs, "action": action, "reward": np.asarray(7.0, np.float32), "next_obs": obs}
    ends = {"terminated": np.asarray(False), "truncated": np.asarray(False)}
    state = learner.observe(state, Transition(**row, **ends))
    state, losses = learner.update(state, 1, 1)
    assert float(losses["losses/q_target"]) == pytest.approx(7.0)


def test_random_actions_are_uniform_and_need_no_agent():
    setup = prepare(config(), env=ENV)
    state = setup.learner.init(setup.key)
    actions = []
    for _ in range(400):
        action, state = setup.learner.act(state, np.zeros(1, np.float32), random=True)
        actions.append(float(action[0]))
    assert abs(np.mean(actions)) < 5 * np.sqrt(1 / 3 / 400)
    assert -1 <= min(actions) < -0.95 and 0.95 < max(actions) <= 1


def test_a_log_names_the_environment_and_its_scores_and_is_not_learned_from(tmp_path):
    log = dataclasses.replace(tiny_log(), name="tiny log")
    setup = prepare(config(), dataset=log, env=ENV)
    assert setup.config.dataset == "tiny log"
    assert int(setup.learner.offline.size) == 0


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, finished):
    settings = config()
    stopped = run(
        settings, env=ENV, out=tmp_path / "run", quiet=True, until=lambda row, _: row["epoch"] == 2
    )
    assert len(read_metrics(stopped.folder / "metrics.jsonl")) == 3
    again = resume(stopped.folder, env=ENV, quiet=True)
    leaves = [jax.tree.leaves(result.policy.weights) for result in (finished, again)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("stages", ["offline", "online"])
def test_it_has_no_stage_of_its_own(tmp_path, stages):
    with pytest.raises(InputError, match="sac has no offline stage"):
        begin = tmp_path if stages == "online" else None
        run(config(), env=ENV, out=tmp_path / "run", stages=stages, start_from=begin, quiet=True)


def test_an_environment_must_be_named():
    with pytest.raises(InputError, match="sac names no environment"):
        prepare(dataclasses.replace(config(), env_id=""))


def test_the_preset_is_the_published_benchmarks():
    config = preset("sac")
    online, sac = config.online, config.sac
    assert (config.algorithm, online.updates_per_step, online.random_steps) == ("sac", 1, 10_000)
    assert (sac.hidden, sac.batch_size, sac.learning_rate) == ((256, 256), 256, 1e-3)
    assert sac.target_entropy is None
    assert preset("laptop/halfcheetah-medium", algorithm="sac").sac.target_entropy is None
