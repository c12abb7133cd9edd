"""The command line on folders of runs and saved policies."""

import dataclasses
import json
import re
import shlex

import jax
import numpy as np
import pytest

from desk import LOG, ROWS, TINY, files, write_hdf5
from moore import cli
from moore.agents.sac import AGENT as SAC
from moore.agents.sac import SACConfig
from moore.config import Config
from moore.presets import relabels
from moore.runs.plan import Plan
from moore.runs.policy import Policy, save_policy

# --- Folders of runs ---


@pytest.fixture
def old_run(desk):
    """The folder of a run whose offline stage did not come to its end."""
    folder = desk / "old"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.toml").write_text(TINY)
    Plan("both").write(folder)
    row = {"stage": "offline", "epoch": 0, "env_steps": 0, "updates": 0}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize("command", ["run tiny.toml", "offline tiny.toml", "online --from old"])
def test_an_output_folder_that_is_already_a_run(command, old_run, moore_refuses):
    line = moore_refuses(f"{command} --out old")
    assert "old already exists" in line
    assert "--resume" in line


@pytest.mark.parametrize("out", ["log.hdf5", "log.hdf5/new", "."])
def test_an_output_folder_that_cannot_be_made(out, moore_refuses):
    assert out in moore_refuses(f"run tiny.toml --out {out}")


@pytest.mark.parametrize("given", ["missing", "empty", "log.hdf5", "old", "cut", "list", "keys"])
def test_resuming_a_folder_that_is_no_run(given, desk, old_run, moore_refuses):
    (desk / "empty").mkdir()
    plan = old_run / "checkpoints" / "plan.json"
    if given in ("cut", "list", "keys"):
        plan.write_text({"cut": '{"stages"', "list": "[]", "keys": "{}"}[given])
        old_run.rename(desk / given)
    if given == "old":
        plan.unlink()
    assert given in moore_refuses(f"run --resume {given}")


def test_resuming_without_a_folder(moore_refuses):
    assert "--resume" in moore_refuses("run --resume")


def test_resuming_does_not_hide_a_wrong_flag(old_run, moore_refuses):
    assert "unknown scheme 'bogus'" in moore_refuses("run --resume old --scheme bogus")


def test_online_without_from(moore_refuses):
    assert "--from RUN" in moore_refuses("online")
    assert "--from" in moore_refuses("online --from")


def test_online_takes_no_preset(moore_refuses):
    line = moore_refuses("online quickstart --from old")
    assert "not from a preset: moore online --from quickstart" in line


@pytest.mark.parametrize("given", ["missing", "empty", "log.hdf5"])
def test_online_from_a_folder_that_is_no_run(given, desk, moore_refuses):
    (desk / "empty").mkdir()
    assert given in moore_refuses(f"online --from {given} --out new")


def test_online_from_an_offline_stage_that_is_not_done(old_run, moore_refuses):
    line = moore_refuses("online --from old --out new")
    assert "old has no finished offline stage" in line


def test_online_from_a_run_without_metrics(old_run, moore_refuses):
    (old_run / "metrics.jsonl").unlink()
    assert "old" in moore_refuses("online --from old --out new")


# --- Another algorithm over settings that are not its own ---


@pytest.mark.parametrize("command", ["run tiny.toml", "offline tiny.toml", "online --from old"])
def test_an_algorithm_with_settings_of_its_own_is_not_a_label(command, old_run, moore_refuses):
    line = moore_refuses(f"{command} --algorithm mbpo")
    assert "--algorithm mbpo: these settings are made for moore" in line
    assert "moore run PRESET --algorithm mbpo" in line


def test_presets_that_differ_in_name_alone_may_be_relabelled():
    assert relabels("moore", "naive") and relabels("half_half", "online_only")
    assert not relabels("moore", "no_penalty") and not relabels("moore_robust", "naive")


# --- Saved policies ---


@pytest.fixture
def saved(desk):
    """A run folder that holds nothing but an untrained policy."""
    config = Config(sac=SACConfig(hidden=(8,)))
    weights = SAC.policy(SAC.init(jax.random.key(0), 3, 1, config.sac))
    bounds = np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32)
    save_policy(desk / "saved" / "policy", Policy(weights, SAC, config, 3, *bounds, "Pendulum-v1"))
    return desk / "saved"


def test_evaluate_prints_json(saved, moore_prints):
    line = "evaluate saved --episodes 2 --seed 3 --json"
    result = json.loads(moore_prints(line))
    assert result["env_id"] == "Pendulum-v1"
    assert result["score"] is None
    assert result["lengths"] == [200, 200]
    assert result["return"] == pytest.approx(np.mean(result["returns"]))
    assert json.loads(moore_prints(line)) == result
    assert json.loads(moore_prints(f"{line} --episode-steps 50"))["lengths"] == [50, 50]
    sampled = json.loads(moore_prints(f"{line} --sampled"))
    assert sampled["returns"] != result["returns"]


def test_a_score_is_that_of_the_registered_task_alone(saved, moore_prints):
    """Episodes of 20 steps are no task of D4RL's, whose returns are those of 1000."""
    config = Config(sac=SACConfig(hidden=(8,)))
    for args, known in (('{"forward_reward_weight": 2.0}', False), ("", True)):
        made = dataclasses.replace(config, env_args=args)
        weights = SAC.policy(SAC.init(jax.random.key(0), 11, 3, config.sac))
        bounds = np.full(3, -1.0, np.float32), np.full(3, 1.0, np.float32)
        save_policy(saved / "policy", Policy(weights, SAC, made, 11, *bounds, "Hopper-v5"))
        found = json.loads(moore_prints("evaluate saved --episodes 1 --json"))
        assert (found["score"] is not None) == known
    short = json.loads(moore_prints("evaluate saved --episodes 1 --episode-steps 20 --json"))
    assert short["score"] is None and short["lengths"] == [20]


