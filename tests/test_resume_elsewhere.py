"""A run goes on with the log and the environment it was begun with, wherever its folder lies."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moore.data.content import sum_of_rows
from moore.envs.bounds import Bounds
from moore.envs.limits import StepLimit
from moore.envs.make import Registered
from moore.errors import InputError
from moore.formats.load import load_dataset
from moore.runs import resuming
from moore.runs.reading import check_environment
from moore.runs.run import resume
from moore.runs.world import World
from runs_alike import assert_same_run
from tiny import ENV, tiny_log


@pytest.fixture
def copied(quick_run, tmp_path, monkeypatch) -> Path:
    """A copy of a run in another folder, which is the working folder."""
    folder = tmp_path / "copy"
    shutil.copytree(quick_run, folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_log_that_is_gone_is_asked_for(copied, monkeypatch):
    gone = replace(resuming.settings_of(copied), dataset="log.npz")
    monkeypatch.setattr(resuming, "settings_of", lambda _: gone)
    monkeypatch.setattr(resuming, "check_kept", lambda *_: None)
    with pytest.raises(InputError, match=r"was begun with the log log.npz, which is not"):
        resume(copied, env=ENV, quiet=True)


def test_a_copy_goes_on_with_a_log_that_has_moved(copied, quick_run, log_file):
    shutil.copy(log_file, "moved.npz")
    (copied / "summary.json").unlink()
    shutil.rmtree(max((copied / "checkpoints").glob("online-epoch-*")))
    resume(copied, dataset="moved.npz", env=ENV, quiet=True)
    assert_same_run(quick_run, copied)


@pytest.mark.parametrize("key", ["obs", "truncated"])
def test_rows_that_were_changed_once_loaded_are_no_longer_the_log(copied, log_file, key):
    log = load_dataset(log_file)
    values = getattr(log, key).copy()
    values[7] = ~values[7] if key == "truncated" else values[7] + 1
    changed = replace(log, **{key: values})
    assert changed.sha256 == log.sha256 and sum_of_rows(changed) != sum_of_rows(log)
    with pytest.raises(InputError, match="other rows: its arrays were changed"):
        resume(copied, dataset=changed, env=ENV, quiet=True)


def began(environment: str, steps: int, source: str = "own") -> dict:
    return {"environment": environment, "step_limit": [steps, source]}


def world(source, steps: int = 200) -> World:
    one, limit = np.ones(1), StepLimit(steps, "own")
    facts = {"env_id": "", "bounds": Bounds(-one, one), "obs_dim": 1, "max_bad_readings": 1}
    return World(source, None, limit=limit, **facts)


def test_the_environment_must_be_the_one_of_before(tmp_path):
    pendulum = Registered("Pendulum-v1", '{"g": 9}')
    for info, now in (
        (began('Pendulum-v1 {"g": 9}', 200), pendulum),
        (began("Plant-v0", 200), Registered("my_plants:Plant-v0")),  # the module may move
        (began("", 200), pendulum),  # it was a function
        (began("Pendulum-v1", 200), ENV),
        (began('Pendulum-v1 {"g": 9}', 300, "assumed"), pendulum),
        ({}, pendulum),  # of an earlier version
    ):
        check_environment(info, world(now), tmp_path)


@pytest.mark.parametrize(
    ("info", "source", "told"),
    [
        (began("Hopper-v4", 200), Registered("Hopper-v5"), "begun in Hopper-v4, not in"),
        (began("P-v1", 200), Registered("P-v1", '{"g": 9}'), "begun in P-v1, not in P-v1 {"),
        (began("", 100), ENV, "end after 100 steps; now they end after 200"),
    ],
)
def test_another_environment_is_refused(tmp_path, info, source, told):
    with pytest.raises(InputError, match=told):
        check_environment(info, world(source), tmp_path)


def test_the_sum_of_rows_knows_any_change_and_no_layout():
    log = tiny_log(episodes=2)
    turned = replace(log, obs=np.asfortranarray(np.repeat(log.obs, 2, axis=1)))
    straight = replace(log, obs=np.repeat(log.obs, 2, axis=1))
    assert sum_of_rows(turned) == sum_of_rows(straight) != sum_of_rows(log)
    known = log.successor_known.copy()
    known[3] = False
    assert sum_of_rows(replace(log, successor_known=known)) != sum_of_rows(log)
