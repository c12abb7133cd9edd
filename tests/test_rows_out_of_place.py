"""The benchmark of rows out of place: a small one, and the stored one that the document prints."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import rows_out_of_place
from rows_out_of_place import FALSE, FOUND, KINDS, LENGTHS, REPORTED, measure

from tables_places import GROUPS

STORED = Path(__file__).parents[1] / "docs" / "results" / "rows-out-of-place.csv"


def test_faults_are_found_in_a_motion_and_nothing_is_said_without_one():
    row = measure("motion, feedback, old speed", 2000, range(2))
    assert row["logs"] == row["two"] == 2 and not any(row[key] for key in FALSE)
    assert row["sensor_late"] + row["late_or"] >= 1
    assert row["fifth"] == row["reversed"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_log_with_its_own_observations(kind):
    log = KINDS[kind](np.random.default_rng(1), 40, 20)
    assert log.size == 40 and np.isfinite(log.obs).all()
    assert log.next_obs.shape == log.obs.shape
    np.testing.assert_array_equal(log.next_obs[:19], log.obs[1:20])


def test_every_kind_is_in_one_line_of_the_table():
    assert sorted(kind for group in GROUPS.values() for kind in group) == sorted(KINDS)


def test_the_stored_counts_are_of_unseen_seeds_and_next_to_none_is_accused():
    with STORED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert REPORTED >= 1000 and tuple(rows[0]) == rows_out_of_place.COLUMNS
    assert {(r["system"], int(r["rows"])) for r in rows} == {(k, n) for k in KINDS for n in LENGTHS}
    logs = sum(int(r["logs"]) for r in rows)
    assert logs >= 1000 and sum(int(r[key]) for r in rows for key in FALSE) <= 0.002 * logs
    assert all(sum(int(r[key]) for r in rows) > 0 for key in FOUND)
