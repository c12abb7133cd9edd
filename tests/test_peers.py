"""The comparison with other libraries: its table, its turns, and libraries that are not there."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "peers"))

import environment
import report as peer_report
import run as peers
import work
import worker
from work import ROLLOUTS, STEP, UNITS, UPDATE


def row(operation, who, times, **parts):
    about = {"operation": operation, "who": who, "version": "1", "includes": "all"}
    return about | {"milliseconds": times} | parts


def report_of(*rows):
    about = {"machine": {"processor": "P", "load": 0.1}, "sizes": {"obs": 3}, "units": UNITS}
    return about | {"rows": list(rows)}


# --- The table ---


def test_ratios_are_those_of_each_round_and_not_of_the_medians():
    made = report_of(row(UPDATE, "moore", [1.0, 2.0, 4.0]), row(UPDATE, "other", [3.0, 4.0, 4.0]))
    ours, other = peer_report.summary(made)
    assert (ours["median"], ours["least"], ours["most"]) == (2.0, 1.0, 4.0)
    # Rounds: 3, 2, 1; the medians' ratio would be 2 as well, the extremes' would not be 3 and 1.
    assert (other["ratio"], other["ratio_least"], other["ratio_most"]) == (2.0, 1.0, 3.0)
    made["rows"][1]["milliseconds"] = [3.0, 4.0, 20.0]
    assert peer_report.summary(made)[1]["ratio"] == 3.0  # 3, 2, 5, while the medians give 2


def test_rows_are_ordered_by_operation_then_by_time_and_absent_libraries_come_last():
    made = report_of(
        {"who": "gone", "reason": "not installed: a | b"},
        row(STEP, "moore", [5.0]),
        row(UPDATE, "slow", [9.0]),
        row(UPDATE, "moore", [2.0]),
    )
    assert [(one.get("operation"), one["who"]) for one in peer_report.summary(made)] == [
        (UPDATE, "moore"), (UPDATE, "slow"), (STEP, "moore"), (None, "gone"),
    ]  # fmt: skip
    lines = list(peer_report.markdown(made))
    assert {line.count("|") for line in lines} == {9}
    assert (
        lines[3] == "| SAC update, 1 update | slow | 1 | 9 | 9 to 9 | 4.50 | 4.50 to 4.50 | all |"
    )
    assert lines[5] == "|  | gone |  |  |  |  |  | not installed: a / b |"


def test_an_operation_that_we_have_no_time_of_has_no_ratio():
    (only,) = peer_report.summary(report_of(row(ROLLOUTS, "other", [7.0])))
    assert "ratio" not in only


# --- Turns ---


class Fake:
    """A library whose calls take what it is told, and which notes when it was asked."""

    def __init__(self, name, calls, answers):
        told = [{"name": one, "who": name, "includes": ""} for one in (STEP, UPDATE)]
        self.about = {"version": "1", "operations": told}
        self._name, self._calls, self._answers = name, calls, iter(answers)

    def milliseconds(self, operation):
        self._calls.append((self._name, operation))
        return next(self._answers)


def times(*values):
    return [{"milliseconds": value} for value in values]


def test_calls_take_turns_and_the_first_round_does_not_count(monkeypatch):
    monkeypatch.setattr(peers, "PAUSE", 0.0)
    calls = []
    both = {
        "a": Fake("a", calls, times(100, 200, 1, 2, 3, 4)),
        "b": Fake("b", calls, times(100, 200, 5, 6, 7, 8)),
    }
    found = peers.measure(both, 2)
    # Updates come first in the table, so they do in each round.
    assert calls == [("a", 1), ("b", 1), ("a", 0), ("b", 0)] * 3
    kept = {(one["who"], one["operation"]): one["milliseconds"] for one in found}
    assert kept == {
        ("a", UPDATE): [1, 3], ("a", STEP): [2, 4], ("b", UPDATE): [5, 7], ("b", STEP): [6, 8],
    }  # fmt: skip


def test_a_library_that_fails_has_its_reason_and_stops_nobody(monkeypatch):
    monkeypatch.setattr(peers, "PAUSE", 0.0)
    broken = Fake("broken", [], [*times(1), {"failed": "no memory"}, *times(2, 2)])
    silent = Fake("silent", [], [])
    silent.about = {"failed": "ImportError: x"}
    found = peers.measure({"silent": silent, "broken": broken}, 2)
    assert found[0] == {"who": "silent", "reason": "ImportError: x"}
    step = next(one for one in found if one.get("operation") == STEP)
    assert step["reason"] == "ensemble step: no memory" and step["milliseconds"] == []
    assert [one["milliseconds"] for one in found[1:] if "reason" not in one] == [[2, 2]]
    assert len(list(peer_report.markdown(report_of(*found)))) == 5


def test_a_worker_answers_a_line_a_request_and_tells_what_a_library_raised():
    def broken():
        raise ValueError("odd")

    made = [work.Operation(UPDATE, "me", "all", 4, lambda: None),
            work.Operation(STEP, "me", "all", 1, broken)]  # fmt: skip
    said = []
    worker.answer(
        lambda: (made, "2"), said.append, io.StringIO('{"operation": 0}\n{"operation": 1}')
    )
    about, first, second = said
    assert about["version"] == "2" and [one["name"] for one in about["operations"]] == [
        UPDATE,
        STEP,
    ]
    assert 0.0 < first["milliseconds"] < 1000.0 and second == {"failed": "ValueError: odd"}
    said.clear()
    worker.answer(broken, said.append, io.StringIO(""))
    assert said == [{"failed": "ValueError: odd"}]


def test_a_library_that_cannot_be_imported_is_a_row():
    gone = peers.Worker(Path(sys.executable), "no_such_library", 1, "wall", work.Sizes())
    assert gone.about == {"failed": "ModuleNotFoundError: No module named 'no_such_library'"}
    gone.end()
    assert "failed" in gone.milliseconds(0)


# --- What is not there ---


def test_without_an_environment_nothing_is_installed_and_ours_is_timed_alone(
    tmp_path, monkeypatch, capsys
):
    class Only(Fake):
        def __init__(self, python, module, *others):
            assert (python, module) == (Path(sys.executable), "ours")
            super().__init__("moore", [], times(1, 1, 2, 4))

        def end(self):
            pass

    monkeypatch.setattr(peers, "Worker", Only)
    monkeypatch.setattr(peers, "PAUSE", 0.0)
    peers.main(["--venv", str(tmp_path / "none"), "--no-install", "--repeats", "1", "--json"])
    told = json.loads(capsys.readouterr().out)
    gone = {one["who"]: one["reason"] for one in told["rows"] if "reason" in one}
    assert gone.keys() == {"d3rlpy", "stable-baselines3", "sbx", "kit", "rltools"}
    assert all(reason.startswith("not installed: there is no env") for reason in gone.values())
    assert [one["milliseconds"] for one in told["rows"] if "reason" not in one] == [[4], [2]]
    assert not (tmp_path / "none").exists()


def test_what_pip_refuses_is_told_in_its_last_line(tmp_path, monkeypatch):
    asked = []

    def call(command, **options):
        asked.append(command)
        failed = ("pip" in command and "gone" in command) or "-c" in command
        return subprocess.CompletedProcess(command, int(failed), "", "a\nERROR: no gone\n")

    monkeypatch.setattr(environment.subprocess, "run", call)
    wanted = {"moore": (), "one": ("gone==1", "gone"), "two": ("there",)}
    found = environment.prepare(tmp_path, wanted, install=True)
    assert found == {"one": "not installed: ERROR: no gone"}
    kinds = [command[1] if command[1] == "-c" else command[2] for command in asked]
    assert kinds == ["venv", "-c", "pip", "-c", "pip"]
    assert "['gone', 'gone']" in asked[1][2]


@pytest.mark.parametrize("name", ["d3", "stable", "sbx_sac", "kit", "rl_tools"])
def test_every_library_asks_for_the_same_sizes(name):
    """Whoever changes a size changes it for all: no module has a number of its own for a shape."""
    text = (Path(work.__file__).parent / f"{name}.py").read_text()
    assert "from work import" in text and "sizes.batch" in text and "sizes.hidden" in text
    assert not any(number in text for number in ("256", "200", "100_000"))
