"""Kill a run at any moment: resumed, it ends as if nothing had happened. And what can go wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from moore.envs.collector import Collector
from moore.envs.make import make_env
from moore.errors import InputError
from moore.experience.imagination import Imagination
from moore.files import locked
from moore.formats.npz import write_npz
from moore.runs import checkpoint as checkpoints
from moore.runs.changes import altered, check_kept, kept
from moore.runs.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from moore.runs.plan import Plan, is_free, read_plan
from moore.runs.reading import newest_epoch
from moore.runs.run import resume, run
from moore.runs.setup import prepare
from moore.runs.signals import Stopped
from moore.stages.learner import Learner
from runs_alike import assert_same_run
from tiny import ENV, quick_config, tiny_config, tiny_log


@pytest.fixture
def uninterrupted(tiny_run) -> Path:
    return tiny_run.folder


def cut_back(whole: Path, to: str, folder: Path) -> Path:
    """The folder as a kill would have left it: newer checkpoints gone, a half-written line."""
    shutil.copytree(whole, folder)
    for path in checkpoints.newest_first(folder / "checkpoints"):
        if path.name > to:
            shutil.rmtree(path)
    (folder / "summary.json").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"stage": "online", "epo')
    return folder


def test_resume_after_a_cut_in_the_online_stage_is_bit_for_bit(uninterrupted, tmp_path):
    folder = cut_back(uninterrupted, "online-epoch-000003", tmp_path / "cut")
    resume(folder, env=ENV, quiet=True)
    assert_same_run(uninterrupted, folder)


STOPS = {
    "before the step's action": (
        tiny_config, "act", 97, signal.SIGINT, "online-epoch-000001-step-000037",
    ),
    "in the middle of a refit": (
        tiny_config, "fit", 6, signal.SIGTERM, "online-epoch-000001-step-000040",
    ),
    "in an offline epoch": (quick_config, "update", 1, signal.SIGINT, "offline-epoch-000001"),
}  # fmt: skip


@pytest.mark.parametrize(
    "when", [pytest.param(when, marks=[pytest.mark.slow] * ("step" in when)) for when in STOPS]
)
def test_a_signal_loses_nothing_and_the_resumed_run_is_bit_for_bit(
    when, request, log_file, tmp_path, monkeypatch
):
    config, name, call, number, newest = STOPS[when]
    owner = Learner if hasattr(Learner, name) else Imagination
    calls, inner = [], getattr(owner, name)

    def signalled(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return inner(*arguments, **options)

    folder = tmp_path / "stopped"
    with monkeypatch.context() as patched, pytest.raises(Stopped) as stop:
        patched.setattr(owner, name, signalled)
        run(config(), dataset=log_file, env=ENV, out=folder, quiet=True)
    assert stop.value.status == 128 + number
    assert checkpoints.newest_first(folder / "checkpoints")[0].name == newest
    resume(folder, env=ENV, quiet=True)
    whole = "quick_run" if config is quick_config else "uninterrupted"
    assert_same_run(request.getfixturevalue(whole), folder)


_CHILD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from moore.runs.run import run
from tiny import ENV, {config}
run({config}(), dataset={log!r}, env=ENV, out=Path({out!r}), quiet=True)
"""


@pytest.mark.parametrize(
    ("config", "after"),
    [
        ("quick_config", "offline-epoch-000001"),
        pytest.param("tiny_config", "offline-epoch-000001", marks=pytest.mark.slow),
        pytest.param("tiny_config", "online-epoch-000001", marks=pytest.mark.slow),
    ],
)
def test_resume_after_kill_9_is_bit_for_bit(config, after, request, log_file, tmp_path):
    """SIGKILL some time after the given checkpoint appeared, whatever the run was doing then."""
    folder = tmp_path / "killed"
    tests = str(Path(__file__).parent)
    code = _CHILD.format(config=config, tests=tests, log=str(log_file), out=str(folder))
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 240
        while not (folder / "checkpoints" / after).exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    resume(folder, env=ENV, quiet=True)
    whole = "quick_run" if config == "quick_config" else "uninterrupted"
    assert_same_run(request.getfixturevalue(whole), folder)


def test_offline_then_online_from_it_equals_one_run(
    uninterrupted, tiny_offline, log_file, tmp_path
):
    start = {"stages": "online", "start_from": tiny_offline}
    run(tiny_config(), dataset=log_file, env=ENV, out=tmp_path / "run", quiet=True, **start)
    assert_same_run(uninterrupted, tmp_path / "run")


