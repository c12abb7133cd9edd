"""What stands beside the dips in the documents: a policy that never changes cannot win by it."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import beside
import results
from handover_runs import LOGGED

HOPPER = "hopper-medium"
RANDOM, EXPERT = -20.272305, 3234.3  # D4RL's


def points(returns: float) -> float:
    return 100.0 * returns / (EXPERT - RANDOM)


def told(evaluated, acting) -> dict:
    curves = {"evaluated": np.asarray(evaluated), "acting": np.asarray(acting)}
    found = beside.measured(curves, HOPPER)
    return {title: found[metric] for title, (metric, _) in beside.COLUMNS.items()}


def test_the_columns_by_hand():
    found = told([1000.0, 700.0, 900.0, 1400.0], [1000.0, 500.0, 1374.0, 1474.0])
    assert found == pytest.approx({
        "gain": points(0.0),  # the mean of three evaluations is the hand-over's
        "dip": points(300.0),
        "area below the hand-over": points(300.0 + 100.0),
        "acting: lowest epoch": points(500.0 - RANDOM),
        "lost against the log": points((1374.0 - 500.0) + 0.0 - 100.0),
    })  # fmt: skip


def test_a_weak_hand_over_makes_no_dip_large():
    low, high = told([0.0, -10.0], [0.0, 0.0]), told([3000.0, 2990.0], [3000.0, 3000.0])
    assert low["dip"] == pytest.approx(high["dip"]) == pytest.approx(points(10.0))


def test_an_epoch_in_which_no_episode_ended_lost_as_much_as_the_others():
    found = told([1000.0] * 5, [1000.0, np.nan, 374.0, np.nan, 374.0])
    assert found["lost against the log"] == pytest.approx(points(4 * 1000.0))


def test_a_policy_that_never_changes_has_no_dip_no_gain_and_loses_what_it_is_worse_by():
    curves = beside.frozen(
        {"evaluated": np.asarray([800.0, 1.0]), "acting": np.asarray([374.0, 2.0])}
    )
    found = told(curves["evaluated"], curves["acting"])
    assert [found[title] for title in list(beside.COLUMNS)[:3]] == [0.0, 0.0, 0.0]
    assert found["lost against the log"] == pytest.approx(points(1000.0))


def test_runs_without_curves_have_a_gain_and_a_dip():
    rows = {"offline": 1000.0, "final": 1500.0, "dip_share": 0.5}
    gain, dip = beside.gain_and_dip({k: np.asarray([v]) for k, v in rows.items()}, HOPPER)
    assert (gain[0], dip[0]) == pytest.approx((points(500.0), points(0.5 * (1000.0 - RANDOM))))


@pytest.mark.parametrize("log", LOGGED)
def test_a_log_of_two_files_has_the_scale_of_its_name(log):
    named = f"Some-v5 {log}"
    if log.endswith("medium-expert"):
        named = f"Some-v5 {log.removesuffix('-expert')}+{log.removesuffix('-medium-expert')}-expert"
    assert beside.scale(named) == beside.scale(log)


# Their frozen rows stand in the table beside them, or the hand-over is a column of theirs; the last
# two tell why policies fall, of the runs of Fig. 2.
WITHOUT_ROWS = {
    *("logs-epochs", "logs-paired", "online-long", "quickstart-robust", "quickstart-moore"),
    *("safe-runs", "fig4-quick", "fig4-laptop"),
}


TABLES = {name: make for module in results.MODULES for name, make in module.TABLES.items()}


@pytest.mark.parametrize("name", sorted(TABLES.keys() - WITHOUT_ROWS))
def test_a_table_of_dips_has_a_frozen_hand_over_and_a_clone(name):
    head, _, *rows = TABLES[name]().splitlines()
    titles = [*head.split("|"), *(row.split("|")[1] for row in rows)]
    if any(re.search(r"\bdip\b", title) for title in titles):
        for still in ("frozen", "clone"):
            assert any(still in title for title in titles), still
