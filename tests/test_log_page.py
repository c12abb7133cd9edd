"""`moore inspect` as a user meets it: terminal, JSON and page."""

import json
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from moore import cli
from moore.data.log import Log
from moore.errors import InputError
from moore.inspecting.summary import summarize
from moore.reports.log_page import write_log_page

ROWS = 400


def pendulum(rows=ROWS) -> Log:
    """Pendulum-v1 by its own equations, episodes of 200 steps."""
    rng = np.random.default_rng(0)
    angle, speed, columns = 0.0, 0.0, []
    for row in range(rows):
        if row % 200 == 0:
            angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(-1, 1)
        obs, action = [np.cos(angle), np.sin(angle), speed], rng.uniform(-2, 2)
        wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
        reward = -(wrapped**2 + 0.1 * speed**2 + 0.001 * action**2)
        speed = np.clip(speed + (15 * np.sin(angle) + 3 * action) * 0.05, -8, 8)
        angle += speed * 0.05
        columns.append((obs, [action], reward, [np.cos(angle), np.sin(angle), speed]))
    obs, action, reward, next_obs = (np.array(column) for column in zip(*columns, strict=True))
    flags = {"terminated": np.zeros(rows, bool), "truncated": np.arange(rows) % 200 == 199}
    return Log(obs, action, reward, next_obs=next_obs, name="p", env_id="Pendulum-v1", **flags)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a sound log, log.hdf5, and one that training refuses, bad.hdf5."""
    monkeypatch.chdir(tmp_path)
    log = pendulum()
    reward = log.reward.copy()
    reward[7] = np.nan
    for name, rewards in (("log", log.reward), ("bad", reward)):
        with h5py.File(f"{name}.hdf5", "w") as file:
            file.attrs["env_id"] = "Pendulum-v1"
            file["observations"], file["actions"], file["rewards"] = log.obs, log.action, rewards
            file["terminals"], file["timeouts"] = log.terminated, log.truncated
            file["next_observations"] = log.next_obs
    return tmp_path


@pytest.fixture
def printed(desk, capsys):
    def run(line: str) -> str:
        capsys.readouterr()
        cli.main(line.split())
        return capsys.readouterr().out

    return run


def test_a_sound_log_fits_one_screen(printed):
    lines = printed("inspect log.hdf5 --replay-check --rows 100").splitlines()
    assert len(lines) <= 40
    assert lines[-1].startswith("The log fits Pendulum-v1")
    assert "Training takes this log; 1 finding to look at." in lines
    assert sum(line.startswith("note: There are no reference returns") for line in lines) == 1


def test_a_log_that_training_refuses_is_described_nevertheless(printed):
    text = printed("inspect bad.hdf5")
    assert "refused: There are values that are NaN or infinite: reward 1 (first: row 7)" in text
    assert text.endswith("Training refuses this log, for 1 reason; 1 finding besides.\n")
    found = json.loads(printed("inspect bad.hdf5 --json"))
    assert len(found["refused"]) == 1 and found["refused"][0] in found["warnings"]
    assert found["non_finite"] == {"reward": {"values": 1, "first_row": 7}}


def test_what_stops_a_run_is_a_warning_with_its_level_as_in_the_documents(desk, printed):
    with h5py.File("log.hdf5", "r+") as file:
        file["timeouts"][...] = True
    text = printed("inspect log.hdf5")
    stopping = [line for line in text.splitlines() if line.startswith("warning (ruins): ")]
    assert stopping and stopping[0].endswith("[ends-in-most-rows]")
    assert "and takes it as it is only with --accept ends-in-most-rows" in text


def test_json_has_everything(printed):
    found = json.loads(printed("inspect log.hdf5 --json --replay-check --rows 50 --seed 3"))
    assert (found["rows"], found["replay"]["rows"], found["replay"]["seed"]) == (ROWS, 50, 3)
    assert found["replay"]["fits_all"] and len(found["histograms"]["obs"]) == 3
    assert json.loads(printed("inspect log.hdf5 --json"))["replay"] is None


def test_a_log_that_does_not_fit_its_environment_is_warned_of(desk, printed):
    with h5py.File("log.hdf5", "r+") as file:
        file["rewards"][...] = 0.5 * file["rewards"][()]
    text = printed("inspect log.hdf5 --replay-check")
    assert "warning: The log does not fit Pendulum-v1: reward off by" in text
    assert "0.5 times the environment's." in text
    assert "nothing suspicious" not in text


def test_a_replay_that_is_not_possible_does_not_end_the_inspection(desk, printed):
    text = printed("inspect log.hdf5 --replay-check --env-id Hopper-v5")
    assert "not possible: log.hdf5: rows have 3 observation and 1 action" in text
    assert "Training refuses this log" in text
    found = json.loads(printed("inspect log.hdf5 --replay-check --env-id Hopper-v5 --json"))
    assert found["replay"] is None and "11 and 3" in found["replay_problem"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("inspect log.hdf5 --replay-check --rows 0", "rows is 0"),
        ("inspect log.hdf5 --html nowhere/page.html", "no such folder"),
        ("inspect log.hdf5 --html .", "is a folder"),
    ],
)
def test_bad_options_are_told_in_one_line(desk, capsys, line, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(line.split())
    out, err = capsys.readouterr()
    assert (stop.value.code, out) == (2, "")
    assert re.fullmatch(r"moore: [^\n]+\n", err) and message in err


def test_a_terminal_without_block_signs_gets_plain_ones(desk):
    command = [sys.executable, "-m", "moore", "inspect", "log.hdf5"]
    env = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=desk, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.isascii() and "return" in done.stdout


# --- The page ---


def test_the_page_shows_numbers_warnings_and_figures_and_loads_nothing(desk, printed):
    text = printed("inspect bad.hdf5 --replay-check --rows 100 --html page.html")
    page = (desk / "page.html").read_text(encoding="utf-8")
    assert "Training refuses this: </b>There are values that are NaN" in page
    assert "It fits Pendulum-v1." in page and "Pendulum-v1" in text
    assert page.count("<svg") == 8 and "Errors by dimension" in page
    assert f"<strong>{ROWS}</strong>" in page and "observation 2" in page
    loaded = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert all(target.startswith("#") for target in loaded)
    assert "<script" not in page and "<link" not in page and "@import" not in page
    assert "default-src 'none'" in page and len(page) < 1_500_000
    assert sorted(file.name for file in desk.iterdir()) == ["bad.hdf5", "log.hdf5", "page.html"]


def test_without_a_replay_check_the_page_has_none(tmp_path):
    page = write_log_page(tmp_path / "page.html", summarize(pendulum())).read_text()
    assert page.count("<svg") == 6 and "Replay" not in page


def test_names_and_metadata_are_escaped(tmp_path):
    log = Log(**{**vars(pendulum()), "name": "<b>x</b>", "metadata": {"k": "<script>"}})
    page = write_log_page(tmp_path / "page.html", summarize(log)).read_text()
    assert "<b>x</b>" not in page and "<script>" not in page and "&lt;script&gt;" in page


def test_a_log_of_almost_nothing_has_a_page(tmp_path):
    log = pendulum(rows=3)
    nothing = np.full(3, np.nan)
    flags = {"truncated": np.zeros(3, bool), "reward": nothing, "env_id": None}
    page = write_log_page(tmp_path / "p.html", summarize(Log(**{**vars(log), **flags})))
    assert "no values" in page.read_text() and "No complete episode" in page.read_text()


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_log_page(tmp_path / "missing" / "page.html", summarize(pendulum()))
