"""Agents that learn from replay: the same run folder, the same resume, the same policy."""

import dataclasses
from dataclasses import replace

import jax
import numpy as np
import pytest

import pages
from moore.algorithms import find
from moore.config import OfflineConfig, OnlineConfig
from moore.runs.folder import read_metrics
from moore.runs.policy import load_policy
from moore.runs.run import resume, run
from moore.runs.run_files import RunFiles
from tiny import AGENT_SETTINGS, ENV, tiny_config, tiny_log

SETTINGS = AGENT_SETTINGS
UNIFORM = ("awac", "iql", "cql", "cal_ql", "bear", "brac")
# One of every kind of experience, and one that changes its update rule at the hand-over; with the
# others, whose update rules have tests of their own, this takes minutes.
KINDS = ("awac", "balanced_replay", "adaptive_bc", "wsrl", "bc")


def config(algorithm: str, **changes):
    base = tiny_config(algorithm=algorithm, **SETTINGS[algorithm])
    offline = OfflineConfig(epochs=2, updates_per_epoch=100)
    online = OnlineConfig(epochs=2, steps_per_epoch=40, refit_every=40, updates_per_step=1)
    return replace(base, offline=offline, online=online, **changes)


def arguments(folder):
    return {"dataset": tiny_log(), "env": ENV, "out": folder, "quiet": True}


def _unless_one_of_a_kind(algorithm: str):
    return pytest.param(algorithm, marks=() if algorithm in KINDS else pytest.mark.slow)


@pytest.fixture(params=map(_unless_one_of_a_kind, SETTINGS), scope="module")
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    with pages.drawn():  # of every kind of agent
        return request.param, run(config(request.param), **arguments(folder))


def test_a_run_without_models_has_both_stages_and_no_model_metrics(finished):
    algorithm, result = finished
    rows = read_metrics(result.folder / "metrics.jsonl")
    stages = [(row["stage"], row["epoch"]) for row in rows]
    assert stages == [*(("offline", t) for t in range(3)), *(("online", t) for t in range(3))]
    assert not any(key.startswith("model/") for row in rows for key in row)
    assert rows[-1]["losses/skipped_updates"] == 0
    learned = "losses/cloning_error" if algorithm == "bc" else "losses/q_target"
    assert np.isfinite(rows[-1][learned])
    assert result.summary["transfer"]["final"] is not None


def test_what_the_online_batches_are_drawn_from(finished):
    """40 and 80 online rows beside 300 logged ones."""
    algorithm, result = finished
    metrics = read_metrics(result.folder / "metrics.jsonl")
    rows = [row for row in metrics if row["stage"] == "online"]
    if algorithm == "bc":  # the best episodes, of 20 rows each, with 40% of the rows
        assert metrics[0]["replay/part_rows"] == 120
        assert rows[-1]["eval/returns"] == rows[0]["eval/returns"], "online nothing changes"
        return
    if not find(algorithm).experience.by_scheme:
        assert all(row["losses/online_share"] == 0 for row in metrics[1:3]), "offline"
        drawn = np.asarray([row["losses/online_share"] for row in rows[1:]])
        if algorithm == "adaptive_bc":  # a tenth of the log, and every online row
            expected = [np.mean([n / (30 + n) for n in 40 * t + np.arange(1, 41)]) for t in (0, 1)]
            # A batch of 64 for each of 40 steps: a standard error of at most 0.01.
            assert drawn == pytest.approx(expected, abs=0.04)
        else:  # before each draw a new row comes in, at the largest priority
            without = np.asarray([row["losses/online_share_expected"] for row in rows[1:]])
            assert (without > 0).all() and (without < drawn).all() and (drawn < 0.5).all()
        return
    shares = {name: (40 / 340, 80 / 380) for name in UNIFORM}
    shares |= {"rlpd": (0.5, 0.5), "sqil": (0.5, 0.5), "wsrl": (1.0, 1.0)}
    expected = [row["replay/online_share_expected"] for row in rows[1:]]
    assert expected == pytest.approx(shares[algorithm])


def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(finished, tmp_path):
    algorithm, whole = finished
    stop = {"until": lambda row, _: row["epoch"] == 1}
    stopped = run(config(algorithm), **arguments(tmp_path / "run"), **stop)
    again = resume(stopped.folder, dataset=tiny_log(), env=ENV, quiet=True)
    leaves = [jax.tree.leaves(result.policy.weights) for result in (whole, again)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


class Killed(Exception):
    """In place of a power cut."""


def test_a_run_killed_in_its_offline_stage_ends_bit_for_bit_as_one_that_was_not(
    finished, tmp_path, monkeypatch
):
    """After the checkpoint of offline epoch 1 of 2."""
    algorithm, whole = finished
    save = RunFiles.end_epoch

    def save_and_die(files, row, *rest, **options):
        saved = save(files, row, *rest, **options)
        if row["epoch"] == 1:
            raise Killed
        return saved

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(RunFiles, "end_epoch", save_and_die)
        run(config(algorithm), **arguments(tmp_path / "run"))
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["stage"] for row in rows] == ["offline", "offline"]
    again = resume(tmp_path / "run", dataset=tiny_log(), env=ENV, quiet=True)
    leaves = [jax.tree.leaves(result.policy.weights) for result in (whole, again)]
    for a, b in zip(*leaves, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_saved_policy_is_the_evaluated_one(finished):
    _, result = finished
    policy = load_policy(result.folder)
    obs = np.asarray([[-1.5], [0.3], [1.5]], np.float32)
    np.testing.assert_array_equal(policy(obs), result.policy(obs))
    assert dataclasses.replace(policy, seed=1)(obs, deterministic=False).shape == (3, 1)


def test_a_rule_for_the_ends_of_episodes_is_not_asked_for(tmp_path):
    """Only imagination needs one: `auto` knows none for this task, and refuses."""
    settings = replace(
        config("awac"), termination="auto", evaluation=replace(tiny_config().evaluation, episodes=1)
    )
    settings = replace(settings, offline=OfflineConfig(epochs=1, updates_per_epoch=1))
    run(settings, **arguments(tmp_path / "run"), stages="offline")
