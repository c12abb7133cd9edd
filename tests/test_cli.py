"""The command line: help, results for machines, and one clear line for every wrong input."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import h5py
import jax
import numpy as np
import pytest

import moore
from moore import cli
from moore.agents.sac import SACConfig
from moore.algorithms import ALGORITHMS, SAC
from moore.config import Config
from moore.presets import preset_names, relabels
from moore.replay.schemes import SCHEMES
from moore.runs.plan import Plan
from moore.runs.policy import Policy, save_policy

COMMANDS = (
    "run",
    "offline",
    "online",
    "evaluate",
    "sweep",
    "compare",
    "reproduce",
    "collect",
    "inspect",
    "convert",
    "preview",
    "theory",
)

# Pendulum-v1: three observations, one action within [-2, 2].
ROWS = 60
LOG = {
    "observations": np.random.default_rng(0).normal(size=(ROWS, 3)),
    "actions": np.random.default_rng(1).uniform(-2.0, 2.0, (ROWS, 1)),
    "rewards": np.random.default_rng(2).normal(size=ROWS),
    "terminals": np.zeros(ROWS, bool),
    "timeouts": np.arange(ROWS) % 20 == 19,
}
LOG["next_observations"] = LOG["observations"] + 0.1

TINY = """\
dataset = "log.hdf5"
env_id = "Pendulum-v1"
rollout_length = 2

[model]
members = 2
elites = 1
hidden = [8]
weight_decay = [0.0, 0.0, 0.0]
batch_size = 32
max_fit_steps = 4
max_refit_steps = 2

[sac]
hidden = [8]
batch_size = 16

[offline]
epochs = 0

[online]
epochs = 0

[evaluation]
episodes = 1
"""


def write_hdf5(path: Path, **changes) -> None:
    """The log with other arrays; None leaves one out."""
    arrays = {key: value for key, value in (LOG | changes).items() if value is not None}
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


def changed(key: str, value: float) -> dict[str, np.ndarray]:
    array = LOG[key].copy()
    array[7] = value
    return {key: array}


def files(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """The working folder of a user with a log and a configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("D4RL_DATASET_DIR", raising=False)
    write_hdf5(tmp_path / "log.hdf5")
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path


@pytest.fixture
def moore_prints(capsys):
    """Runs a command that works; returns what it printed for the user and for machines."""

    def run(line: str) -> str:
        capsys.readouterr()
        cli.main(shlex.split(line))
        return capsys.readouterr().out

    return run


@pytest.fixture
def moore_refuses(desk, capsys):
    """Runs a command on bad input: one line on stderr, status 2, nothing lost, nothing left."""

    def run(line: str, *, untouched: Path = desk) -> str:
        before = files(desk), files(untouched)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(shlex.split(line))
        out, err = capsys.readouterr()
        assert stop.value.code == 2
        assert out == ""
        assert re.fullmatch(r"moore: [^\n]+\n", err), err
        assert (files(desk), files(untouched)) == before
        return err

    return run


# --- Help ---


def test_moore_help_lists_the_commands_and_an_example(moore_prints):
    text = moore_prints("--help")
    assert text == moore_prints("-h") == moore_prints("")
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", text, re.MULTILINE)
    assert len(re.findall(r"^example: moore ", text, re.MULTILINE)) == 1
    assert set(cli.COMMANDS) == set(COMMANDS)


def test_moore_version(moore_prints):
    assert moore_prints("--version") == f"moore {moore.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_defaults_and_one_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code in (0, None)
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"usage: moore {command} ")
    assert "(default: " in out
    assert len(re.findall(rf"^\W*example: moore {command} ", out, re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("command", "explained"),
    [
        (
            "run",
            (
                "go on with this run from its last checkpoint",
                "of everything; a run is a function of its configuration, this included.",
                "environment steps between refits of the models.",
            ),
        ),
        ("online", ("the run whose offline stage is done.",)),
        ("evaluate RUN", ("how many. (default: 10)",)),
        ("inspect", ("print JSON. (default: False)",)),
        ("convert", ("path.npz or minari:ID; never one that is there. (required)",)),
        ("preview", ("transitions in the log. (default: 200000)",)),
    ],
)
def test_help_explains_each_option_beside_it(command, explained, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "-h"])
    out = capsys.readouterr().out
    _, options = re.split(r"^\W*options\W*$", out, maxsplit=1, flags=re.MULTILINE)
    words = " ".join(options.replace("│", " ").split())
    for option in explained:
        assert option in words
    assert "Attributes:" not in out


