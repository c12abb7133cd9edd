"""Whole runs with every option of the hand-over on."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from handover import arrays, assert_same, rows
from moore.config import Config, GateConfig
from moore.runs.run import resume, run
from tiny import ENV, tiny_config


def with_all_options() -> Config:
    """Every option on; the offline stage stands still, by its tolerance, after 2 of 4 epochs."""
    tiny = tiny_config()
    return tiny_config(
        uncertainty="value",
        penalty_coverage=0.8,
        trust_quantile=0.7,
        model=replace(tiny.model, calibrate=True, warm_start="last"),
        sac=replace(
            tiny.sac,
            layer_norm=True,
            critics=3,
            critic_subset=2,
            clip_targets=0.99,
            floor_targets=0.01,
            average_rate=0.1,
        ),
        offline=replace(tiny.offline, updates_per_epoch=50, patience=2, tolerance=1e9),
        online=replace(tiny.online, epochs=2, steps_per_epoch=50, refit_every=25, start_full=True),
        gate=GateConfig(enabled=True, rollouts=20, earned=True, penalised=False),
    )


@pytest.fixture(scope="module")
def offline_part(log_file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("offline") / "run"
    config = with_all_options()
    run(config, dataset=log_file, env=ENV, out=folder, stages="offline", quiet=True)
    return folder


@pytest.fixture(scope="module")
def whole(log_file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(with_all_options(), dataset=log_file, env=ENV, out=folder, quiet=True)
    return folder


def test_an_offline_stage_that_stands_still_ends(offline_part):
    assert [row["epoch"] for row in rows(offline_part)] == [0, 1, 2]
    assert [row["updates"] for row in rows(offline_part)] == [0, 50, 100]


def test_the_saved_policy_is_the_one_that_is_handed_over(log_file, tmp_path):
    """Also where the last epoch had no checkpoint, and a run was resumed from the one before."""
    folder, config = tmp_path / "run", replace(with_all_options(), checkpoint_every=3)
    run(config, dataset=log_file, env=ENV, out=folder, stages="offline", quiet=True)
    saved = load_file(folder / "policy" / "policy.safetensors")
    resume(folder, env=ENV, quiet=True)
    assert_same(load_file(folder / "policy" / "policy.safetensors"), saved)


def test_resumed_at_its_end_it_trains_no_further(offline_part, tmp_path):
    folder = tmp_path / "resumed"
    shutil.copytree(offline_part, folder)
    shutil.rmtree(folder / "checkpoints" / "hand-over")
    (folder / "summary.json").unlink()
    resume(folder, env=ENV, quiet=True)
    assert rows(folder) == rows(offline_part)
    assert_same(arrays(folder, "hand-over"), arrays(offline_part, "hand-over"))


def test_the_online_stage_begins_where_the_offline_stage_ended(offline_part, whole):
    assert_same(arrays(whole, "hand-over"), arrays(offline_part, "hand-over"))


def test_the_updates_of_the_online_stage_come_after_those_that_were_done(whole):
    # 2 offline epochs of 50 updates, then 50 steps an epoch with 4 updates each.
    assert [row["updates"] for row in rows(whole, "online")] == [100, 300, 500]


def test_updates_that_another_run_has_made_are_not_counted_in_ones_speed(
    offline_part, log_file, tmp_path
):
    config = with_all_options()
    start = {"stages": "online", "start_from": offline_part, "quiet": True}
    summary = run(config, dataset=log_file, env=ENV, out=tmp_path / "on", **start).summary
    assert summary["updates"] == 500 and summary["offline"]["epochs"] == 2
    speed = 400 / summary["time"]["update"]
    assert summary["updates_per_second"] == pytest.approx(speed, rel=1e-2)


def test_with_all_options_on_each_leaves_its_mark(whole):
    first, second = rows(whole, "offline")[1:]
    assert first["model/penalty_coef"] == 0.5
    assert second["model/penalty_coef"] not in (0.0, 0.5)
    for row in (first, second, *rows(whole, "online")[1:]):
        assert 1 <= row["model/rollout_steps"] < 3, "trust ends some rollouts"
        assert row["losses/q_target_max"] <= row["losses/q_possible"] < 1e4
    for row in rows(whole, "online")[1:]:
        assert row["model/penalty_coef"] == second["model/penalty_coef"]
        assert row["gate/broken"] == 0
        assert np.isfinite(row["gate/bar"]), "what the acting policy has earned"
    assert all(row["gate/bar"] is None for row in (first, second))
    state = arrays(whole, "online-epoch-000002")
    assert state["state.agent.critics.norms[0].scale"].shape == (3, 32)
    assert (state["state.experience.model.ensemble.std_scale"] != 1).all()


def test_with_all_options_on_an_interrupted_run_ends_bit_for_bit_the_same(whole, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints" / "online-epoch-000002")
    (folder / "summary.json").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"stage": "online", "epo')
    resume(folder, env=ENV, quiet=True)
    assert rows(folder) == rows(whole)
    assert_same(arrays(folder, "online-epoch-000002"), arrays(whole, "online-epoch-000002"))


def test_an_offline_stage_ends_once_the_gate_has_refused_often_enough(log_file, tmp_path):
    config = with_all_options()
    gate = replace(config.gate, confidence=1e6)
    offline = replace(config.offline, patience=None, refusals=2, epochs=4)
    folder = tmp_path / "run"
    run(
        replace(config, gate=gate, offline=offline),
        dataset=log_file, env=ENV, out=folder, stages="offline", quiet=True,
    )  # fmt: skip
    assert [row["epoch"] for row in rows(folder)] == [0, 1, 2]
    kept = rows(folder)
    shutil.rmtree(folder / "checkpoints" / "hand-over")
    (folder / "summary.json").unlink()
    resume(folder, env=ENV, quiet=True)
    assert rows(folder) == kept, "resumed at its end, it trains no further"
