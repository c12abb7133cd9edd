"""Tables from which rows are missing again and again, and logs that do something every few rows."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.left_out import left_out
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize


def thinned(log: Log, kept: np.ndarray) -> Log:
    """The log without the other rows; its episodes end at the last row that is left of them."""
    episode = np.append(0, np.cumsum(log.truncated[:-1]))[kept]
    ends = np.append(episode[1:] != episode[:-1], True)
    obs, action, reward = (x[kept] for x in (log.obs, log.action, log.reward))
    return Log(obs, action, reward, ends & False, ends, None, name="thinned")


def told(log: Log) -> str:
    return left_out(log, log.terminated | log.truncated)


@pytest.mark.parametrize("every", [3, 4, 5, 10])
def test_one_row_in_a_few_that_is_missing_is_told(every):
    log = oscillator_log(40, 100)
    rows = np.arange(log.size)
    for kept in (rows % every != every - 1, rows % 100 % every != every - 1):
        assert told(thinned(log, kept)) == f"after every {every - 1} rows one seems to be missing"


def test_two_rows_that_are_missing_are_told():
    log = oscillator_log(40, 100)
    kept = np.arange(log.size) % 8 < 6
    assert told(thinned(log, kept)) == "after every 6 rows two seem to be missing"


def test_an_inspection_and_a_run_say_it_with_a_remedy():
    log = oscillator_log(40, 100)
    log = thinned(log, np.arange(log.size) % 5 != 4)
    text = {f.name: f.text for f in findings(summarize(log))}["rows-left-out"]
    assert "after every 4 rows one seems to be missing" in text and "time column" in text
    notes = check_log_for_run(from_log(log), None, accept=["unflagged-ends"])
    assert any("[rows-left-out]" in note for note in notes)


@pytest.mark.parametrize("seed", range(3))
def test_logs_from_which_nothing_or_every_second_row_is_missing_say_nothing(seed):
    log = oscillator_log(40, 100, seed=seed)
    assert told(log) == told(replace(log, next_obs=None)) == ""
    assert told(thinned(log, np.arange(log.size) % 2 == 0)) == ""


@pytest.mark.parametrize("every", [3, 5])
def test_a_controller_that_kicks_the_plant_on_as_a_second_step_would_is_not_accused(every):
    """The rows' own actions say it."""
    rng, turn, columns = np.random.default_rng(0), 0.3, ([], [], [])
    moves = 0.999 * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for _ in range(60):
        state = 0.7 * rng.normal(size=2)
        for step in range(100):
            action = (moves @ moves - moves) @ state * (step % every == 0)
            for column, value in zip(columns, (state, action, -state @ state), strict=True):
                column.append(value)
            state = moves @ state + action + 0.01 * rng.normal(size=2)
    obs, action, reward = map(np.array, columns)
    ends = np.arange(len(obs)) % 100 == 99
    log = Log(obs, action, reward, ends & False, ends, None, name="kicked")
    assert told(log) == ""
    unseen = replace(log, action=rng.normal(size=(len(obs), 1)))
    assert told(unseen) == f"after every {every} rows one seems to be missing"


def test_a_sensor_that_is_read_every_few_rows_says_nothing():
    log = oscillator_log(40, 100, stored=False)
    obs = log.obs.copy()
    obs[:, 0] = obs[np.arange(len(obs)) // 4 * 4, 0]
    assert told(replace(log, obs=obs)) == ""


def test_few_rows_and_values_that_are_not_finite_say_nothing():
    log = oscillator_log(40, 100, stored=False)
    log = thinned(log, np.arange(log.size) % 5 != 4)
    assert told(Log(*(x[:300] for x in vars(log).values() if isinstance(x, np.ndarray)), None,
                    name="few")) == ""  # fmt: skip
    log.obs[700, 0] = np.nan
    assert told(log) in ("", "after every 4 rows one seems to be missing")


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        assert told(load_dataset(f"builtin:{name}")) == ""
