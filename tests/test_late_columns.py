"""Logs in which a sensor stands a row late or early, and logs in which a row lacks other things."""

from dataclasses import replace

import numpy as np
import pytest

from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.late_columns import late_columns
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 20, 60


def tanks(*, seed=0, stored=False, lag=0.0, see=(0, 1, 2)) -> Log:
    """Three tanks in a row, the first of which is filled; sensors may lag."""
    moves = np.array([[0.7, 0.0, 0.0], [0.3, 0.7, 0.0], [0.0, 0.3, 0.7]])
    return linear_log(moves, [0.4, 0.0, 0.0], seed=seed, stored=stored, lag=lag, see=see)


def coupled(*, seed=0) -> Log:
    """Three states, each of which moves the others."""
    moves = np.array([[-0.07, -0.52, 0.73], [0.89, -0.14, -0.01], [0.12, 0.72, 0.52]])
    return linear_log(0.9 * moves, [0.1, 0.1, 0.1], seed=seed)


def linear_log(moves, pushes, *, seed, stored=False, lag=0.0, see=(0, 1, 2)) -> Log:
    rng, columns = np.random.default_rng(seed), ([], [], [], [])
    for _ in range(EPISODES):
        state = rng.uniform(-1, 1, 3)
        seen = state[list(see)]
        for _ in range(STEPS):
            action = np.clip(-seen[:1] + 0.4 * rng.normal(), -1, 1)
            state = moves @ state + np.array(pushes) * action + 0.01 * rng.normal(size=3)
            after = lag * seen + (1 - lag) * state[list(see)]
            for column, value in zip(columns, (seen, action, -abs(after[0]), after), strict=True):
                column.append(value)
            seen = after
    obs, action, reward, after = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    return Log(obs, action, reward, ends & False, ends, after if stored else None, name="states")


def moved(log: Log, entries: list[int], rows: int) -> Log:
    arrays = {key: getattr(log, key) for key in ("obs", "next_obs")}
    arrays = {key: values.copy() for key, values in arrays.items() if values is not None}
    for values in arrays.values():
        values[:, entries] = np.roll(values[:, entries], rows, axis=0)
    return replace(log, **arrays)


def told(log: Log) -> str:
    return late_columns(log, log.terminated | log.truncated)


def findings_of(log: Log) -> dict[str, str]:
    """What an inspection says; a run says the same of the kind."""
    found = {f.name: f.text for f in findings(summarize(log))}
    run = check_log_for_run(from_log(log), None, accept=["broken-successors", "reset-successors"])
    assert ("late-observations" in found) == any("[late-observations]" in note for note in run)
    return found


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_a_sensor_that_is_a_row_late_or_early_is_named(entry):
    assert told(moved(coupled(), [entry], 1)) == f"observation {entry} a row late"
    assert told(moved(coupled(), [entry], -1)) == f"observation {entry} a row early"


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("entry", [1, 2])
def test_it_is_named_wherever_successors_come_from(entry, stored):
    assert told(moved(tanks(stored=stored), [entry], 1)) == f"observation {entry} a row late"


def test_an_inspection_and_a_run_say_it_with_both_remedies():
    text = findings_of(moved(tanks(), [1], 1))["late-observations"]
    assert "observation 1 a row late" in text and "move these columns" in text
    assert "hold the readings of the row before" in text
    assert "late-observations" not in findings_of(tanks())


def test_sensors_that_are_late_together_are_named_together():
    """Two plants, the sensors of one of which are late."""
    one, other = tanks(seed=1), tanks(seed=2)
    both = replace(
        one,
        obs=np.column_stack([one.obs, other.obs]),
        action=np.column_stack([one.action, other.action]),
    )
    assert told(both) == ""
    assert told(moved(both, [1, 3], 1)) == "observations 1, 3 a row late"


@pytest.mark.parametrize("seed", range(3))
def test_states_that_are_not_seen_noise_and_sensors_that_lag_say_nothing(seed):
    for how in ({}, {"stored": True}, {"lag": 0.5}, {"see": (0, 2)}, {"see": (1, 2)}, {"lag": 0.8}):
        assert told(tanks(seed=seed, **how)) == "", how


def test_a_position_that_two_sensors_measure_says_nothing():
    """Moved by a row, the second one would show the speed, which is not observed."""
    rng, rows = np.random.default_rng(0), 1200
    place, speed, obs, action = 0.0, 0.0, [], []
    for _ in range(rows):
        obs.append([place, place + 1e-3 * rng.normal()])
        action.append([-place + rng.normal()])
        place, speed = place + 0.2 * speed, 0.9 * speed + 0.1 * action[-1][0]
    ends = np.arange(rows) % 60 == 59
    log = Log(
        np.array(obs), np.array(action), np.zeros(rows), ends & False, ends, None, name="cart"
    )
    assert told(log) == ""


@pytest.mark.parametrize("steps", [1, -1])
def test_actions_that_slipped_are_not_laid_to_the_sensors(steps):
    log = tanks()
    assert told(replace(log, action=np.roll(log.action, steps, axis=0))) == ""


def test_a_set_point_that_a_controller_follows_is_not_early():
    rng, rows = np.random.default_rng(0), 1200
    level, aim, obs, action = 0.0, 0.0, [], []
    for row in range(rows):
        aim = rng.normal() if row % 12 == 0 else aim
        obs.append([level, aim])
        action.append([aim - level])
        level = 0.9 * level + 0.3 * action[-1][0] + 0.02 * rng.normal()
    ends = np.arange(rows) % 60 == 59
    log = Log(
        np.array(obs), np.array(action), np.zeros(rows), ends & False, ends, None, name="follow"
    )
    assert told(log) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_few_rows_and_values_that_are_not_finite_say_nothing(bad):
    late = moved(tanks(), [1], 1)
    few = replace(late, **{key: getattr(late, key)[:300] for key in
                           ("obs", "action", "reward", "terminated", "truncated")})  # fmt: skip
    assert told(few) == ""
    late.obs[5, 0] = bad
    assert told(late) in ("", "observation 1 a row late")


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        assert told(load_dataset(f"builtin:{name}")) == ""
