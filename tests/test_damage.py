"""Files of a run folder that a disk, a hand or a kill has altered: exact all the same, or told."""

import contextlib
import json
import shutil
from pathlib import Path

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from moore.config import read_toml, to_toml
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.reports.compare import compare
from moore.runs import execution
from moore.runs.checkpoint import newest_first, sealed
from moore.runs.finished import read_runs
from moore.runs.folder import read_metrics, read_summary
from moore.runs.plan import read_plan
from moore.runs.run import resume, run
from runs_alike import assert_same_run
from tiny import ENV, LinearGaussian, quick_config, tiny_log


@pytest.fixture(autouse=True, scope="module")
def no_pages():
    """Pictures take longer than the runs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(execution, "write_report", lambda folder: folder / "report.html")
        yield


class Breaks(LinearGaussian):
    """Fails at its thirtieth step."""

    steps = 0

    def step(self, action):
        Breaks.steps += 1
        if Breaks.steps == 30:
            raise RuntimeError("the valve is stuck")
        return super().step(action)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The same run: finished, and stopped in its third online epoch by a system that failed."""
    place = tmp_path_factory.mktemp("runs")
    write_npz(place / "log.npz", tiny_log())
    run(quick_config(), dataset=place / "log.npz", env=ENV, out=place / "finished", quiet=True)
    Breaks.steps = -(10**6)
    config, start = quick_config(), place / "stopped"
    with pytest.raises(RuntimeError, match="the valve is stuck"):
        run(
            config, dataset=place / "log.npz", env=ENV, out=start, quiet=True,
            system=lambda: gym.wrappers.TimeLimit(_counted(), 20),
        )  # fmt: skip
    # From here on it is a run in the environment of its evaluation, whose episode is replayed.
    plan = json.loads((start / "checkpoints" / "plan.json").read_text())
    del plan["hash"]
    (start / "checkpoints" / "plan.json").write_text(sealed(plan | {"given": ["env"]}))
    return {"finished": place / "finished", "stopped": start}


def _counted() -> gym.Env:
    Breaks.steps = 0
    return Breaks()


def test_what_a_system_did_before_it_failed_is_kept(folders, tmp_path):
    newest = newest_first(folders["stopped"] / "checkpoints")[0]
    assert newest.name == "online-epoch-000002-step-000005"
    shutil.copytree(folders["stopped"], tmp_path / "run")
    resume(tmp_path / "run", env=ENV, quiet=True)
    assert_same_run(folders["finished"], tmp_path / "run")


def damaged(content: bytes, how: str, place: float, bit: int) -> bytes:
    at = int(place * max(len(content) - 1, 0))
    if how == "cut" or not content:
        return content[:at]
    flipped = bytearray(content)
    flipped[at] ^= 1 << bit
    return bytes(flipped)


FILES = st.sampled_from(
    [
        "config.toml", "metrics.jsonl", "summary.json", "policy/policy.json",
        "policy/policy.safetensors", "checkpoints/plan.json", "checkpoints/NEWEST/manifest.json",
        "checkpoints/NEWEST/state.safetensors", "checkpoints/hand-over/manifest.json",
    ]
)  # fmt: skip


@given(
    which=st.sampled_from(["finished", "stopped"]),
    file=FILES,
    how=st.sampled_from(["flip", "cut"]),
    place=st.floats(0.0, 1.0),
    bit=st.integers(0, 7),
)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(which="finished", file="metrics.jsonl", how="cut", place=0.5, bit=0)
@example(which="stopped", file="checkpoints/plan.json", how="flip", place=0.02, bit=0)
def test_any_damage_is_harmless_or_told(folders, tmp_path_factory, which, file, how, place, bit):
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(folders[which], folder)
    newest = newest_first(folder / "checkpoints")[0].name
    path = folder / file.replace("NEWEST", newest)
    if not path.exists():
        return
    path.write_bytes(damaged(path.read_bytes(), how, place, bit))
    for read in (read_runs, lambda runs: compare(read_runs(runs))):
        with contextlib.suppress(InputError):
            read([folder])
    try:
        resume(folder, env=ENV, quiet=True)
    except InputError as error:
        assert str(folder) in str(error)
    else:
        assert_same_run(folders["finished"], folder)
    shutil.rmtree(folder)


def copy(folders, tmp_path, which="stopped") -> Path:
    shutil.copytree(folders[which], tmp_path / "run")
    return tmp_path / "run"