def test_evaluate_prints_one_line(saved, moore_prints):
    text = moore_prints("evaluate saved --episodes 1 --sampled")
    assert re.fullmatch(
        r"Pendulum-v1, sampled policy, 1 episode \(seed 0\): return -\S+, .*\n", text
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate", "needs a RUN"),
        ("evaluate --episodes 3", "needs a RUN"),
        ("evaluate missing", "no saved policy in missing; check its name"),
        ("evaluate empty", "no saved policy in empty; a run saves one"),
        ("evaluate log.hdf5", "log.hdf5"),
        ("evaluate saved --episodes 0", "--episodes is 0"),
        ("evaluate saved --episodes some", "some"),
        ("evaluate saved --episodes 1 --seed -1", "seed"),
        ("evaluate saved --episodes 1 --episode-steps 0", "--episode-steps is 0"),
        ("evaluate saved --episodes 1 --env-id Bogus-v1", "'Bogus-v1' cannot be made"),
        ("evaluate saved --episodes 1 --env-id CartPole-v1", "continuous"),
        ("evaluate saved --episodes 1 --env-id Hopper-v5", "(3,)"),
    ],
)
def test_a_policy_that_cannot_be_evaluated(line, message, desk, saved, moore_refuses):
    (desk / "empty").mkdir()
    assert message in moore_refuses(line)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("policy.json", b"{"),
        ("policy.json", b"[]"),
        ("policy.json", b"{}"),
        ("policy.safetensors", b""),
        ("policy.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
    ],
    ids=["cut short", "a list", "without bounds", "empty", "without weights"],
)
def test_a_damaged_policy(file, content, saved, moore_refuses):
    (saved / "policy" / file).write_bytes(content)
    assert "policy" in moore_refuses("evaluate saved --episodes 1")


def test_inspect_without_a_data_set(moore_refuses):
    assert "needs a DATASET" in moore_refuses("inspect")
    assert "needs a DATASET" in moore_refuses("inspect --json")


# --- One small run, and what follows from it ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An offline stage of no epochs: the fit of the models, an evaluation, all the files."""
    folder = tmp_path_factory.mktemp("finished")
    write_hdf5(folder / "log.hdf5")
    (folder / "tiny.toml").write_text(TINY)
    line = f"offline {folder}/tiny.toml --dataset {folder}/log.hdf5 --out {folder}/run --quiet"
    cli.main(shlex.split(line))
    return folder / "run"


def test_a_run_leaves_the_files_of_its_contract(finished):
    for name in ("config.toml", "metrics.jsonl", "summary.json", "report.html", "policy"):
        assert (finished / name).exists()
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["env_id"] == "Pendulum-v1"
    assert summary["dataset"]["rows"] == ROWS


def test_resuming_a_finished_run_changes_no_result(finished, moore_prints):
    metrics = (finished / "metrics.jsonl").read_bytes()
    summary = json.loads(moore_prints(f"run --resume {finished} --quiet --json"))
    assert summary == json.loads((finished / "summary.json").read_text())
    assert (finished / "metrics.jsonl").read_bytes() == metrics


@pytest.mark.parametrize("flag", ["--env-id", "--env_id"])
def test_resuming_in_another_environment_is_checked(flag, finished, moore_refuses):
    line = moore_refuses(f"run --resume {finished} {flag} Bogus-v1 --quiet", untouched=finished)
    assert "'Bogus-v1' cannot be made" in line


def test_resuming_on_another_log(finished, moore_refuses, desk):
    write_hdf5(desk / "log.hdf5", rewards=LOG["rewards"] + 1.0)
    line = f"run --resume {finished} --dataset log.hdf5 --quiet"
    line = moore_refuses(line, untouched=finished)
    assert "log.hdf5 is not the data set that" in line


def test_resuming_from_damaged_checkpoints(finished, desk, moore_refuses):
    (desk / "copy").mkdir()
    for name, content in files(finished).items():
        path = desk / "copy" / name
        damaged = content[:-8] if content and name.endswith("state.safetensors") else content
        path.mkdir(parents=True) if damaged is None else path.write_bytes(damaged)
    assert "no checkpoint of copy can be read" in moore_refuses("run --resume copy --quiet")


def test_the_online_stage_starts_from_an_offline_one(finished, desk, moore_prints):
    line = f"online --from {finished} --out new --quiet --json"
    summary = json.loads(moore_prints(line))
    assert summary["transfer"]["offline"] == summary["offline"]["return"]
    assert (desk / "new" / "policy").is_dir()


def test_the_online_stage_needs_a_fitting_configuration(finished, moore_refuses):
    line = f"online --from {finished} --model.members 3 --out new --quiet"
    message = moore_refuses(line, untouched=finished)
    assert "belongs to another configuration" in message


def test_a_run_with_tensorboard_writes_its_events(desk, moore_prints):
    moore_prints("offline tiny.toml --tensorboard --out new --quiet")
    (events,) = (desk / "new").glob("events.out.tfevents.*")
    assert b"model/holdout_mse" in events.read_bytes()
