"""The command line as a process: interruptions, imports, the shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moore
from moore import cli
from moore.sinks.console import Reporter

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


def test_a_service_without_output_can_run_a_command():
    code = "import sys; sys.stdout = sys.stderr = None; from moore.cli import main; main({})"
    assert python("-c", code.format("['--version']")).returncode == 0
    assert python("-c", code.format("['no-command']")).returncode == 2


needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full device")


@needs_full
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["--help", "preview --epochs 5 --json"])
def test_output_that_cannot_be_written_is_one_line(line, unbuffered):
    with open("/dev/full", "w") as full:
        environment = {"PYTHONUNBUFFERED": unbuffered}
        done = python("-m", "moore", *line.split(), stdout=full, env=environment)
    assert done.returncode == 2
    assert done.stderr == "moore: the output cannot be written: the disk is full; make room.\n"


@needs_full
def test_a_run_goes_on_where_its_console_cannot_be_written(monkeypatch, capsys):
    """The file that its lines go to, or the terminal, may be gone long before the run is over."""
    with open("/dev/full", "w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        report = Reporter()
        report.say("a line")
        report.start("offline", 2)
        report.advance(1, "another one")
        report.stop()
        monkeypatch.setattr(sys, "stderr", None)
        Reporter().say("to nobody, and not to standard output either")
        assert capsys.readouterr().out == ""
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


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
