"""Reading what somebody else has written runs no code that it names."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from moore.agents.sac import AGENT as SAC
from moore.agents.sac import SACConfig
from moore.cli import main
from moore.config import Config, OnlineConfig, from_dict, read_toml, to_dict, to_toml
from moore.envs.trusted_id import trusted_env_id
from moore.errors import InputError
from moore.replay.schemes import check_scheme, parse_scheme
from moore.runs.policy import Policy, save_policy
from moore.runs.setup import prepare
from tiny import ENV, tiny_config, tiny_log

SPY = """
import pathlib
pathlib.Path(__file__).with_name("was-imported").touch()
import gymnasium
gymnasium.register("Spied-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=5)
def near(d, t):
    return d.online + 0.5
def ends(obs, action, next_obs):
    return next_obs[0] > 100.0
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Whether the module `spy`, which every name here means, has been imported."""
    (tmp_path / "spy.py").write_text(SPY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spy", raising=False)
    yield (tmp_path / "was-imported").exists
    sys.modules.pop("spy", None)


SPIED = {"online": {"scheme": "spy:near"}, "termination": "spy:ends", "env_id": "spy:Spied-v0"}


def test_a_configuration_is_made_read_compared_and_printed_without_its_modules(imported, tmp_path):
    config = from_dict(SPIED)
    (tmp_path / "config.toml").write_text(to_toml(config))
    again = read_toml(tmp_path / "config.toml")
    assert again == config == Config(**vars(config)) and hash(again) == hash(config)
    assert "spy:near" in repr(again) and to_dict(again)["termination"] == "spy:ends"
    dataclasses.replace(again, seed=3)
    assert not imported()


def test_a_name_is_still_checked_for_how_it_is_written():
    for name in (
        "spy:near:1",
        "not a module:near",
        "spy.py",
        "spy:",
        ":near",
        "spy:2",
        "../spy:near",
    ):
        with pytest.raises(InputError, match="unknown scheme"):
            OnlineConfig(scheme=name) and Config(online=OnlineConfig(scheme=name))
    for name in ("spy:near", "plant.schemes:near", "priorities.npy", "a/b.npy", "moore:2"):
        check_scheme(name)


def test_to_prepare_a_run_imports_what_its_user_named(imported):
    config = tiny_config(termination="spy:ends", online=OnlineConfig(scheme="spy:near"))
    assert not imported()
    setup = prepare(config, dataset=tiny_log(), env=ENV)
    assert imported()
    assert str(setup.learner.task.scheme) == "spy:near"
    assert parse_scheme("spy:near").name == "spy:near"


@pytest.mark.parametrize("name", ["nowhere:near", "math:near", "nowhere.npy"])
def test_a_scheme_that_is_nowhere_stops_a_run_before_it_begins(name):
    config = tiny_config(online=OnlineConfig(scheme=name))
    with pytest.raises(InputError, match=f"scheme {name}"):
        prepare(config, dataset=tiny_log(), env=ENV)


# --- Environments ---


def test_an_environment_of_a_module_needs_the_users_word(imported):
    where = "the log x.hdf5"
    assert trusted_env_id(None, "Hopper-v5", where=where) == "Hopper-v5"
    assert trusted_env_id("spy:Spied-v0", "spy:Spied-v0", where=where) == "spy:Spied-v0"
    assert trusted_env_id("Hopper-v5", "spy:Spied-v0", where=where) == "Hopper-v5"
    assert trusted_env_id("", None, where=where) is trusted_env_id(None, "", where=where) is None
    with pytest.raises(InputError, match=r"the log x\.hdf5 names .* --env-id spy:Spied-v0\."):
        trusted_env_id(None, "spy:Spied-v0", where=where)
    assert not imported()


def test_a_log_that_names_a_module_imports_none(imported):
    log = dataclasses.replace(tiny_log(), env_id="spy:Spied-v0")
    with pytest.raises(InputError, match="the log tiny names the environment spy:Spied-v0"):
        prepare(tiny_config(env_id=""), dataset=log)
    prepare(tiny_config(env_id=""), dataset=log, env=ENV)
    assert not imported()


@pytest.fixture
def spied_policy(tmp_path) -> Path:
    """A run folder with a policy that names modules wherever it can."""
    config = dataclasses.replace(from_dict(SPIED), sac=SACConfig(hidden=(8,)))
    weights = jax.jit(lambda key: SAC.policy(SAC.init(key, 3, 1, config.sac)))(jax.random.key(0))
    bounds = np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32)
    save_policy(
        tmp_path / "run" / "policy", Policy(weights, SAC, config, 3, *bounds, config.env_id)
    )
    return tmp_path / "run"


def test_evaluate_asks_for_the_users_word(imported, spied_policy, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(spied_policy), "--episodes", "1"])
    line = capsys.readouterr().err
    assert stop.value.code == 2 and line.count("\n") == 1
    assert "module spy; if you trust it" in line and "--env-id spy:Spied-v0" in line
    assert not imported()
    arguments = ["--episodes", "1", "--json", "--env-id", "spy:Spied-v0"]
    main(["evaluate", str(spied_policy), *arguments])
    assert json.loads(capsys.readouterr().out)["lengths"] == [5]
    assert imported()


def test_evaluate_says_what_another_version_had_set(spied_policy, capsys):
    place = spied_policy / "policy" / "policy.json"
    about = json.loads(place.read_text())
    about["config"]["gate"]["unheard_of"] = 1
    place.write_text(json.dumps(about))
    main(["evaluate", str(spied_policy), "--episodes", "1", "--env-id", "Pendulum-v1"])
    assert "note: the policy in" in (err := capsys.readouterr().err) and "gate.unheard_of" in err
