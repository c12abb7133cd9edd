"""The guard on made-up returns: the simulation at small size, and the stored one at full size."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import guard_simulation
from guard_simulation import FALSE, LOSSES, NEEDED, failing, normal, returns_row, row, signal_row

STORED = Path(__file__).parents[1] / "docs" / "results" / "guard-simulation.csv"


def test_false_alarms_are_no_more_frequent_than_stated():
    for case in FALSE[:2]:
        assert returns_row(case, 50, 125, seed=1)["alarms"] <= 1.0 / NEEDED


def test_a_large_loss_is_found_within_a_few_episodes():
    (case,) = [case for case in LOSSES if case.name == "mean lower by 4"]
    found = returns_row(case, 50, 125, seed=1)
    assert found["alarms"] == 1.0 and found["delay_median"] <= 8


def test_a_signal_that_always_breaks_its_limit_is_found_at_the_second_reading():
    assert signal_row("losses", "always", 1.0, 20, seed=0)["delay_q90"] == 2


def test_what_a_share_of_failures_costs_is_drawn_as_told():
    rng = np.random.default_rng(0)
    assert failing(0.3)(rng, 200, 200).mean() == pytest.approx(-3.0, abs=0.1)
    assert normal(rng, 200, 200).std() == pytest.approx(1.0, abs=0.02)


def test_delays_count_from_the_change_and_leave_out_earlier_alarms():
    line = row("losses", "", 50, 200, np.array([40.0, 52.0, 60.0, np.inf]), 50)
    assert (line["alarms"], line["before_change"]) == (0.75, 0.25)
    assert (line["delay_median"], line["delay_q90"]) == (10, "")


def test_the_stored_simulation_has_ten_thousand_runs_a_case_and_keeps_the_bound():
    with STORED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {line["runs"] for line in rows} == {"10000"}
    false = [line for line in rows if line["group"] == "false alarms"]
    assert len(false) == 17
    assert all(float(line["alarms"]) <= float(line["bound"]) == 1.0 / NEEDED for line in false)


def test_a_table_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(guard_simulation, "EPISODES", 5)
    monkeypatch.setattr(guard_simulation, "READINGS", 5)
    guard_simulation.main(["--runs", "2", "--out", str(tmp_path / "table.csv")])
    lines = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("group,case,known,length,runs,bound,alarms")
    assert len(lines) == 1 + 3 * (5 + 3 + 10) + 3 + 7
