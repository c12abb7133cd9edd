"""moore assess: what it prints and writes, and what it refuses."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import pages
from made_policies import made
from moore.agents.bc import BCConfig
from moore.assessing import controller
from moore.assessing.saved_models import saved_models
from moore.config import read_toml
from moore.dynamics.ensemble import predict_all
from moore.formats.npz import write_npz
from moore.runs.policy import save_policy
from tiny import tiny_log


@pytest.fixture(autouse=True)
def small_clones(monkeypatch):
    """A regression of seconds: the numbers of the tiny task do not matter here."""
    monkeypatch.setattr(controller, "CLONING", BCConfig(hidden=(16,), updates=100, batch_size=64))


def test_models_come_from_the_newest_checkpoint(tiny_run):
    ensemble = saved_models(tiny_run.folder, read_toml(tiny_run.folder / "config.toml"), (1, 1))
    log = tiny_log()
    mean, _ = predict_all(ensemble, jnp.concatenate([log.obs, log.action], axis=1))
    error = np.mean((np.asarray(mean[:, :, 0]) - log.reward) ** 2)
    assert error < 0.5 * log.reward.var()


def test_a_run_is_judged_without_its_environment(tiny_run, tmp_path, moore_prints):
    page = tmp_path / "page.html"
    with pages.drawn():
        text = moore_prints(f"assess {tiny_run.folder} --out {page} --starts 4 --json")
    found = json.loads(text)
    assert found["verdict"] in ("yes", "no", "unknown") and found["line"]
    assert found["old"]["value"] == pytest.approx(tiny_log().episode_returns.mean(), rel=1e-4)
    by_weights = ["importance sampling", "doubly robust"]
    assert list(found["new"]) == ["the models", "fitted Q evaluation", *by_weights]
    models = found["new"]["the models"]["value"]
    assert models["low"] < models["value"] < models["high"]
    for name in by_weights:
        assert "does not say with which density" in found["new"][name]["value"]["refused"]
    assert len(found["readings"]) == 3
    assert "held_out" in found["log"] and not found["log"]["held_out"]
    assert "--log HELD_OUT" in found["notes"][0]
    html = page.read_text()
    assert html.count("<svg") == 3
    assert "src=" not in html and 'href="http' not in html


def test_people_read_the_verdict_first(tiny_run, tmp_path, moore_prints, log_file):
    page = tmp_path / "page.html"
    line = f"assess {tiny_run.folder} --log {log_file} --out {page} --starts 4"
    text = moore_prints(line)
    assert text.startswith(("Yes, ", "No. ", "Not known. "))
    assert "old controller, mean of the log" in text
    assert "Do the estimators know the old controller?" in text
    assert str(page) in text and "not used in training" in page.read_text()


def assessed(run, log, tmp_path) -> str:
    write_npz(tmp_path / "held.npz", log)
    return f"assess {run} --log {tmp_path / 'held.npz'} --out {tmp_path / 'page.html'} --starts 4"


def test_a_log_that_is_unlike_the_run_s_is_told(tiny_run, tmp_path, moore_prints):
    log = tiny_log(seed=5)
    for changed, words in (
        (replace(log, action=-log.action), "has the other sign"),
        (tiny_log(), f"{log.size} of the {log.size} rows of"),
    ):
        assert words in " ".join(moore_prints(assessed(tiny_run.folder, changed, tmp_path)).split())
    told = json.loads(moore_prints(assessed(tiny_run.folder, log, tmp_path) + " --json"))
    assert told["notes"] == []


def test_episodes_that_are_shorter_than_the_run_s_tell_no_return(tiny_run, tmp_path, moore_prints):
    log = tiny_log(seed=5)
    cut = replace(
        log,
        truncated=np.arange(log.size) % 4 == 3,
        episode_lengths=np.full(log.size // 4, 4),
        episode_returns=log.reward.reshape(-1, 4).sum(axis=1),
    )
    found = json.loads(moore_prints(assessed(tiny_run.folder, cut, tmp_path) + " --json"))
    assert found["verdict"] == "unknown" and "has 0 whole episodes" in found["line"]


def test_a_held_out_log_without_rewards_is_refused(tiny_run, tmp_path, moore_refuses):
    log = tiny_log(seed=5)
    none = replace(log, reward=0 * log.reward, episode_returns=0 * log.episode_returns)
    assert "every reward is 0" in moore_refuses(assessed(tiny_run.folder, none, tmp_path))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda log: {"obs": 90 + log.obs, "next_obs": 90 + log.next_obs}, "that the log never ho"),
        (
            lambda log: {"reward": 1 - log.reward, "episode_returns": 20 - log.episode_returns},
            "the rewards of",
        ),
    ],
)
def test_a_log_in_other_units_than_the_run_s_is_refused(
    changed, words, tiny_run, tmp_path, moore_prints, moore_refuses
):
    log = tiny_log(seed=5)
    line = assessed(tiny_run.folder, replace(log, **changed(log)), tmp_path)
    told = moore_refuses(line)
    assert words in told and "--accept unlike-the-log" in told
    moore_prints(f"{line} --accept unlike-the-log")


def test_where_the_run_s_log_is_gone_it_is_said_that_nothing_was_compared(
    quick_run, tmp_path, moore_prints
):
    shutil.copytree(quick_run, tmp_path / "run")
    config = tmp_path / "run" / "config.toml"
    config.write_text(re.sub('dataset = ".*"', 'dataset = "gone.npz"', config.read_text()))
    told = moore_prints(assessed(tmp_path / "run", tiny_log(seed=5), tmp_path) + " --json")
    assert "The log of the run (gone.npz) cannot be read here" in " ".join(
        json.loads(told)["notes"]
    )


@pytest.fixture
def run(desk):
    """A run folder of a plant with three observations, whose log is another one."""
    save_policy(desk / "run" / "policy", made())
    (desk / "run" / "config.toml").write_text('dataset = "log.hdf5"\n')
    (desk / "session").mkdir()
    (desk / "session" / "session.json").write_text("{}")
    return desk / "run"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("assess", "needs a RUN"),
        ("assess nowhere", "there is no saved policy in"),
        ("assess run", "give a log of the same system"),
        ("assess run --log nowhere.npz", "nowhere.npz"),
        ("assess session", "session is a session, and what is judged is the policy of a run"),
        ("assess run --log ''", "--log is empty"),
        ("assess run --out=", "--out is empty"),
        ("assess run --seed -1", "--seed"),
        ("assess run --starts 0", "--starts"),
    ],
)
def test_bad_input_is_refused_in_one_line(line, words, run, moore_refuses):
    assert words in moore_refuses(line)


def test_a_held_out_log_is_looked_at_as_a_run_looks_at_its_own(tiny_run, moore_refuses, tmp_path):
    log, path = tiny_log(), tmp_path / "held-out.npz"
    for changed, words in (
        ({"action": 10 * log.action}, "outside the bounds of the policy"),
        ({"truncated": ~log.truncated}, "--accept ends-in-most-rows"),
    ):
        write_npz(path, replace(log, **changed))
        line = f"assess {tiny_run.folder} --log {path} --out {tmp_path / 'page.html'} --starts 4"
        assert words in moore_refuses(line)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"obs": ["v", "p", "T"]}, "its obs columns are v, p, T, those of the policy p, v, T"),
        ({"action": ["u2", "u1"]}, "its action columns are u2, u1"),
        ({"units": {"p": "bar"}}, "its obs columns are in"),
    ],
)
def test_a_log_with_the_policy_s_columns_in_another_order_or_unit_is_refused(
    changed, words, run, moore_refuses
):
    told = {"obs_names": ["p", "v", "T"], "obs_units": ["Pa", "", ""], "action_names": ["u1", "u2"]}
    save_policy(run / "policy", replace(made(), columns=told))
    rows = [f"{i},{i % 7},{i % 5},0,0.05,1,{i // 20}" for i in range(60)]
    Path("held.csv").write_text("\n".join(["p,v,T,u1,u2,r,e", *rows]))
    names = {"obs": ["p", "v", "T"], "action": ["u1", "u2"]} | changed
    lines = [f"{key} = {value}" for key, value in names.items() if key != "units"]
    units = names.get("units", {"p": "Pa"})
    lines += ['reward = "r"', 'episode = "e"', *(f'units.{k} = "{v}"' for k, v in units.items())]
    Path("held.toml").write_text("\n".join(lines))
    assert words in moore_refuses("assess run --log held.csv")


@pytest.mark.parametrize("name", ["reward", "termination"])
def test_functions_that_a_run_names_are_imported_only_if_the_user_names_them(
    name, run, moore_refuses
):
    Path("mine.py").write_text("raise RuntimeError('imported')")
    (run / "config.toml").write_text(f'dataset = "log.hdf5"\n{name} = "mine:function"\n')
    assert f"--{name} mine:function" in moore_refuses("assess run")
