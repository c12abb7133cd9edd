"""Actions that overflowed, rewards that were clipped now and then, rows that sum up a table."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import recorded_badly

from made_logs import refuses
from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.clipped_rewards import clipped_rewards
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.findings.wrapped_actions import wrapped_actions
from moore.formats.load import load_dataset, read_log
from moore.formats.summary_rows import summary_row
from moore.inspecting.summary import summarize

LOG = oscillator_log(60, 60)
EPISODE = np.arange(LOG.size) // 60


def named(log: Log) -> list[str]:
    return [finding.name for finding in findings(summarize(log))]


def ends_of(log: Log) -> np.ndarray:
    return log.terminated | log.truncated


# --- Actions ---


def whole(action, kind: type, unit: float = 1.0) -> np.ndarray:
    """What an integer type makes of the numbers, in its units."""
    return unit * np.rint(action).astype(np.int64).astype(kind).astype(np.float32)


@pytest.mark.parametrize(
    "action",
    [
        whole(150 * LOG.action, np.int8),
        whole(160 + 130 * LOG.action, np.uint8),
        whole(150 * LOG.action, np.int8, unit=0.01),
        whole(38_000 * LOG.action, np.int16),
    ],
    ids=["int8", "uint8", "scaled", "int16"],
)
@pytest.mark.parametrize("stored", [True, False])
def test_actions_that_overflowed_are_told(action, stored):
    log = replace(LOG, action=action, next_obs=LOG.next_obs if stored else None)
    assert wrapped_actions(log, ends_of(log)).startswith("0 (in ")
    assert "wrapped-actions" in named(log)
    assert any("[wrapped-actions]" in note for note in check_log_for_run(from_log(log), None))


@pytest.mark.parametrize(
    "action",
    [
        LOG.action,
        np.rint(127.4 * LOG.action),
        np.clip(np.rint(150 * LOG.action), -128, 127),
        np.rint(3 * LOG.action),
        np.where(LOG.action > 0.95, np.nan, 100 * LOG.action),
    ],
    ids=["as it is", "eight bits", "clipped", "few values", "missing"],
)
def test_actions_that_fit_into_their_type_say_nothing(action):
    log = replace(LOG, action=action.astype(np.float32))
    assert wrapped_actions(log, ends_of(log)) == ""


# --- Rewards ---

LARGE, SMALL = np.quantile(LOG.reward, (0.8, 0.2))


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (np.where(EPISODE % 3 == 0, np.minimum(LOG.reward, LARGE), LOG.reward), "largest"),
        (np.where(EPISODE % 5 == 0, np.maximum(LOG.reward, SMALL), LOG.reward), "least"),
        (np.where(EPISODE >= 40, np.minimum(LOG.reward, LARGE), LOG.reward), "largest"),
    ],
)
def test_rewards_that_were_clipped_in_some_episodes_are_told(reward, words):
    value = f"{LARGE if words == 'largest' else SMALL:.6g} is the {words} reward of "
    assert clipped_rewards(reward, ends_of(LOG)).startswith(value)
    log = replace(LOG, reward=reward)
    assert "clipped-rewards" in named(log)
    assert any("[clipped-rewards]" in note for note in check_log_for_run(from_log(log), None))


def test_a_log_of_one_long_episode_is_looked_at_in_stretches():
    half = np.where(EPISODE >= 30, np.minimum(LOG.reward, LARGE), LOG.reward)
    one = np.arange(LOG.size) == LOG.size - 1
    assert "of 24 episodes or stretches (one from row" in clipped_rewards(half, one)
    assert clipped_rewards(LOG.reward, one) == ""


@pytest.mark.parametrize(
    "reward",
    [
        LOG.reward,
        np.minimum(LOG.reward, LARGE),
        np.clip(LOG.reward, SMALL, LARGE),
        np.where(EPISODE % 3 == 0, 0.0, LOG.reward),
        np.where((EPISODE % 3 == 0) & (np.arange(LOG.size) % 60 > 2), 0.4, LOG.reward),
        (LOG.reward > LARGE).astype(float),
        np.where(EPISODE % 3 == 0, np.rint(LOG.reward), np.rint(2 * LOG.reward)),
    ],
    ids=["as it is", "a limit", "two limits", "off", "at rest", "a goal", "whole numbers"],
)
def test_rewards_with_a_limit_of_the_task_and_a_plant_that_is_off_say_nothing(reward):
    assert clipped_rewards(reward, ends_of(LOG)) == ""


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        ends = log.terminated | log.truncated
        assert (wrapped_actions(log, ends), clipped_rewards(log.reward, ends)) == ("", "")


# --- Rows that sum up a table ---

TABLE = np.column_stack([LOG.obs, LOG.action, LOG.reward])[:300] + np.arange(1.0, 5.0)
TABLE = TABLE.round(4)
STATISTICS = [
    np.full(4, 300.0),
    *(of(TABLE, axis=0) for of in (np.mean, np.std, np.min, np.median, np.max)),
]


@pytest.mark.parametrize(
    ("below", "what"),
    [
        ([TABLE.mean(axis=0)], "means"),
        ([TABLE.sum(axis=0)], "sums"),
        ([TABLE.sum(axis=0), TABLE.mean(axis=0)], "sums"),
        (STATISTICS, "means"),
    ],
)
def test_rows_that_sum_up_a_table_are_refused(below, what, tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "log.csv"
    lines = [",".join(f"{x:.5g}" for x in row) for row in (*TABLE, *below)]
    path.write_text("\n".join(["x,v,u,r", *lines]))
    columns = {"obs": ["x", "v"], "action": ["u"], "reward": "r", "files": "episodes"}
    told = f"line 302 and what follows sum up the rows above.*the {what} of all columns"
    refuses(told, read_log, str(path), columns=columns)
    path.write_text("\n".join(["x,v,u,r", *lines[:300]]))
    assert read_log(str(path), columns=columns).size == 300


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        np.vstack([TABLE, np.tile(TABLE.mean(axis=0), (20, 1))]),
        np.vstack([TABLE[:290], np.linspace(TABLE[290], TABLE[:290].mean(axis=0), 12)]),
        np.vstack([TABLE, [1.0, np.nan, 1.0, 1.0]]),
        TABLE[:20],
        np.column_stack([np.arange(300.0), np.arange(300.0), np.ones(300), np.ones(300)]),
    ],
    ids=["as it is", "at rest", "settling", "missing", "short", "counters"],
)
def test_other_last_rows_say_nothing(table):
    assert summary_row([table[:, :2], table[:, 2:]]) is None


# --- The benchmark ---

DOCS = Path(__file__).parents[1] / "docs"


def test_the_document_has_the_stored_counts_and_none_is_accused():
    with (DOCS / "results" / "recorded-badly.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == recorded_badly.COLUMNS
    assert [row["system"] for row in rows] == list(recorded_badly.KINDS)
    total = {key: sum(int(row[key]) for row in rows) for key in recorded_badly.COLUMNS[1:]}
    assert total["false_actions"] == total["false_rewards"] == total["false_pairs"] == 0
    text = (DOCS / "log-findings.md").read_text(encoding="utf-8")
    assert f"| one action entry overflows | {total['logs']} | {total['overflowed']} |" in text
    assert f"are cut at their end | {total['sound_actions']} | 0 |" in text
    assert f"or with a limit | {total['sound_rewards']} | 0 |" in text
    assert f"In {total['pairs']} pairs of sound logs" in (DOCS / "assess.md").read_text("utf-8")


def test_the_benchmark_counts_what_it_puts_in():
    row = recorded_badly.measure("a controller that holds", range(3002, 3003))
    assert row["logs"] == 1 and row["sound_actions"] == row["pairs"] == 2
    assert not any(row[key] for key in row if key.startswith("false"))
