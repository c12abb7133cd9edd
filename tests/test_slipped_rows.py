"""The benchmark of slipped rows: a small one, and the stored one that the document prints."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import slipped_rows
from slipped_rows import KINDS, LENGTHS, REPORTED, measure
from slipped_systems import linear, logged

STORED = Path(__file__).parents[1] / "docs" / "results" / "slipped-rows.csv"


def test_a_slip_is_found_where_actions_are_white_and_nothing_is_said_without_one():
    row = measure("linear, white actions", 500, range(2))
    assert row["actions"] == row["rewards"] == row["to_go"] == 0.0
    assert row["action_late"] == row["action_early"] == 1.0


def test_a_dead_time_is_named_with_its_number_of_steps_and_is_no_false_alarm():
    row = measure("dead time, white actions", 500, range(2))
    assert row["dead_time_told"] == 1.0 and row["actions"] == 0.0


def test_dead_time_is_what_it_says():
    rng = np.random.default_rng(0)
    system = linear(rng, controller="white", noise=0.0, dead_time=2)
    log = logged(system, rng, 40, 20)
    assert log.obs.shape[0] == log.action.shape[0] == 40 and log.truncated.sum() == 2
    np.testing.assert_allclose(log.obs[1:20], log.next_obs[:19], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_a_log(kind):
    log = KINDS[kind](np.random.default_rng(1), 40, 20)
    assert log.size == 40 and np.isfinite(log.reward).all()


def test_the_stored_rates_are_of_unseen_seeds_and_below_one_in_a_hundred():
    with STORED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert REPORTED >= 1000 and tuple(rows[0]) == slipped_rows.COLUMNS
    assert {(r["system"], int(r["rows"])) for r in rows} == {(k, n) for k in KINDS for n in LENGTHS}
    false = sum(
        int(r["logs"]) * (float(r["actions"]) + float(r["rewards"]) + float(r["to_go"]))
        for r in rows
    )
    assert false <= 0.01 * sum(int(r["logs"]) for r in rows)
