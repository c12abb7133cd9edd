"""Metrics go to sinks: which there are, how they resume, and what a missing or failing one does."""

import contextlib
import importlib.util
import json
import sqlite3
import sys
import types
from pathlib import Path

import pytest

from moore.config import Config
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.runs.checkpoint import newest_first
from moore.runs.run import resume, run
from moore.sinks import trackers
from moore.sinks.console import ConsoleSink, Reporter
from moore.sinks.sink import Label, Sink, scalars
from moore.sinks.trackers import check_installed, open_trackers, tracker_names
from runs_alike import rows
from tiny import ENV, quick_config, tiny_log

LABEL = Label("LinearGaussian/x", "awac", "seed-0", {"online.epochs": 3})
SERVICES = ("wandb", "trackio")


def row(epoch: int, *, stage: str = "online", **numbers) -> dict:
    return {"stage": stage, "epoch": epoch, "env_steps": 0, "updates": 5 * epoch} | numbers


class FakeService:
    """Both packages at once: they keep runs by id or name, and what was logged into them."""

    def __init__(self):
        self.runs: dict[str, dict[int, dict]] = {}
        self.begun: list[dict] = []
        self.finished = 0
        self.fails = False

    def init(self, **options):
        if self.fails:
            raise RuntimeError("no API key configured\nmore lines")
        print("a greeting that must not reach standard output")
        self.begun.append(options)
        # W&B tells runs apart by their id, trackio by their name.
        self.current = self.runs.setdefault(options.get("id") or options["name"], {})
        return self

    def log(self, numbers: dict, step: int) -> None:
        if self.fails:
            raise ConnectionError("the network is gone")
        assert step not in self.current, "a row came twice"
        self.current[step] = numbers

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture(params=SERVICES)
def service(request, monkeypatch) -> tuple[str, FakeService]:
    fake = FakeService()
    module = types.ModuleType(request.param)
    module.init, module.log, module.finish = fake.init, fake.log, fake.finish
    module.__spec__ = importlib.util.spec_from_loader(request.param, None, origin="fake")
    monkeypatch.setitem(sys.modules, request.param, module)
    return request.param, fake


def opened(name: str, folder: Path, written: list[dict], said: list[str] | None = None) -> Sink:
    say = ([] if said is None else said).append
    (sink,) = open_trackers([name], folder, LABEL, written, say)
    return sink


class TestNames:
    def test_are_separated_by_spaces_or_commas_and_counted_once(self):
        assert tracker_names(("wandb,trackio", "wandb")) == ["wandb", "trackio"]
        assert tracker_names(()) == []

    def test_an_unknown_one_is_refused_by_the_configuration(self):
        with pytest.raises(InputError, match="track names 'mlflow'; the known names are tensorb"):
            Config(track=("mlflow",))

    def test_the_flag_tensorboard_is_one_of_them(self):
        config = Config(tensorboard=True, track=("wandb",))
        assert tracker_names(config.trackers) == ["tensorboard", "wandb"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_a_package_that_is_missing_is_told_before_anything_is_written(
        self, name, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda package: None)
        with pytest.raises(InputError, match=rf'{name} needs .*pip install "moore-rl\[track\]"'):
            run(quick_config(track=(name,)), dataset=tiny_log(), env=ENV, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_folder_of_the_same_name_is_no_package(self, tmp_path, monkeypatch):
        """W&B makes a folder `wandb` where it is used, which Python takes for a package."""
        monkeypatch.setitem(
            trackers.TRACKERS, "other", trackers.TrackerKind("other_tracker", print)
        )
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "other_tracker").mkdir()
        with pytest.raises(InputError, match="not installed"):
            check_installed(["other"])


class TestScalars:
    def test_have_the_names_of_the_metrics_file_and_lists_are_left_out(self):
        found = scalars(
            row(2, **{"eval/return": -1.5, "eval/returns": [-1.0, -2.0], "eval/score": None})
            | {"losses/q": float("nan"), "gate/accepted": True, "online/episode_returns": [1, 4]}
            | {"time/steps_per_second": 80.0}
        )
        assert found == {
            "epoch": 2, "env_steps": 0, "updates": 10, "eval/return": -1.5,
            "time/steps_per_second": 80.0, "charts/episodic_return": 2.5, "charts/SPS": 80.0,
        }  # fmt: skip

    def test_of_no_finished_episode_there_is_no_mean(self):
        assert "charts/episodic_return" not in scalars(row(1, **{"online/episode_returns": []}))


class TestServices:
    def test_know_a_run_by_environment_algorithm_and_seed(self, service, tmp_path, capsys):
        name, fake = service
        opened(name, tmp_path, []).close()
        (options,) = fake.begun
        assert options["project"] == "LinearGaussian-x" and options["group"] == "awac"
        assert options["name"].startswith("seed-0") and options["resume"] == "allow"
        assert options["config"] == {"online.epochs": 3}
        assert fake.finished == 1
        assert capsys.readouterr().out == ""  # which belongs to --json

    def test_a_resume_continues_the_same_run_and_repeats_no_row(self, service, tmp_path):
        """Killed after epoch 4, gone on with from the checkpoint of epoch 2."""
        name, fake = service
        sink = opened(name, tmp_path, [])
        for epoch in range(1, 5):
            sink.write(row(epoch, first=True))
        again = opened(name, tmp_path, [row(1), row(2)])
        for epoch in range(3, 7):
            again.write(row(epoch, first=False))
        (logged,) = fake.runs.values()
        assert [logged[step]["epoch"] for step in range(6)] == [1, 2, 3, 4, 5, 6]

    def test_rows_that_the_service_has_missed_are_sent_first(self, service, tmp_path):
        name, fake = service
        opened(name, tmp_path, [row(1), row(2)]).write(row(3))
        assert list(next(iter(fake.runs.values()))) == [0, 1, 2]

    def test_one_that_refuses_is_one_line_before_training(self, service, tmp_path):
        name, fake = service
        fake.fails = True
        with pytest.raises(InputError, match=rf"^{name} cannot begin \(no API key configured\)"):
            opened(name, tmp_path, [])

    def test_one_that_fails_later_is_left_out_and_caught_up_by_a_resume(self, service, tmp_path):
        name, fake = service
        said: list[str] = []
        sink = opened(name, tmp_path, [], said)
        sink.write(row(1))
        fake.fails = True
        sink.write(row(2))
        fake.fails = False
        sink.write(row(3))
        sink.close()
        (logged,) = fake.runs.values()
        assert list(logged) == [0] and len(said) == 1
        assert said[0].startswith(f"{name} failed (the network is gone) and gets no more rows")
        opened(name, tmp_path, [row(1), row(2), row(3)])
        assert list(logged) == [0, 1, 2]

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"id": 1, "rows": 0}'])
    def test_a_damaged_memory_is_told(self, text, service, tmp_path):
        name, _ = service
        (tmp_path / f"track-{name}.json").write_text(text)
        with pytest.raises(InputError, match=rf"track-{name}\.json"):
            opened(name, tmp_path, [])

    def test_of_which_one_cannot_begin_the_others_are_closed(self, tmp_path, monkeypatch):
        closed = []

        class Opened:
            def write(self, row: dict) -> None: ...

            def close(self) -> None:
                closed.append(True)

        def refuses(*_):
            raise InputError("no")

        table = {
            "good": trackers.TrackerKind("x", lambda *_: Opened()),
            "bad": trackers.TrackerKind("x", refuses),
        }
        monkeypatch.setattr(trackers, "TRACKERS", table)
        with pytest.raises(InputError):
            open_trackers(["good", "bad"], tmp_path, LABEL, [], print)
        assert closed == [True]


