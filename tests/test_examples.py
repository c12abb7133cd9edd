"""The examples that the documents are made with: what they run is sound, their pictures drawn."""

import csv
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from desk import TINY, files

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import handover_factors
import live_system
import plot_handover

from moore.config import Config, from_dict
from moore.evaluation.scores import ReferenceScores
from moore.presets import preset
from moore.reports.html import read_metrics

OPTIONS = handover_factors.OPTIONS


def test_every_option_is_one_thing_that_the_quick_task_can_have():
    base = preset("quick/inverted-pendulum")
    assert len(OPTIONS) == len(handover_factors.ONLINE) + len(handover_factors.BOTH)
    changed = [name for name in OPTIONS if handover_factors.with_option(name, base) != base]
    assert changed == [name for name in OPTIONS if name != "as it is"]


def test_the_script_runs_options_from_one_offline_stage_and_goes_on_where_it_stopped(
    desk, monkeypatch, capsys
):
    settings = tomllib.loads(TINY) | {"offline": {"epochs": 1, "updates_per_epoch": 2}}
    settings["online"] = {"steps_per_epoch": 4, "refit_every": 2, "rollout_batch": 8}
    small = from_dict(settings, base=Config())
    monkeypatch.setattr(handover_factors, "preset", lambda name, algorithm: small)
    line = "handover_factors.py any --dataset log.hdf5 --epochs 2 --seeds 3 4 --out out --only"
    monkeypatch.setattr("sys.argv", [*line.split(), "as it is", "half the updates"])
    handover_factors.main()
    assert sorted(path.name for path in (desk / "out").iterdir()) == [
        *("as-it-is__3", "as-it-is__4", "curves.csv", "factors.csv"),
        *("half-the-updates__3", "half-the-updates__4", "offline__3", "offline__4"),
    ]
    written = [(desk / "out" / name).read_text() for name in ("factors.csv", "curves.csv")]
    factors, epochs = (list(csv.DictReader(text.splitlines())) for text in written)
    assert [(row["option"], row["seed"]) for row in factors] == [
        (option, seed) for option in ("as it is", "half the updates") for seed in ("3", "4")
    ]
    assert [row["epoch"] for row in epochs] == ["0", "1", "2"] * 4
    shared = {(row["seed"], row["eval_return"]) for row in epochs if row["epoch"] == "0"}
    assert len(shared) == 2, "both options begin with the hand-over of their seed"
    for row in factors:
        (start,) = (value for seed, value in shared if seed == row["seed"])
        assert float(row["offline"]) == float(start)
    before = files(desk / "out")
    handover_factors.main()
    assert files(desk / "out") == before


def test_the_table_of_the_documents_holds_these_options():
    assert {row["option"] for row in plot_handover.table("handover-factors.csv")} <= set(OPTIONS)


def test_a_dip_is_told_from_the_epochs_that_have_a_return():
    acting, evaluated = np.asarray([110.0, np.nan, 60.0, 120.0]), np.asarray([110.0] * 4)
    reference = ReferenceScores(10.0, 110.0, source="made up")
    for shift, expected in ((0.0, 0.5), (60.0, 0.0)):
        curves = {"evaluated": evaluated, "acting": acting + np.asarray([0, 0, shift, 0])}
        assert plot_handover.transfer(curves, reference)["behaviour_dip_share"] == expected


def test_options_are_compared_on_the_seeds_that_they_share():
    plain = {"seed": np.arange(3), "dip_share": np.asarray([0.5, 0.2, 0.9])}
    option = {"seed": np.asarray([1, 2, 7]), "dip_share": np.asarray([0.1, 0.8, 0.0])}
    gap = plot_handover.difference(option, plain)
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.1, -0.1, -0.1))


def test_the_pictures_are_drawn_from_the_committed_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plot_handover.py", "--out", str(tmp_path)])
    plot_handover.main()
    pictures = sorted(path.name for path in tmp_path.iterdir())
    assert pictures == ["handover-factors.png", "handover-mujoco.png"]
    printed = capsys.readouterr().out
    for log in plot_handover.LOGGED:
        assert f"moore_robust {log} 0: dip share" in printed


@pytest.mark.parametrize("log", plot_handover.LOGGED)
def test_curves_begin_with_the_hand_over_and_have_all_epochs(log):
    (curves, *_) = plot_handover.online_returns()[log, "moore_robust"].values()
    assert len(curves["evaluated"]) == len(curves["acting"]) == plot_handover.EPOCHS + 1
    assert np.isfinite(curves["evaluated"]).all()


class TestLiveSystem:
    def small(self, monkeypatch) -> None:
        settings = tomllib.loads(TINY) | {"offline": {"epochs": 1, "updates_per_epoch": 2}}
        settings |= {"dataset": "builtin:pendulum-medium", "termination": "never"}
        settings["online"] = {
            **{"epochs": 3, "steps_per_epoch": 200, "refit_every": 100},
            **{"rollout_batch": 8, "updates_per_step": 1},
        }
        small = from_dict(settings, base=Config())
        monkeypatch.setattr(live_system.moore, "preset", lambda name: small, raising=False)

    def test_nothing_is_evaluated_and_a_bad_policy_is_stopped_after_two_epochs(
        self, monkeypatch, tmp_path, capsys
    ):
        self.small(monkeypatch)
        monkeypatch.setattr("sys.argv", ["", "--out", str(tmp_path), "--lowest", "0"])
        live_system.main()
        rows = read_metrics(tmp_path / "online" / "metrics.jsonl")
        assert [row["epoch"] for row in rows if row["stage"] == "online"] == [0, 1, 2]
        assert not any(key.startswith("eval/") for row in rows for key in row)
        assert "'episodes': 2" in capsys.readouterr().out

    def test_run_again_it_goes_on(self, monkeypatch, tmp_path, capsys):
        self.small(monkeypatch)
        monkeypatch.setattr("sys.argv", ["", "--out", str(tmp_path), "--lowest", "0"])
        live_system.main()
        monkeypatch.setattr("sys.argv", ["", "--out", str(tmp_path)])
        live_system.main()
        rows = read_metrics(tmp_path / "online" / "metrics.jsonl")
        assert [row["epoch"] for row in rows if row["stage"] == "online"] == [0, 1, 2, 3]
