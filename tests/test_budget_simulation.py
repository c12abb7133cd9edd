"""The dip budget on made-up systems: how often the line is broken, and that policies climb."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from budget_processes import CLIMBING, HOSTILE, Family, Policy
from budget_simulation import main, row, simulate

from moore.stages.evidence import cautious_deviation, radius
from moore.stages.trial_rules import Rules

FAMILIES = {family.name: family for family in (*CLIMBING, *HOSTILE)}


@pytest.mark.parametrize("explores", [False, True])
def test_the_line_holds_at_the_stated_rate_on_made_up_systems(explores):
    found = [
        outcome
        for family in (*CLIMBING, *HOSTILE)
        for outcome in simulate(family, range(1), explores=explores)
    ]
    assert np.mean([outcome.margin < 0.0 for outcome in found]) <= 0.05


@pytest.mark.slow
def test_the_line_holds_at_the_stated_rate_on_ten_thousand_made_up_systems():
    for family in (*CLIMBING, *HOSTILE):
        broken = [outcome.margin < 0.0 for outcome in simulate(family, range(770))]
        assert np.mean(broken) <= 0.05, family.name


def test_a_budget_of_5_percent_climbs_where_challengers_are_often_better():
    assert row(simulate(FAMILIES["6 in 10 are better"], range(5)))["level"] > 1.5


def test_nothing_is_climbed_without_a_budget():
    (outcome,) = simulate(FAMILIES["6 in 10 are better"], [0], share=0.0)
    assert (outcome.level, outcome.trials) == (1.0, 0)


def test_policies_that_turn_bad_once_promoted_are_taken_back():
    back = row(simulate(FAMILIES["good until promoted"], range(4)))
    never = row(simulate(FAMILIES["good until promoted"], range(4), rules=Rules(demote=1e9)))
    assert back["demoted"] > 0.0
    assert never["demoted"] == 0.0
    assert never["least_margin"] >= 0.0 and back["least_margin"] >= 0.0


def test_the_bounds_of_the_mean_hold_at_all_counts_together():
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(100):
        values = rng.standard_normal(20).tolist()
        failed += any(
            sum(values[:count]) / count
            > cautious_deviation(values[:count]) * radius(float(count), 0.05)
            for count in range(3, 21)
        )
    assert failed / 100 <= 0.05


def test_a_table_is_written(tmp_path):
    written = tmp_path / "table.csv"
    main(["--processes", str(len(FAMILIES)), "--rules", "none", "--out", str(written)])
    lines = written.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("rule,share,epochs,family,processes,broken,least_margin")
    each = [line.split(",")[:3] for line in lines[1:]]
    assert each == [["default", "0.05", "25"]] * len(FAMILIES)


def test_a_policy_that_falls_earns_until_it_falls():
    (outcome,) = simulate(
        Family("falls", lambda rng, seen: Policy(1.0, 9.0), reference=Policy(1.0, 9.0)), [0]
    )
    assert outcome.level == pytest.approx(1.0)
