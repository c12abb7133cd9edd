"""The examples that the documents are made with: what they run is sound, their pictures drawn."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import handover_factors
import plot_handover

from moore.config import from_dict
from moore.evaluation.scores import ReferenceScores
from moore.presets import preset

OPTIONS = handover_factors.ONLINE | handover_factors.BOTH


def test_every_option_is_one_thing_that_the_quick_task_can_have():
    base = preset("quick/inverted-pendulum")
    assert len(OPTIONS) == len(handover_factors.ONLINE) + len(handover_factors.BOTH)
    changed = [name for name, settings in OPTIONS.items() if from_dict(settings, base=base) != base]
    assert changed == [name for name in OPTIONS if name != "as it is"]


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
