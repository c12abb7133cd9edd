"""Sensors that stand still or write a sentinel again and again, and rewards that are totals."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from made_plant_logs import plant_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.courses import summarize_courses
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.inspecting.summary import summarize


def told(log: Log) -> dict[str, str]:
    """What a run says of a log, by name."""
    notes = check_log_for_run(from_log(log), None, accept=("timeouts-as-terminals",))
    return {note.rpartition("[")[2].rstrip("]"): note for note in notes}


def with_values(log: Log, rows, value) -> Log:
    """The second observation entry has this value in some rows, before and after an action."""
    obs = log.obs.copy()
    obs[rows, 1] = value
    after = log.next_obs.copy()
    goes_on = ~(log.terminated | log.truncated)
    after[goes_on] = obs[np.flatnonzero(goes_on) + 1]
    return replace(log, obs=obs, next_obs=after)


def test_a_log_without_these_faults_is_not_blamed():
    assert told(plant_log()) == {}


@pytest.mark.parametrize("every", [1000, 100, 20, 5])
@pytest.mark.parametrize("value", [-9999.0, 65535.0])
def test_a_sentinel_is_told_however_often_it_stands_there(every, value):
    note = told(with_values(plant_log(), slice(3, None, every), value))["lone-observations"]
    assert f"1 ({value:.6g}; others" in note


def test_two_sentinels_do_not_hide_one_another():
    log = with_values(with_values(plant_log(), slice(3, None, 50), -9999), slice(7, None, 50), 9999)
    assert "1 (-9999 and 9999; others" in told(log)["lone-observations"]


@pytest.mark.parametrize(("rows", "is_told"), [(49, False), (51, True), (400, True)])
def test_a_sensor_that_stands_still_is_told_with_its_place(rows, is_told):
    note = told(with_values(plant_log(), slice(100, 100 + rows), 2.5)).get("standing-observations")
    assert (note is not None) == is_told
    assert not is_told or f"dimensions 1 ({rows} rows from row 100 on)" in note


def test_an_entry_that_often_rests_is_none():
    coarse = plant_log()
    obs, after = (np.round(x, 1) for x in (coarse.obs, coarse.next_obs))
    assert "standing-observations" not in told(replace(coarse, obs=obs, next_obs=after))


def test_rewards_that_add_up_are_told_and_those_of_a_way_to_the_goal_are_not():
    log = plant_log()
    totals = log.reward.reshape(20, 50).cumsum(axis=1).ravel()
    assert "differences" in told(replace(log, reward=totals))["running-totals"]
    nearer = np.tile(-(0.9 ** np.arange(50.0)), 20)
    events = np.where(log.truncated, -5.0, 0.0) - 1e-3 * (np.arange(1000) % 50 == 7)
    for reward in (nearer, events):
        assert "running-totals" not in told(replace(log, reward=reward))


def test_a_reward_that_stands_for_none_is_told_but_not_a_terminal_one():
    log = plant_log(end="terminated")
    reward = np.where(np.arange(1000) % 100 == 7, -9999.0, log.reward)
    assert "-9999; others" in told(replace(log, reward=reward))["lone-rewards"]
    fall = np.where(log.terminated, -9999.0, log.reward)
    assert "lone-rewards" not in told(replace(log, reward=fall))


@pytest.mark.parametrize("value, told", [(0.0, True), (0.31, True), (1.0, False)])
def test_actions_that_stand_still_inside_their_range_are_told(value, told):
    rng = np.random.default_rng(0)
    action = rng.uniform(-0.9, 0.9, (600, 1))
    action[200:300] = value
    log = replace(oscillator_log(10, 60), action=action)
    found = summarize_courses(log, log.truncated)["standing_actions"]
    assert found == ("0 (100 rows from row 200 on)" if told else "")
    noted = any(f.name == "standing-actions" for f in findings(summarize(log)))
    assert noted == told