# --- Results for machines ---


def test_inspect_prints_json(desk, moore_prints):
    summary = json.loads(moore_prints("inspect log.hdf5 --json"))
    assert (summary["rows"], summary["obs_dim"], summary["action_dim"]) == (ROWS, 3, 1)
    assert summary["episodes"] == summary["timeouts"] == 3
    assert isinstance(summary["warnings"], list)


def test_inspect_prints_text_with_its_warnings(desk, moore_prints):
    text = moore_prints("inspect log.hdf5")
    assert "60 rows, 3 observation and 1 action dimensions" in text
    warnings = json.loads(moore_prints("inspect log.hdf5 --json"))["warnings"]
    assert text.count("\nwarning: ") == len(warnings)


def test_inspect_joins_files(desk, moore_prints):
    assert json.loads(moore_prints("inspect log.hdf5,log.hdf5 --json"))["rows"] == 2 * ROWS


def test_preview_prints_json(moore_prints):
    line = "preview --n-off 50000 --schemes moore:2,uniform --epochs 30 --peak 0.02 --json"
    result = json.loads(moore_prints(line))
    assert (result["n_off"], result["steps_per_epoch"]) == (50_000, 1000)
    assert list(result["schemes"]) == ["moore:2", "uniform"]
    for entry in result["schemes"].values():
        assert len(entry["online_share"]) == len(entry["shift"]) == 31
        assert entry["peak_shift"] == max(entry["shift"])
    assert result["schemes"]["moore:2"]["crossover_epoch"] == pytest.approx(5.0)
    assert result["alpha_for_peak"] > 0


