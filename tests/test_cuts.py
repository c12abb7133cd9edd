"""Where the episodes of a log without time-out flags end."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from made_plant_logs import plant_log, save_hdf5
from moore import Config
from moore.data.cuts import (
    far_jumps,
    find_cuts,
    jumping_period,
    other_limit,
    registered_limit,
    surprises,
    unflagged_ends,
)
from moore.data.dataset import from_log
from moore.data.flag_rows import slipped_flags
from moore.data.log import Log
from moore.envs.simulator import env_facts
from moore.errors import InputError
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize
from moore.runs.setup import prepare


def played(env_id, episodes, **options) -> Log:
    """Random actions in a real environment; true next states."""
    env, rows = gym.make(env_id, **options), []
    env.action_space.seed(0)
    for episode in range(episodes):
        obs, ended = env.reset(seed=episode)[0], False
        while not ended:
            action = env.action_space.sample()
            after, reward, terminated, truncated, _ = env.step(action)
            rows.append((obs, action, reward, terminated, truncated, after))
            obs, ended = after, terminated or truncated
    keys = ("obs", "action", "reward", "terminated", "truncated", "next_obs")
    return Log(**dict(zip(keys, map(np.array, zip(*rows, strict=True)), strict=True)), name="log")


def wrong_successors(data, log) -> int:
    true = {row.tobytes(): after for row, after in
            zip(log.obs.astype(np.float32), log.next_obs, strict=True)}  # fmt: skip
    pairs = zip(data.obs[data.successor_known], data.next_obs[data.successor_known], strict=True)
    return sum(not np.allclose(true[row.tobytes()], after, atol=1e-5) for row, after in pairs)


@pytest.fixture(scope="module")
def pendulum():
    return played("Pendulum-v1", 8, max_episode_steps=150)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, ("measured", 150)),
        ({"env_id": "Pendulum-v1"}, ("environment", 200)),  # another limit than the recording's
        ({"next_obs": True}, ("successors", None)),
        ({"max_episode_steps": 150}, ("given", 150)),
    ],
    ids=["rows", "registered", "successors", "caller"],
)
def test_ends_are_known_or_found(known, expected, pendulum):
    stored = pendulum.next_obs if known.get("next_obs") else None
    log = replace(pendulum, truncated=None, next_obs=stored, env_id=known.get("env_id"))
    data = from_log(log, max_episode_steps=known.get("max_episode_steps"))
    assert data.metadata["timeouts_recorded"] is False
    assert (data.metadata["ends"]["source"], data.metadata["ends"]["steps"]) == expected
    if expected[1] != 200:
        assert wrong_successors(data, pendulum) == 0
        assert data.episode_lengths.tolist() == [150] * 8
    found = {f.name: f.text for f in findings(summarize(log))}
    assert "no-timeouts" in found


def stored(lengths, terminal=()) -> Log:
    """Episodes of these lengths with true successors; flagged are only those that are terminal."""
    last = np.cumsum(lengths) - 1
    obs = np.arange(sum(lengths) + len(lengths), dtype=np.float32)
    first = np.delete(obs, last + 1 + np.arange(len(lengths)))
    rows = {"obs": first[:, None], "next_obs": first[:, None] + 1, "action": first[:, None] * 0}
    flags = np.isin(np.arange(len(first)), last[list(terminal)])
    return Log(**rows, reward=first, terminated=flags, truncated=None, name="stored")


def test_stored_successors_show_cuts_and_a_terminal_is_none():
    cuts = find_cuts(stored([10, 10, 7, 10, 10], terminal=[2]))
    assert cuts.source == "successors"
    assert np.flatnonzero(cuts.truncated).tolist() == [9, 19, 36, 46]


def test_a_successor_that_is_not_known_is_no_cut():
    log = stored([10, 10, 10])
    known = np.arange(30) != 14
    next_obs = np.where(known[:, None], log.next_obs, log.obs)
    cuts = find_cuts(replace(log, next_obs=next_obs, successor_known=known))
    assert np.flatnonzero(cuts.truncated).tolist() == [9, 19, 29]


def test_the_last_row_is_an_end_only_where_it_makes_another_longest_episode():
    assert not find_cuts(stored([10, 10, 10, 4])).truncated[-1]
    assert find_cuts(stored([10, 10, 10, 10])).truncated[-1]
    assert not find_cuts(stored([10, 10, 10, 10], terminal=[3])).truncated[-1]


def test_rows_of_which_no_successor_is_the_next_row_were_shuffled_and_show_no_ends():
    log = stored([10] * 20)
    order = np.random.default_rng(0).permutation(log.size)
    rows = {key: getattr(log, key)[order] for key in ("obs", "next_obs", "action", "reward")}
    assert find_cuts(replace(log, **rows)).source == "assumed"


def test_another_limit_matters_only_where_a_limit_has_cut_the_log(pendulum):
    by_rows = from_log(replace(pendulum, truncated=None))
    assert by_rows.metadata["ends"]["source"] == "successors" and not other_limit(by_rows, 200)
    measured = from_log(replace(pendulum, truncated=None, next_obs=None))
    assert measured.metadata["ends"]["steps"] == 150
    assert [other_limit(measured, steps) for steps in (150, 200, None)] == [False, True, False]
    assert not other_limit(from_log(pendulum), 200), "its own flags say where it was cut"


@pytest.mark.parametrize(("beside", "found"), [(None, 50), (-1, None), (2, None)])
def test_a_surprise_that_has_another_one_beside_it_is_no_end(beside, found):
    """An end is one jump; a rhythm of the plant lasts for some rows."""
    surprise = np.random.default_rng(0).uniform(0.0, 1.0, 2000)
    at = np.arange(49, 1990, 50)
    surprise[at] += 100.0
    if beside is not None:
        surprise[at + beside] += 100.0
    assert jumping_period(surprise, np.zeros(2000, bool)) == found


def test_neither_the_first_step_of_an_episode_nor_the_one_to_the_next_is_a_surprise(pendulum):
    log = replace(pendulum, next_obs=None)
    found = surprises(log, log.truncated)
    last = np.flatnonzero(log.truncated)
    assert (found[last] == 0.0).all() and (found[last[:-1] + 1] == 0.0).all() and found[0] == 0.0
    assert (found > 0.0).mean() > 0.95


def test_a_jump_beside_another_one_is_not_counted():
    surprise = np.random.default_rng(0).uniform(0.0, 1.0, 2000)
    surprise[[500, 900, 1500, 1502]] += 100.0
    assert far_jumps(surprise, np.zeros(2000, bool), np.zeros((2000, 1))) == 3, (
        "of two so close together one counts"
    )


def test_flags_that_are_a_row_early_are_seen_in_short_episodes_too():
    """One step in 20 leads to another episode, so jumps must not count as what is usual."""
    rows, noise = np.arange(400), np.random.default_rng(0).normal(size=400)
    obs = 100.0 * (rows // 20 % 2) + noise
    log = replace(stored([20] * 20), obs=obs[:, None], next_obs=None)
    assert slipped_flags(log, rows % 20 == 18)["early"] in (18, 19, 20)
    assert slipped_flags(log, rows % 20 == 19) == {}


@pytest.mark.parametrize("setpoint", [False, True], ids=("alone", "with a setpoint"))
def test_a_jump_in_the_first_step_of_every_episode_is_no_slipped_flag(setpoint):
    """A valve opens when a batch begins; what it moved has come back when the batch ends."""
    rows, rng = np.arange(800), np.random.default_rng(0)
    step = rows % 40
    moved = np.where(step > 0, 50.0 * np.exp(-step / 8.0), 0.0) + 0.1 * rng.normal(size=800)
    columns = [moved, *([60.0 + rows // 40 % 3] if setpoint else [])]
    log = replace(stored([40] * 20), obs=np.stack(columns, axis=1), next_obs=None)
    assert slipped_flags(log, step == 39) == {}
    if setpoint:
        assert "early" in slipped_flags(log, step == 38)


def test_ends_that_were_cut_elsewhere_show_and_stop_a_run(pendulum):
    log = replace(pendulum, truncated=None, next_obs=None, env_id="Pendulum-v1")
    assert unflagged_ends(log, find_cuts(log).truncated) != {}
    with pytest.raises(InputError, match="unflagged-ends"):
        check_log_for_run(from_log(log), None)
    few = replace(pendulum, next_obs=None, truncated=np.arange(1200) == 1199)
    assert {f.name: f.level for f in findings(summarize(few))}["unflagged-ends"] == "ruins"


def test_flagged_ends_and_smooth_rhythms_are_no_jumps(pendulum):
    log = replace(pendulum, next_obs=None)
    assert unflagged_ends(log, log.truncated) == {}
    day = np.arange(20_000) * 2 * np.pi / 288  # a plant that follows the sun, every five minutes
    noise = 0.01 * np.random.default_rng(0).normal(size=(20_000, 2))
    sun = Log(
        obs=np.stack([np.sin(day), np.maximum(0, np.cos(day))], axis=1) + noise,
        action=noise[:, :1],
        reward=noise[:, 0],
        terminated=np.zeros(20_000, bool),
        truncated=None,
        next_obs=None,
        name="sun",
    )
    assert find_cuts(sun).source == "assumed"


def test_a_set_point_that_changes_on_time_is_no_end():
    log = plant_log(episodes=5, length=1000, dim=3)
    obs = log.obs.copy()
    obs[:, 2] = np.repeat(np.random.default_rng(0).uniform(0, 1, 100), 50)  # every 50 steps
    log = replace(log, obs=obs, next_obs=None)
    assert unflagged_ends(log, log.truncated) == {}


def test_longer_episodes_than_1000_that_all_end_alike_are_not_cut():
    rows = np.arange(3 * 1920)
    log = replace(
        plant_log(episodes=3, length=1920),
        terminated=rows % 1920 == 1919,
        truncated=None,
        next_obs=None,
        obs=np.random.default_rng(0).normal(size=(len(rows), 2)),
    )
    assert (find_cuts(log).source, find_cuts(log).steps) == ("lengths", 1920)
    assert from_log(log).episode_lengths.tolist() == [1920] * 3


def test_a_length_that_only_some_of_the_terminals_share_is_no_limit():
    lengths = [1200] * 7 + [1100, 1150, 1190]
    log = stored(lengths, terminal=range(10))
    assert find_cuts(replace(log, next_obs=None)).source == "assumed"
    most = stored([1200] * 9 + [1100], terminal=range(10))
    assert find_cuts(replace(most, next_obs=None)).steps == 1200


def test_limits_are_looked_up_and_nothing_is_imported():
    assert registered_limit("Pendulum-v1") == 200
    assert registered_limit("Hopper-v2") == 1000, "the version that still runs"
    for unknown in ("Nothing-v0", "no_such_module:Plant-v0", "antigravity:Plant-v0", "a b", None):
        assert registered_limit(unknown) is None


def test_a_budget_draws_the_episodes_of_the_limit(tmp_path, pendulum):
    path = save_hdf5(tmp_path / "log.hdf5", replace(pendulum, truncated=None, next_obs=None))
    data = load_dataset(path, max_rows=300, max_episode_steps=150)
    assert data.episode_lengths.tolist() == [150, 150]
    assert wrong_successors(data, pendulum) == 0
    with pytest.raises(InputError, match="max_episode_steps is 0"):
        load_dataset(path, max_episode_steps=0)


def test_a_run_cuts_the_log_at_the_limit_of_its_environment(tmp_path):
    log = played("Pendulum-v1", 6)
    path = save_hdf5(tmp_path / "log.hdf5", replace(log, truncated=None, next_obs=None))
    config = Config(dataset=path, env_id="Pendulum-v1", algorithm="awac")
    setup = prepare(config)
    assert setup.dataset.metadata["ends"]["steps"] == 200
    assert wrong_successors(setup.dataset, log) == 0
    assert any("No time-out flags" in note for note in setup.notes)
    facts = env_facts("Pendulum-v1")
    cut = load_dataset(path, max_episode_steps=100)
    with pytest.raises(InputError, match=r"limit of 200.*--accept other-limit"):
        check_log_for_run(cut, facts)
