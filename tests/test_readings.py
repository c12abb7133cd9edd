"""Angles that wrap around, readings that dropped out, other units half-way; flags a row early."""

from dataclasses import replace

import numpy as np
import pytest

from moore.data.cuts import unflagged_ends
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.readings import summarize_readings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

ROWS, STEPS = 1200, 60
NAMES = {"wrapped-observations", "dropped-readings", "units-change", "broken-successors"}


def plant_log(seed: int = 0) -> Log:
    """A plant of two states in 20 episodes."""
    rng = np.random.default_rng(seed)
    obs, after, action = np.zeros((ROWS, 2)), np.zeros((ROWS, 2)), rng.uniform(-1, 1, (ROWS, 1))
    for row in range(ROWS):
        state = rng.normal(size=2) if row % STEPS == 0 else after[row - 1]
        obs[row] = state
        after[row] = 0.95 * state + [0.1 * action[row, 0], 0.1 * state[0]] + 0.01 * rng.normal()
    last = np.arange(ROWS) % STEPS == STEPS - 1
    reward = -(after**2).sum(axis=1)
    return Log(obs, action, reward, last & False, last, after, name="plant")


def with_readings(log: Log, change) -> Log:
    """The log with `change(readings, rows)` of all readings, row by row."""
    rows = np.arange(ROWS)
    after = change(log.next_obs, np.append(rows[1:], ROWS))
    return replace(log, obs=change(log.obs, rows), next_obs=after)


def named(log: Log) -> dict[str, str]:
    return {f.name: f.text for f in findings(summarize(log)) if f.name in NAMES}


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_log_says_nothing(seed):
    log = plant_log(seed)
    assert named(log) == {} == named(replace(log, next_obs=None))
    assert not unflagged_ends(replace(log, next_obs=None), log.truncated)


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert not any(summarize_readings(log, log.terminated | log.truncated).values())


@pytest.mark.parametrize("turn", [2 * np.pi, 360.0, 1.0])
def test_an_angle_that_wraps_around_is_named(turn):
    def wrapped(readings, rows):
        angle = (3.0 * readings[:, 0] + np.pi) % (2 * np.pi) * turn / (2 * np.pi)
        return np.column_stack([angle, readings[:, 1]])

    log = with_readings(plant_log(), wrapped)
    assert "dimensions 0 jump from one end" in named(log)["wrapped-observations"]


def test_a_set_point_that_toggles_and_a_counter_of_steps_are_no_angles():
    def beside(readings, rows):
        return np.column_stack([readings, (rows // 20) % 2, rows % STEPS])

    assert "wrapped-observations" not in named(with_readings(plant_log(), beside))


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_one_value_that_stands_for_a_missing_one_is_named_though_it_is_ordinary(value):
    lost = np.random.default_rng(3).random(ROWS + 1) < 0.03

    def dropped(readings, rows):
        return np.column_stack([np.where(lost[rows], value, 1.0 + readings[:, 0]), readings[:, 1]])

    log = with_readings(plant_log(), dropped)
    assert f"dimensions 0 ({value:g} in" in named(log)["dropped-readings"]
    assert "dropped-readings" in named(replace(log, next_obs=None))


def test_an_entry_at_its_limit_and_a_gripper_have_not_dropped_out():
    def limited(readings, rows):
        return np.column_stack([np.clip(readings[:, 0], -0.2, 9), readings[:, 1] > 0])

    assert "dropped-readings" not in named(with_readings(plant_log(), limited))


@pytest.mark.parametrize(
    ("key", "change", "told"),
    [
        ("obs", lambda x: x * 1.8 + 32.0, "observation 0 ("),
        ("action", lambda x: x * 100.0, "action 0 ("),
        ("reward", lambda x: x * 1e3, "reward ("),
    ],
)
def test_other_units_from_one_row_on_are_named(key, change, told):
    log = plant_log()
    values = getattr(log, key).copy()
    values[700:] = change(values[700:])
    text = summarize_readings(replace(log, **{key: values}), log.truncated)["other_units"]
    assert told in text and "from about row 700" in text


def test_a_policy_that_gets_better_changes_no_units():
    log = plant_log()
    size = np.linspace(1.0, 0.2, ROWS)
    obs, after = log.obs * size[:, None], log.next_obs * size[:, None]
    assert "units-change" not in named(replace(log, obs=obs, next_obs=after))


def test_ends_that_are_not_flagged_are_told_to_a_run_where_successors_are_stored():
    log = plant_log()
    joined = np.zeros(ROWS, bool)
    joined[-1] = True
    (note,) = check_log_for_run(from_log(replace(log, truncated=joined)), None)
    assert "19 rows inside an episode (first: row 59)" in note and "time-out flags" in note


@pytest.mark.parametrize("seed", range(3))
def test_flags_a_row_early_stop_a_run_where_successors_are_the_next_rows(seed):
    log = replace(plant_log(seed), next_obs=None)
    early = np.roll(log.truncated, -1)
    assert unflagged_ends(log, early).keys() == {"early"}
    assert "one row after" in next(
        f.text for f in findings(summarize(replace(log, truncated=early))) if f.level == "ruins"
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_say_nothing(bad):
    log = plant_log()
    for key in ("obs", "action", "reward"):
        values = getattr(log, key).copy()
        values[::9] = bad
        changed = replace(log, next_obs=None, **{key: values})
        assert summarize_readings(changed, log.truncated)["wrapped"] == ""
        unflagged_ends(changed, log.truncated)
