"""The command line refuses logs, environments and termination rules with one clear line."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from desk import LOG, ROWS, changed, write_hdf5
from moore import cli

# --- A data set that cannot be used is refused by `run`; by `inspect` if it cannot be read ---


def truncated_hdf5(path: Path) -> None:
    write_hdf5(path)
    path.write_bytes(path.read_bytes()[:3000])


def damaged_hdf5(path: Path) -> None:
    write_hdf5(path)
    path.write_bytes(path.read_bytes().replace(b"SNOD", b"\0\0\0\0"))


def damaged_npz(path: Path) -> None:
    np.savez_compressed(path, obs=LOG["observations"])
    content = bytearray(path.read_bytes())
    name, extra = content[26:28], content[28:30]  # lengths in the first member's header
    start = 30 + int.from_bytes(name, "little") + int.from_bytes(extra, "little")
    content[start] = 0xFF  # no such kind of compressed block
    path.write_bytes(content)


BAD_DATA = {
    "missing HDF5": ("bad.hdf5", lambda path: None, "no such file"),
    "missing npz": ("bad.npz", lambda path: None, "no such file"),
    "unknown kind": ("bad.xlsx", lambda path: path.write_text("1,2"), "path.hdf5"),
    "a folder": ("bad.hdf5", lambda path: path.mkdir(), "is a folder"),
    "not HDF5": ("bad.hdf5", lambda path: path.write_text("hello"), "cannot be read as HDF5"),
    "not npz": ("bad.npz", lambda path: path.write_text("hello"), "cannot be read as an .npz"),
    "truncated HDF5": ("bad.hdf5", truncated_hdf5, "cannot be read as HDF5"),
    "damaged HDF5": ("bad.hdf5", damaged_hdf5, "cannot be read as HDF5"),
    "damaged npz": ("bad.npz", damaged_npz, "cannot be read as an .npz"),
    "keys missing": (
        "bad.hdf5",
        lambda path: write_hdf5(path, rewards=None, terminals=None),
        "arrays rewards, terminals missing",
    ),
    "lengths differ": (
        "bad.hdf5",
        lambda path: write_hdf5(path, rewards=np.zeros(ROWS - 1)),
        "lengths differ",
    ),
    "matrix for a vector": (
        "bad.hdf5",
        lambda path: write_hdf5(path, rewards=np.zeros((ROWS, 2))),
        "shape (60, 2)",
    ),
    "vector for a matrix": (
        "bad.hdf5",
        lambda path: write_hdf5(path, actions=np.zeros(ROWS)),
        "shape (60,)",
    ),
    "text for numbers": (
        "bad.hdf5",
        lambda path: write_hdf5(path, rewards=np.array([b"a"] * ROWS)),
        "expected numbers",
    ),
    "NaN observation": (
        "bad.hdf5",
        lambda path: write_hdf5(path, **changed("observations", np.nan)),
        "row 7",
    ),
    "NaN action": (
        "bad.hdf5",
        lambda path: write_hdf5(path, **changed("actions", np.nan)),
        "row 7",
    ),
    "infinite reward": (
        "bad.hdf5",
        lambda path: write_hdf5(path, **changed("rewards", np.inf)),
        "row 7",
    ),
    "beyond float32": (
        "bad.hdf5",
        lambda path: write_hdf5(path, **changed("next_observations", 1e39)),
        "row 7",
    ),
    "no complete episode": (
        "bad.hdf5",
        lambda path: write_hdf5(path, timeouts=np.zeros(ROWS, bool)),
        "no complete episode",
    ),
    "no rows": (
        "bad.hdf5",
        lambda path: write_hdf5(path, **{key: value[:0] for key, value in LOG.items()}),
        "no rows",
    ),
    "one good, one missing": ("bad.npz,log.hdf5", lambda path: None, "bad.npz: no such file"),
}


# What `inspect` can read it describes, with the reason why training refuses it.
DESCRIBED = ("NaN observation", "NaN action", "infinite reward", "beyond float32")
DESCRIBED += ("no complete episode",)


@pytest.mark.parametrize("case", DESCRIBED)
def test_inspect_says_why_training_refuses_a_log(case, desk, capsys):
    name, write, _ = BAD_DATA[case]
    write(desk / name)
    cli.main(["inspect", name])
    assert "refused: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "command"),
    [(case, "run tiny.toml --dataset {} --out new") for case in BAD_DATA]
    + [(case, "inspect {}") for case in BAD_DATA if case not in DESCRIBED],
)
def test_a_data_set_that_cannot_be_used(case, command, desk, moore_refuses):
    name, write, message = BAD_DATA[case]
    write(desk / name)
    line = moore_refuses(command.format(name))
    assert message in line
    assert "bad" in line


def test_an_unknown_builtin(moore_refuses):
    assert "unknown built-in log 'bogus'" in moore_refuses("inspect builtin:bogus")


def test_no_data_set_at_all(desk, moore_refuses):
    assert "--dataset" in moore_refuses('run tiny.toml --dataset "" --out new')


# --- A log and an environment that do not fit one another ---


@pytest.mark.parametrize(
    ("env_id", "changes", "messages"),
    [
        ("Hopper-v5", {}, ("observations have 3 dimensions", "Hopper-v5 11")),
        (
            "Pendulum-v1",
            {"actions": np.zeros((ROWS, 2))},
            ("actions have 2 dimensions", "Pendulum-v1 1"),
        ),
        (
            "Pendulum-v1",
            changed("actions", 2.5),
            ("1 of 60 actions", "2.5 in row 7", "[-2, 2]"),
        ),
        ("CartPole-v1", {}, ("CartPole-v1", "Discrete", "continuous")),
        ("Bogus-v1", {}, ("'Bogus-v1' cannot be made",)),
        ("Pendulum-v99", {}, ("'Pendulum-v99' cannot be made",)),
        ("not an id", {}, ("'not an id' cannot be made",)),
        ("Hopper-v2", {}, ("'Hopper-v2' cannot be made",)),
        ("no_such_module:Plant-v0", {}, ("'no_such_module:Plant-v0' cannot be made",)),
        ("", {}, ("names no environment", "--env-id")),
    ],
    ids=[
        "observation dimensions",
        "action dimensions",
        "actions outside the bounds",
        "discrete actions",
        "unknown id",
        "unknown version",
        "malformed id",
        "version that Gymnasium gave away",
        "module that is not there",
        "no environment",
    ],
)
def test_an_environment_that_does_not_fit(env_id, changes, messages, desk, moore_refuses):
    write_hdf5(desk / "log.hdf5", **changes)
    line = moore_refuses(f"run tiny.toml --env-id '{env_id}' --out new")
    for message in messages:
        assert message in line


# --- When imagined episodes end ---


class Plant(gym.Env):
    """An environment that no rule is known for."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,))
    action_space = gym.spaces.Box(-2.0, 2.0, (1,))

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        return np.zeros(3, np.float32), 0.0, False, False, {}