def test_settings_edited_after_the_start_are_named(folders, tmp_path):
    folder = copy(folders, tmp_path)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("episodes = 1", "episodes = 2"))
    with pytest.raises(InputError, match=r"edited since .*: evaluation\.episodes is 2 and was 1\."):
        resume(folder, env=ENV, quiet=True)


def test_what_may_change_may_be_edited(folders, tmp_path):
    folder = copy(folders, tmp_path)
    (folder / "config.toml").write_text(to_toml(quick_config(checkpoint_every=2, env_id="custom")))
    text = (folders["stopped"] / "config.toml").read_text()
    assert "checkpoint_every = 1" in text
    edited = text.replace("checkpoint_every = 1", "checkpoint_every = 2")
    (folder / "config.toml").write_text(edited)
    resume(folder, env=ENV, quiet=True)
    assert read_toml(folder / "config.toml").checkpoint_every == 2


def test_with_all_checkpoints_of_the_online_stage_damaged_the_hand_over_is_used(folders, tmp_path):
    folder = copy(folders, tmp_path)
    for path in newest_first(folder / "checkpoints"):
        (path / "state.safetensors").write_bytes(b"")
    resume(folder, env=ENV, quiet=True)
    assert_same_run(folders["finished"], folder)


def test_damaged_checkpoints_are_not_among_those_that_are_kept(folders, tmp_path):
    folder = copy(folders, tmp_path, "finished")
    newest, before, *_ = newest_first(folder / "checkpoints")
    for path in (newest, before):
        (path / "state.safetensors").write_bytes(b"")
    config = folder / "config.toml"

    class Over(Exception):
        pass

    def until(row, _):
        raise Over

    with pytest.raises(Over):
        resume(folder, env=ENV, until=until, quiet=True)
    resume(folder, env=ENV, quiet=True)
    assert config.exists()
    assert_same_run(folders["finished"], folder)
    for path in newest_first(folder / "checkpoints"):
        assert (path / "state.safetensors").stat().st_size > 0


def test_a_manifest_without_a_key_is_damaged(folders, tmp_path, capsys):
    folder = copy(folders, tmp_path)
    path = newest_first(folder / "checkpoints")[0] / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["hash"], manifest["info"]["epoch"]
    path.write_text(sealed(manifest))
    resume(folder, env=ENV)
    assert "its manifest has no 'epoch'" in capsys.readouterr().err
    assert_same_run(folders["finished"], folder)


@pytest.mark.parametrize("stages", ["neither", 3, None])
def test_a_plan_of_no_known_stages_is_damaged(stages, folders, tmp_path):
    folder = copy(folders, tmp_path)
    place = folder / "checkpoints" / "plan.json"
    plan = json.loads(place.read_text())
    del plan["hash"]
    place.write_text(sealed(plan | {"stages": stages}))
    with pytest.raises(InputError, match=r"plan\.json is missing or damaged"):
        read_plan(folder)


NUMBERLESS = st.sampled_from(["x", [], {}, True, None, [[]], 10**400])


ENTRIES = st.sampled_from(["transfer", "seed", "env_id", "reference", "acting", "time", "scheme"])


@given(name=ENTRIES, value=NUMBERLESS)
@settings(max_examples=30)
def test_a_summary_of_wrong_types_is_told(folders, tmp_path_factory, name, value):
    folder = tmp_path_factory.mktemp("summary") / "run"
    shutil.copytree(folders["finished"], folder)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {name: value}))
    try:
        compare(read_runs([folder]))
    except InputError as error:
        assert str(folder) in str(error)
    shutil.rmtree(folder)


@pytest.mark.parametrize("text", ["[" * 10**5, "[]", "3", '{"seed": ', "\ud800"])
def test_a_summary_that_is_no_object_is_told(text, tmp_path):
    (tmp_path / "summary.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"summary\.json"):
        read_summary(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        {"epoch": 1}, {"stage": "online"}, {"stage": "online", "epoch": "1"},
        {"stage": "online", "epoch": 1, "eval/return": "high"},
        {"stage": "online", "epoch": 1, "online/episode_returns": [1.0, "x"]},
        {"stage": "online", "epoch": 1, "eval/returns": 3.0},
    ],
    ids=repr,
)  # fmt: skip
def test_a_row_that_no_run_has_written_is_told(row, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n{}\n")
    with pytest.raises(InputError, match="line 1 is damaged"):
        read_metrics(tmp_path / "metrics.jsonl")