def test_preview_draws_shares_and_shifts(moore_prints, desk):
    line = "preview --n-off 9000 --schemes moore:1,linear:0:1:5,peak_shift:0.1 --epochs 9"
    text = moore_prints(f"{line} --png {desk / 'preview.png'}")
    curves = [row for row in text.splitlines() if row.count("|") == 2]
    assert [row.split()[0] for row in curves] == ["moore:1", "linear:0:1:5", "peak_shift:0.1"] * 2
    assert all(len(row.split("|")[1]) == 9 for row in curves)
    assert "peak_shift:0.1: jump" in text and "(alpha 0.2133, crossover at 6.5)" in text
    assert (desk / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_preview_prints_a_column_a_scheme_and_the_wanted_alpha(moore_prints):
    text = moore_prints("preview --schemes moore:1,half_half --epochs 20 --peak 0.02")
    assert re.search(r"^epoch +moore:1 +half_half +online share$", text, re.MULTILINE)
    assert re.search(r"^20( +\d\.\d{4}){2}$", text, re.MULTILINE)
    assert re.search(r"^alpha \S+ keeps every shift below 0\.02$", text, re.MULTILINE)


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
    "unknown kind": ("bad.csv", lambda path: path.write_text("1,2"), "path.hdf5"),
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
    assert "builtin:bogus: unknown" in moore_refuses("inspect builtin:bogus")


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


# --- Names and values that are not known ---


def test_an_unknown_command(moore_refuses):
    line = moore_refuses("bogus")
    assert "unknown command 'bogus'" in line
    assert all(command in line for command in COMMANDS)


@pytest.mark.parametrize("command", ["run", "offline"])
def test_an_unknown_preset(command, moore_refuses):
    line = moore_refuses(f"{command} bogus")
    assert "unknown preset 'bogus'" in line
    assert all(name in line for name in preset_names())


def test_an_unknown_scheme(moore_refuses):
    for line in ("run tiny.toml --scheme bogus --out new", "preview --schemes moore:1,bogus"):
        message = moore_refuses(line)
        assert "unknown scheme 'bogus'" in message
        assert all(name in message for name in SCHEMES)


def test_an_unknown_algorithm(moore_refuses):
    line = moore_refuses("run tiny.toml --algorithm bogus --out new")
    assert "unknown algorithm 'bogus'" in line
    assert all(name in line for name in ALGORITHMS)


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("--bogus", "--bogus"),
        ("run tiny.toml --bogus 3", "--bogus"),
        ("run tiny.toml --online.bogus 3", "--online.bogus"),
        ("run tiny.toml another", "another"),
        ("offline tiny.toml --from run", "--from"),
        ("inspect log.hdf5 --bogus", "--bogus"),
        ("convert log.hdf5 --out new.npz --bogus", "--bogus"),
        ("evaluate run --bogus", "--bogus"),
        ("preview --bogus", "--bogus"),
        ("preview extra", "extra"),
    ],
)
def test_an_unknown_flag(line, flag, moore_refuses):
    assert flag in moore_refuses(line)


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("run tiny.toml --alpha 0", ("online.alpha is 0.0", "positive")),
        ("run tiny.toml --alpha -1", ("online.alpha is -1.0", "positive")),
        ("run tiny.toml --alpha nan", ("online.alpha is nan", "finite number")),
        ("run tiny.toml --alpha ten", ("--alpha", "ten")),
        ("run tiny.toml --online.alpha 0", ("online.alpha is 0.0", "positive")),
        ("run tiny.toml --online.alpha ten", ("--online.alpha", "ten")),
        ("run tiny.toml --scheme moore:0", ("alpha is 0.0", "positive")),
        ("run tiny.toml --scheme moore:-1", ("alpha is -1.0", "positive")),
        ("run tiny.toml --scheme moore:ten", ("moore:ten", "takes numbers")),
        ("preview --schemes moore:0", ("alpha is 0.0", "positive")),
        ("preview --schemes moore:ten", ("moore:ten", "takes numbers")),
        ("preview --schemes moore:nan", ("alpha",)),
        ("preview --schemes moore:inf", ("alpha",)),
    ],
)
def test_an_alpha_that_is_no_positive_number(line, messages, moore_refuses):
    message = moore_refuses(line)
    for words in messages:
        assert words in message


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("run tiny.toml --seed -1", ("seed is -1",)),
        ("run tiny.toml --seed 1.5", ("--seed", "1.5")),
        ("run tiny.toml --seed 99999999999999999999", ("seed",)),
        ("run tiny.toml --rollout-length 0", ("rollout_length is 0", "positive")),
        ("run tiny.toml --model.elites 3", ("model.elites is 3", "(2)")),
        ("run tiny.toml --model.weight-decay 0 0", ("2 entries", "need 3")),
        ("run tiny.toml --online.refit-every 300", ("(1000)", "multiple", "(300)")),
        ("run missing.toml", ("no configuration at missing.toml",)),
        ("run text.toml", ("text.toml is not valid TOML",)),
        ("run folder.toml", ("folder.toml",)),
        ("run wrong.toml", ("unknown setting 'seeds'", "seed")),
        ("convert", ("needs a SOURCE",)),
        ("convert log.hdf5", ("--out",)),
        ("convert missing.hdf5 --out new.npz", ("missing.hdf5: no such file",)),
        ("convert log.hdf5,log.hdf5 --out new.npz", ("several logs", "expected one")),
        ("convert text.hdf5 --out new.npz", ("text.hdf5: cannot be read as HDF5",)),
        ("convert log.hdf5 --out log.hdf5", ("log.hdf5: is there already",)),
        ("convert log.hdf5 --out new.csv", ("'new.csv': no name", "path.hdf5", "minari:ID")),
        ("convert log.hdf5 --out missing/new.npz", ("no folder missing",)),
        ("convert log.hdf5 --out minari:new", ("minari:new: no id", "NAMESPACE/NAME-vN")),
        ("convert log.hdf5 --out new.npz --format d4rl", ("'new.npz' in format d4rl",)),
        ("convert log.hdf5 --out new.npz --format csv", ("--format", "csv")),
        ("convert log.hdf5 --out new.npz --max-rows 0", ("max_rows is 0", "at least 1")),
        ("convert log.hdf5 --out new.npz --max-rows 5", ("shortest has 20 rows", "give more")),
        ("convert log.hdf5 --out new.npz --fraction 1.5", ("fraction is 1.5", "(0, 1]")),
        ("preview --n-off 0", ("--n-off is 0", "positive")),
        ("preview --n-off many", ("--n-off", "many")),
        ("preview --epochs 0", ("--epochs is 0", "positive")),
        ("preview --steps-per-epoch -5", ("--steps-per-epoch is -5", "positive")),
        ("preview --peak 0", ("peak", "(0, 1]")),
        ("preview --peak nan", ("peak", "(0, 1]")),
        ('preview --schemes ""', ("unknown scheme ''",)),
        ("preview --schemes my_plant.schemes:near", ("cannot be imported",)),
        ("preview --schemes math:sin", ("math:sin", "only a run can show")),
        ("preview --png nowhere/preview.png", ("nowhere/preview.png", "cannot be written")),
    ],
)
def test_a_wrong_value(line, messages, desk, moore_refuses):
    (desk / "text.toml").write_text("hello")
    (desk / "text.hdf5").write_text("hello")
    (desk / "wrong.toml").write_text("seeds = 1")
    (desk / "folder.toml").mkdir()
    message = moore_refuses(line)
    for words in messages:
        assert words in message