def test_models_are_never_judged_by_rows_that_trained_them(tiny_offline, log_file, tmp_path):
    """An online stage of another seed keeps the split of the log, and so does one from it."""
    holdout = lambda setup: np.sort(setup.learner.offline.holdout_rows)  # noqa: E731
    other = tiny_config(seed=5)
    setups = [prepare(c, dataset=log_file, env=ENV) for c in (tiny_config(), other)]
    assert (holdout(setups[0]) != holdout(setups[1])).any()
    kept = prepare(other, dataset=log_file, env=ENV, split_seed=0)
    np.testing.assert_array_equal(holdout(kept), holdout(setups[0]))
    start, settings = (
        tiny_offline,
        {"dataset": log_file, "env": ENV, "stages": "online", "quiet": True},
    )
    at_once = lambda row, state: True  # noqa: E731
    for seed in (5, 6):
        out = tmp_path / f"seed-{seed}"
        run(tiny_config(seed=seed), out=out, start_from=start, until=at_once, **settings)
        assert read_plan(out).split_seed == 0
        start = out


def test_an_online_stage_goes_on_with_the_log_that_it_began_with(tiny_offline, tmp_path):
    with pytest.raises(InputError, match=r"is not the data set that .* was begun with"):
        run(
            tiny_config(), dataset=tiny_log(seed=1), env=ENV, out=tmp_path / "run",
            stages="online", start_from=tiny_offline, quiet=True,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_a_plan_finds_its_start_from_anywhere_and_after_a_move(tmp_path, monkeypatch):
    (tmp_path / "sweep" / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "sweep" / "offline").mkdir()
    monkeypatch.chdir(tmp_path)
    Plan("online", Path("sweep/offline"), 0).write(Path("sweep/run"))
    monkeypatch.chdir("/")
    (tmp_path / "sweep").rename(tmp_path / "moved")
    found = read_plan(tmp_path / "moved" / "run").start
    assert found.resolve() == (tmp_path / "moved" / "offline").resolve()


def test_one_process_at_a_time_writes_to_a_run(uninterrupted):
    with locked(uninterrupted), pytest.raises(InputError, match="another process is writing"):
        resume(uninterrupted, env=ENV, quiet=True)


def test_a_policy_that_a_kill_has_left_behind_is_written_again(uninterrupted, tmp_path):
    folder = cut_back(uninterrupted, "online-epoch-999999", tmp_path / "cut")
    shutil.rmtree(folder / "policy")
    resume(folder, env=ENV, quiet=True)
    assert_same_run(uninterrupted, folder)


def test_a_half_written_checkpoint_is_none(uninterrupted, tmp_path):
    folder = cut_back(uninterrupted, "online-epoch-000003", tmp_path / "cut")
    (folder / "checkpoints" / ".online-epoch-000009.partial").mkdir()
    assert newest_epoch(folder) == 3
    assert all("partial" not in p.name for p in checkpoints.newest_first(folder / "checkpoints"))


def test_a_folder_that_was_killed_before_its_plan_may_be_begun_again(tmp_path):
    folder = tmp_path / "run"
    assert is_free(folder)
    (folder / "checkpoints").mkdir(parents=True)
    for name in ("config.toml", ".config.toml.partial", ".lock", "checkpoints/.plan.json.partial"):
        (folder / name).touch()
    assert is_free(folder)
    (folder / "notes.txt").touch()
    assert not is_free(folder)
    (folder / "notes.txt").unlink()
    Plan("both").write(folder)
    assert not is_free(folder)


def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(uninterrupted, tmp_path, capsys):
    folder = tmp_path / "damaged"
    shutil.copytree(uninterrupted, folder)
    newest = checkpoints.newest_first(folder / "checkpoints")[0] / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[-100] ^= 0xFF
    newest.write_bytes(content)
    resume(folder, env=ENV)
    assert "does not match its hash" in capsys.readouterr().err
    assert_same_run(uninterrupted, folder)


def test_a_run_with_no_readable_checkpoint_is_refused(uninterrupted, tmp_path):
    folder = tmp_path / "ruined"
    shutil.copytree(uninterrupted, folder)
    for path in (folder / "checkpoints").glob("*/state.safetensors"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint of .* can be read"):
        resume(folder, env=ENV, quiet=True)


def test_another_log_is_refused(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    other = tmp_path / "other.npz"
    write_npz(other, tiny_log(seed=5))
    with pytest.raises(InputError, match="is not the data set"):
        resume(folder, dataset=other, env=ENV, quiet=True)


def test_a_finished_run_is_never_overwritten(uninterrupted, log_file):
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        run(tiny_config(), dataset=log_file, env=ENV, out=uninterrupted, quiet=True)
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before


def test_a_resumed_run_may_bear_more_bad_readings_in_a_row(tmp_path):
    """The error that they end a run with names this setting."""
    begun = tiny_config()
    same = dict.fromkeys(("epochs", "checkpoint_every", "track", "tensorboard"))
    now = altered(begun, Plan("both"), tmp_path, max_bad_readings=50, **same)
    assert now.online.max_bad_readings == 50
    check_kept(kept(begun), now, tmp_path)
    other = replace(now, online=replace(now.online, alpha=9.0))
    with pytest.raises(InputError, match=r"online\.alpha is 9\.0"):
        check_kept(kept(begun), other, tmp_path)


class TestCheckpointFiles:
    STATE = {"a": jnp.arange(3.0), "key": jax.random.key(4), "nested": (jnp.ones((2, 2)),)}  # noqa: RUF012

    def save(self, folder, name="one"):
        arrays = {"extra": np.arange(4)}
        return save_checkpoint(folder, name, self.STATE, arrays=arrays, info={"epoch": 7})

    def test_comes_back_as_it_was_keys_included(self, tmp_path):
        loaded = load_checkpoint(self.save(tmp_path), self.STATE)
        np.testing.assert_array_equal(loaded.state["a"], [0.0, 1.0, 2.0])
        assert jax.random.key_data(loaded.state["key"]).tolist() == [0, 4]
        np.testing.assert_array_equal(loaded.arrays["extra"], np.arange(4))
        assert loaded.info == {"epoch": 7}

    def test_every_array_is_stored_by_the_name_of_its_place(self, tmp_path):
        stored = load_file(self.save(tmp_path) / "state.safetensors")
        names = {"state['a']", "state['key']", "state['nested'][0]", "arrays/extra"}
        assert stored.keys() == names
        assert stored["state['key']"].tolist() == [0, 4]

    def test_a_missing_manifest_is_damage(self, tmp_path):
        path = self.save(tmp_path)
        (path / "manifest.json").unlink()
        with pytest.raises(DamagedCheckpoint):
            load_checkpoint(path, self.STATE)

    def test_another_format_is_refused_by_name(self, tmp_path):
        path = self.save(tmp_path)
        old = {"format": 6, "sha256": "0", "info": {}}
        (path / "manifest.json").write_text(json.dumps(old))
        with pytest.raises(InputError, match="format 6; this version of moore reads 12"):
            load_checkpoint(path, self.STATE)
        (path / "manifest.json").write_text(checkpoints.sealed({"format": 99, "info": {}}))
        with pytest.raises(InputError, match="format 99"):
            load_checkpoint(path, self.STATE)

    def test_another_shape_is_refused_by_name(self, tmp_path):
        path = self.save(tmp_path)
        with pytest.raises(InputError, match=r"state\['a'\]"):
            load_checkpoint(path, self.STATE | {"a": jnp.zeros(5)})

    def test_a_full_disk_leaves_the_checkpoint_before_untouched(self, tmp_path, monkeypatch):
        self.save(tmp_path)

        def no_space(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoints, "save_file", no_space)
        with pytest.raises(InputError, match="the disk is full"):
            self.save(tmp_path, "two")
        monkeypatch.undo()
        assert [path.name for path in tmp_path.iterdir()] == ["one"]
        load_checkpoint(tmp_path / "one", self.STATE)


class TestRunningEpisode:
    def walk(self, collector, steps, seed=0):
        rng = np.random.default_rng(seed)
        return [collector.step(rng.uniform(-1, 1, 1).astype(np.float32)) for _ in range(steps)]

    def test_is_replayed_exactly(self):
        first = Collector(make_env("Pendulum-v1"), 3)
        self.walk(first, 250)
        second = Collector(make_env("Pendulum-v1"), 3)
        assert second.restore(first.running_episode())
        for a, b in zip(self.walk(first, 300, 1), self.walk(second, 300, 1), strict=True):
            np.testing.assert_array_equal(a.next_obs, b.next_obs)
        assert first.take_episode_returns() == second.take_episode_returns()

    def test_that_comes_out_differently_is_replaced_by_a_new_one(self):
        first = Collector(make_env("Pendulum-v1"), 3)
        self.walk(first, 50)
        snapshot = first.running_episode()
        altered = replace(snapshot, obs=snapshot.obs + 1e-6)
        second = Collector(make_env("Pendulum-v1"), 3)
        assert not second.restore(altered)
        assert second.running_episode().episode == snapshot.episode + 1
        assert len(second.running_episode().actions) == 0