@pytest.fixture
def plant():
    gym.register("MooreTestPlant-v0", Plant)
    yield "MooreTestPlant-v0"
    gym.registry.pop("MooreTestPlant-v0")


def test_an_unknown_environment_whose_log_has_terminals(plant, desk, moore_refuses):
    write_hdf5(desk / "log.hdf5", terminals=np.arange(ROWS) == 10)
    line = moore_refuses(f"run tiny.toml --env-id {plant} --out new")
    assert "no termination rule is known for MooreTestPlant-v0" in line
    assert "--termination module:function" in line


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("moore_no_such_module:ends", "module moore_no_such_module cannot be imported"),
        ("moore.envs.termination:no_such_rule", "has no function no_such_rule"),
        ("broken_rules:ends", "broken_rules"),
        ("bogus", "expected auto, learned, never, module:function"),
        (":", "expected module:function"),
        ("moore_test_rules:without_arguments", "without_arguments"),
    ],
    ids=[
        "no such module",
        "no such function",
        "module that fails",
        "no colon",
        "no names",
        "other arguments",
    ],
)
def test_a_termination_rule_that_cannot_be_used(spec, message, desk, moore_refuses, monkeypatch):
    (desk / "broken_rules.py").write_text("ends = undefined_name\n")
    (desk / "moore_test_rules.py").write_text("def without_arguments():\n    return False\n")
    monkeypatch.syspath_prepend(desk)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        assert message in moore_refuses(f"run tiny.toml --termination {spec} --out new")
    finally:
        sys.modules.pop("moore_test_rules", None)