class TestConsole:
    def test_prints_an_epoch_of_the_stage_under_way_and_what_was_skipped(self, capsys):
        clock = iter([0.0, 40.0, 40.0])
        report = Reporter(now=lambda: next(clock))
        sink = ConsoleSink(report)
        sink.write(row(1, stage="offline"))  # of the run that this one starts from
        report.start("online", 2)
        sink.write(row(0, **{"eval/return": 3.0}))  # the hand-over, which ends no epoch
        sink.write(row(1, **{"eval/return": 4.0, "losses/skipped_updates": 7}))
        assert capsys.readouterr().err.splitlines() == [
            "online 1/2  return 4.0, about 40 s left",
            "7 updates of online epoch 1 were skipped: they led to numbers that are not finite.",
        ]

    def test_tells_how_long_it_will_take_and_what_is_being_done_now_and_then(self, capsys):
        time = iter([0.0, 5.0, 40.0, 40.0, 40.0, 41.0, 60.0, 60.0])
        report = Reporter(now=lambda: next(time))
        report.start("online", 6, 3)
        report.under_way(3.1, "fitting")  # after 5 s: too early for one more line
        report.under_way(3.5, "fitting")  # after 40 s: 2.5 of 3 are left
        report.under_way(3.6)
        report.advance(6, "return 4.0")
        assert capsys.readouterr().err.splitlines() == [
            "online 3/6  fitting, about 3 min left",
            "online 6/6  return 4.0",
        ]

    def test_what_the_first_part_took_to_compile_does_not_count_for_the_others(self, capsys):
        time = iter([0.0, 200.0, 200.0, 220.0, 220.0])
        report = Reporter(now=lambda: next(time))
        report.start("online", 6)
        report.advance(1, "return 4.0")
        report.advance(2, "return 5.0")
        assert capsys.readouterr().err.splitlines() == [
            "online 1/6  return 4.0, about 17 min left",
            "online 2/6  return 5.0, about 80 s left",
        ]


def test_a_run_that_is_killed_and_goes_on_is_one_run_of_the_service(service, tmp_path):
    """Every row of metrics.jsonl once, in its order, the hand-over among them."""
    name, fake = service
    write_npz(tmp_path / "log.npz", tiny_log())
    given = {"dataset": tmp_path / "log.npz", "env": ENV, "quiet": True}
    folder = tmp_path / "run"
    run(quick_config(track=(name,)), out=folder, **given)
    written = rows(folder)
    for path in newest_first(folder / "checkpoints")[:1]:  # as if killed before the last one
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    resume(folder, **given)
    (logged,) = fake.runs.values()
    assert [(n["epoch"], n["updates"]) for _, n in sorted(logged.items())] == [
        (r["epoch"], r["updates"]) for r in written
    ]
    for r, numbers in zip(written, logged.values(), strict=True):
        assert all(numbers[key] == r[key] for key in r if key in numbers)
    memory = json.loads((folder / f"track-{name}.json").read_text())
    assert memory["rows"] == len(written) and len(fake.begun) == 2


@pytest.mark.parametrize("name", SERVICES)
def test_the_real_package_without_a_network(name, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip(name)
    first, second, third = (row(i, **{"eval/return": float(i)}) for i in range(1, 4))
    opened(name, tmp_path, [first]).close()
    sink = opened(name, tmp_path, [first, second])
    sink.write(third)
    sink.close()
    assert json.loads((tmp_path / f"track-{name}.json").read_text())["rows"] == 3
    if name == "wandb":
        assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    else:
        (file,) = tmp_path.glob("trackio/*.db")
        with contextlib.closing(sqlite3.connect(file)) as database:
            found = database.execute("select run_name, step from metrics order by step").fetchall()
        assert [step for _, step in found] == [0, 1, 2] and len({run for run, _ in found}) == 1
