"""Logs in which a column has another sign, size or place from some row on."""

import re
from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import concatenate, from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

ROWS = 20 * 60
ACCEPT = ["unflagged-ends", "broken-successors"]


def named(log: Log) -> str:
    """What an inspection says of it; a run says the same."""
    texts = [f.text for f in findings(summarize(log)) if f.name == "two-laws"]
    notes = [n for n in check_log_for_run(from_log(log), None, accept=ACCEPT) if "[two-laws]" in n]
    # A run leaves out rows without a successor, so it names other rows.
    assert [_without_rows(text) for text in texts] == [_without_rows(note) for note in notes]
    return texts[0] if texts else ""


def _without_rows(text: str) -> str:
    return re.sub(r"row [0-9,]+ on|\[.*", "", text).strip()


def from_row(row: int, change, *, stored: bool = True, seed: int = 0) -> Log:
    """`change(columns)` of the columns (n, 4) position, speed, action and reward from a row on."""
    log = oscillator_log(stored=True, seed=seed)
    later = np.arange(ROWS) >= row
    tables = [np.column_stack([obs, log.action, log.reward]) for obs in (log.obs, log.next_obs)]
    now, after = (np.where(later[:, None], change(table.copy()), table) for table in tables)
    next_obs = after[:, :2] if stored else None
    return replace(log, obs=now[:, :2], action=now[:, 2:3], reward=now[:, 3], next_obs=next_obs)


def times(column: int, factor: float):
    def change(table: np.ndarray) -> np.ndarray:
        table[:, column] *= factor
        return table

    return change


def exchanged(table: np.ndarray) -> np.ndarray:
    return table[:, [1, 0, 2, 3]]


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_log_says_nothing(seed):
    for how in ({}, {"stored": False}, {"falls_beyond": 1.0}, {"length": (20, 90)}):
        assert named(oscillator_log(seed=seed, **how)) == ""


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("row", [400, 610, 840])
@pytest.mark.parametrize(
    "change, words",
    [
        (times(0, -1.0), "observation 0 has the other sign"),
        (times(1, -1.0), "observation 1 has the other sign"),
        (times(2, -1.0), "action 0 has the other sign"),
        (times(3, -1.0), "rewards are of the other sign"),
        (exchanged, "observation 0 and observation 1 are exchanged"),
        (times(1, 3.6), "observation 1 is about 3"),
        (times(2, 0.5), "action 0 is about 0."),
        (times(3, 3.6), "rewards are about 3.6 times as large"),
        (times(3, -2.0), "rewards are of the other sign and about 2 times as large"),
    ],
)
def test_a_change_from_some_row_on_is_named(change, words, row, stored):
    text = named(from_row(row, change, stored=stored))
    assert words in text and "from about row" in text
    told = int(text.partition("from about row ")[2].partition(" on")[0].replace(",", ""))
    assert abs(told - row) < 150


def test_what_cannot_be_told_apart_is_named_as_both():
    """Of a system with one entry, a sensor that is turned shows as an actuator that is."""
    rng, state, rows = np.random.default_rng(0), 0.0, []
    for _ in range(ROWS):
        action = rng.uniform(-1, 1)
        after = 0.9 * state + 0.2 * action + 0.01 * rng.normal()
        rows.append((state, action, after))
        state = after
    obs, action, after = (np.array(column)[:, None] for column in zip(*rows, strict=True))
    action = np.where(np.arange(ROWS)[:, None] >= ROWS // 2, -action, action)
    ends = np.arange(ROWS) % 60 == 59
    text = named(Log(obs, action, -(obs[:, 0] ** 2), ends & False, ends, after, name="valve"))
    assert "observation 0 has the other sign" in text and "action 0 has the other sign" in text


def test_other_policies_from_some_row_on_are_no_other_law():
    low, high = (oscillator_log(seed=seed) for seed in (1, 2))
    calm = replace(low, obs=0.1 * low.obs, next_obs=0.1 * low.next_obs, action=0.1 * low.action)
    calm = replace(calm, reward=0.1 * low.reward)
    joined = concatenate([from_log(calm), from_log(high)])
    assert [n for n in check_log_for_run(joined, None) if "[two-laws]" in n] == []


def level_log(seed: int, *, doubled: int = 0) -> Log:
    """A level in calm hours and rough ones; its deviation counts, from a row on twice if given."""
    rng, rows = np.random.default_rng(seed), 2000
    level, load, sizes = np.zeros(rows + 1), 0.0, rng.uniform(0.3, 1.5, rows // 200)
    action = rng.normal(size=rows)
    for row in range(rows):
        load = 0.95 * load + 0.3 * sizes[row // 200] * rng.normal()
        level[row + 1] = 0.9 * level[row] + 0.1 * load + 0.1 * action[row]
    reward = -np.abs(level[1:])
    reward[doubled or rows :] *= 2.0
    ends = np.arange(rows) % 100 == 99
    obs, next_obs = level[:-1, None], level[1:, None]
    return Log(obs, action[:, None], reward, ends & False, ends, next_obs, name="level")


@pytest.mark.parametrize("seed", range(12))
def test_a_deviation_counts_the_same_in_calm_hours_and_in_rough_ones(seed):
    assert "rewards" not in named(level_log(seed))
    assert "rewards are about" in named(level_log(seed, doubled=1000))


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        assert "[two-laws]" not in " ".join(
            check_log_for_run(load_dataset(f"builtin:{name}"), None)
        )
