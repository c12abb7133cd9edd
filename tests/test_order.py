"""Rows that do not stand in the order of time are found, with stored successors and without."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_logs import refuses
from made_plant_logs import plant_log
from made_tables import COLUMNS, write_csv
from moore.data.dataset import concatenate, from_log
from moore.data.log import Log
from moore.data.order import is_shuffled
from moore.findings.defects import findings
from moore.findings.episode_summary import staying_flags
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

ROWS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")


def in_order(log: Log, order: np.ndarray) -> Log:
    """The rows in another order; the ends of episodes stay where they were."""
    arrays = {key: getattr(log, key) for key in ROWS[:4] if getattr(log, key) is not None}
    return replace(log, **{key: value[order] for key, value in arrays.items()})


def ends_of(log: Log) -> np.ndarray:
    return log.terminated | log.truncated


def level(log: Log, name: str) -> str | None:
    return {f.name: f.level for f in findings(summarize(log))}.get(name)


@settings(max_examples=20)
@given(seed=st.integers(0, 99), dim=st.integers(1, 6), stored=st.booleans())
def test_shuffled_rows_are_found_and_rows_in_order_are_not(seed, dim, stored):
    log = plant_log(dim=dim, seed=seed)
    log = log if stored else replace(log, next_obs=None)
    assert not is_shuffled(log, ends_of(log))
    other = in_order(log, np.random.default_rng(seed).permutation(log.size))
    assert is_shuffled(other, ends_of(other))


@pytest.mark.parametrize("stored", [True, False])
def test_rows_shuffled_inside_episodes_that_lie_far_apart_are_found(stored):
    log = plant_log()
    levels = np.repeat(np.linspace(0.0, 20.0, 20), 50)[:, None]
    log = replace(log, obs=log.obs + levels, next_obs=log.next_obs + levels)
    log = log if stored else replace(log, next_obs=None)
    assert not is_shuffled(log, ends_of(log))
    chance = np.random.default_rng(0).uniform(size=log.size)
    other = in_order(log, np.lexsort((chance, np.repeat(np.arange(20), 50))))
    assert is_shuffled(other, ends_of(other))


def test_noise_around_the_levels_of_the_episodes_is_none():
    rng = np.random.default_rng(0)
    obs = np.repeat(rng.normal(size=(20, 2)), 50, axis=0) + 0.01 * rng.normal(size=(1000, 2))
    log = replace(plant_log(), obs=obs, next_obs=None)
    assert not is_shuffled(log, ends_of(log))


def test_shuffled_rows_of_episodes_of_a_few_steps_are_found():
    log = plant_log(episodes=250, length=4)
    assert not is_shuffled(log, ends_of(log))
    other = in_order(log, np.random.default_rng(0).permutation(1000))
    assert is_shuffled(other, ends_of(other))


def test_they_stop_a_run_whose_successors_would_be_the_next_rows():
    log = replace(plant_log(), next_obs=None)
    log = in_order(log, np.random.default_rng(0).permutation(log.size))
    assert level(log, "shuffled-rows") == "ruins"
    refuses("nothing to do with.*--accept shuffled-rows", check_log_for_run, from_log(log), None)
    assert check_log_for_run(from_log(log), None, accept=["shuffled-rows"]) == []


def test_with_stored_successors_their_transitions_are_right_and_a_run_is_told():
    log = in_order(plant_log(), np.random.default_rng(0).permutation(1000))
    assert level(log, "shuffled-rows") == "note"
    assert level(log, "broken-successors") is None, "one finding says it"
    (told,) = check_log_for_run(from_log(log), None)
    assert "returns" in told and told.endswith("[shuffled-rows]")


def test_a_table_with_holes_is_looked_at_like_a_whole_one(tmp_path):
    log = plant_log()
    order = np.random.default_rng(0).permutation(log.size)
    table = {"x": log.obs[:, 0], "y": log.obs[:, 1], "u": log.action[:, 0], "r": log.reward}
    table = {key: values[order].tolist() for key, values in table.items()}
    table["r"][7] = None
    write_csv(tmp_path / "log.csv", table | {"e": np.repeat(np.arange(20), 50).tolist()})
    data = load_dataset(tmp_path / "log.csv", columns=COLUMNS | {"episode": "e"})
    refuses("--accept shuffled-rows", check_log_for_run, data, None)


def test_rows_that_were_thinned_out_and_a_plant_without_memory_are_none():
    log = plant_log(episodes=200, length=49)
    every_other = slice(None, None, 2)
    thin = replace(log, **{key: getattr(log, key)[every_other] for key in ROWS})
    assert summarize(thin)["broken_successors"] > 0.9 * thin.size
    assert not is_shuffled(thin, ends_of(thin))
    rng = np.random.default_rng(0)
    action = rng.uniform(-1, 1, (1000, 1))
    obs = np.append([[0.0]], 3.0 * action[:-1], axis=0)  # shows the last action
    fast = replace(plant_log(), obs=obs, action=action, next_obs=None)
    assert not is_shuffled(fast, ends_of(fast))


def test_a_log_that_was_joined_with_itself_is_told_to_a_run():
    data = from_log(plant_log())
    assert not any("copies" in note for note in check_log_for_run(data, None))
    told = check_log_for_run(concatenate([data, data]), None)
    assert [note for note in told if "1,000 rows" in note and note.endswith("[duplicate-rows]")]


@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_flags_that_say_go_on_stop_a_run(flag):
    log = plant_log(end=flag)
    assert level(log, "ends-in-most-rows") is None
    inverted = replace(log, **{flag: ~getattr(log, flag)})
    assert level(inverted, "ends-in-most-rows") == "ruins"
    refuses("invert them.*ends-in-most-rows", check_log_for_run, from_log(inverted), None)


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("flag", ["terminated", "truncated"])
def test_a_flag_that_stays_set_after_the_end_stops_a_run(flag, stored):
    """An alarm that is up for three rows more makes three episodes of one step of each."""
    log = plant_log(end=flag)
    log = log if stored else replace(log, next_obs=None)
    assert level(log, "flags-stay-set") is None
    rows = np.flatnonzero(getattr(log, flag))
    stays = getattr(log, flag).copy()
    for more in (1, 2, 3):
        stays[np.minimum(rows + more, len(stays) - 1)] = True
    latched = replace(log, **{flag: stays})
    assert level(latched, "flags-stay-set") == "ruins"
    refuses("stays set after the end.*flags-stay-set", check_log_for_run, from_log(latched), None)


def test_episodes_that_end_at_once_by_chance_or_always_are_no_flags_that_stay():
    rng = np.random.default_rng(0)
    by_chance = np.where(rng.uniform(size=400) < 0.2, 1, rng.integers(20, 60, 400))
    assert staying_flags(by_chance) == 0 and staying_flags(np.ones(50, int)) == 0
    assert staying_flags(np.array([40, 1, 40, 1])) == 0  # too few to say
    assert staying_flags(np.array([2, 1] * 20)) == 0
    assert staying_flags(np.array([40, 1, 1, 30, 1])) == 3
    assert staying_flags(np.zeros(0, int)) == 0