# --- Another algorithm over settings that are not its own ---


@pytest.mark.parametrize("command", ["run tiny.toml", "offline tiny.toml", "online --from old"])
def test_an_algorithm_with_settings_of_its_own_is_not_a_label(command, old_run, moore_refuses):
    line = moore_refuses(f"{command} --algorithm mbpo")
    assert "--algorithm mbpo: these settings are made for moore" in line
    assert "moore run PRESET --algorithm mbpo" in line


def test_presets_that_differ_in_name_alone_may_be_relabelled():
    assert relabels("moore", "naive") and relabels("half_half", "online_only")
    assert not relabels("moore", "no_penalty") and not relabels("moore_robust", "naive")


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
    assert "'quickstart'" in line
    assert "--from RUN" in line


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
    sampled = json.loads(moore_prints(f"{line} --sampled"))
    assert sampled["returns"] != result["returns"]


def test_evaluate_prints_one_line(saved, moore_prints):
    text = moore_prints("evaluate saved --episodes 1 --sampled")
    assert re.fullmatch(
        r"Pendulum-v1, sampled policy, 1 episodes \(seed 0\): return -\S+, .*\n", text
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate", "needs a RUN"),
        ("evaluate --episodes 3", "needs a RUN"),
        ("evaluate missing", "no saved policy in missing"),
        ("evaluate empty", "no saved policy in empty"),
        ("evaluate log.hdf5", "log.hdf5"),
        ("evaluate saved --episodes 0", "--episodes is 0"),
        ("evaluate saved --episodes some", "some"),
        ("evaluate saved --episodes 1 --seed -1", "seed"),
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
    assert list((desk / "new").glob("events.out.tfevents.*"))


# --- Interruptions ---


def test_ctrl_c_is_status_130_and_one_line(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "preview", interrupted)
    with pytest.raises(SystemExit) as stop:
        cli.main(["preview"])
    assert stop.value.code == 130
    assert capsys.readouterr() == ("", "moore: interrupted.\n")


# --- In a process of its own ---


def python(*arguments: str, stdout=subprocess.PIPE, **options) -> subprocess.CompletedProcess:
    """A fresh interpreter that finds this package from any folder."""
    environment = {"PYTHONPATH": str(Path(moore.__file__).parents[1])} | options.pop("env", {})
    return subprocess.run(
        [sys.executable, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        env=os.environ | environment,
        **options,
    )


def imported(code: str, packages: set[str]) -> set[str]:
    """Which of the packages a fresh interpreter has imported after the code."""
    done = python("-c", f"{code}\nimport sys\nprint('imported:', *sys.modules)")
    assert done.returncode == 0, done.stderr
    names = done.stdout.rpartition("imported:")[2].split()
    return {name.partition(".")[0] for name in names} & packages


HEAVY = {"jax", "jaxlib", "equinox", "optax", "gymnasium", "mujoco", "minari", "h5py", "matplotlib"}


@pytest.mark.parametrize(
    "code",
    [
        "import moore",
        "import moore.cli",
        "from moore.cli import main; main(['--help'])",
        "from moore.cli import main; main(['--version'])",
    ],
)
def test_what_must_be_quick_imports_nothing_heavy(code):
    assert imported(code, HEAVY | {"numpy", "tyro", "rich"}) == set()


def test_the_core_imports_no_environments_files_or_command_line():
    code = """
import importlib, pkgutil
for name in ("moore.replay", "moore.dynamics", "moore.agents"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
"""
    edges = {"gymnasium", "mujoco", "minari", "tyro", "h5py", "matplotlib", "rich"}
    assert imported(code, edges | {"jax"}) == {"jax"}


def test_bad_input_is_one_line_to_the_shell_too(desk):
    line = "-m moore run tiny.toml --env-id CartPole-v1 --out new"
    done = python(*line.split(), cwd=desk)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"moore: CartPole-v1 [^\n]+\n", done.stderr)
    assert not (desk / "new").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "preview --epochs 5"])
def test_a_reader_that_goes_away_is_no_error(line, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        environment = {"PYTHONUNBUFFERED": unbuffered}
        done = python("-m", "moore", *line.split(), stdout=writer, env=environment)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
