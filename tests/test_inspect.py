"""The summary of a raw log, and the warnings that follow from it."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from moore.data.dataset import from_log
from moore.data.log import Log
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores
from moore.findings.defects import refusals, warnings
from moore.inspecting.summary import summarize
from moore.reports.log_text import format_summary, trend_text

REFERENCE = ReferenceScores(0.0, 10.0, source="test")
# Walker2d: 17 observations, 6 actions; healthy at height 1.25, pitch 0.
HEALTHY = [1.25, 0.0] + [0.0] * 15


def log(rows=6, **changes) -> Log:
    """Episodes of 3 rows, the first terminal, the second timed out; all is well with it."""
    row = np.arange(rows, dtype=float)
    # The second entry starts again at 0 in every episode, so the true successor of row 2 is 3.
    base = Log(
        obs=np.stack([row, row % 3], axis=1),
        action=(row / 10)[:, None] - 0.2,
        reward=row,
        terminated=row % 6 == 2,
        truncated=row % 6 == 5,
        next_obs=np.stack([row + np.where(row % 3 == 2, 0.5, 1), row % 3 + 1], axis=1),
        name="log",
        env_id="P-v0",
        sha256="ab",
        reference=REFERENCE,
    )
    return replace(base, **changes)


def walker_log(rows=40, length=10, **changes) -> Log:
    """Walker2d-v5, healthy throughout, episodes of `length` rows that are timed out."""
    rng = np.random.default_rng(0)
    obs = np.array(HEALTHY) + rng.uniform(-0.1, 0.1, (rows + 1, 17))
    base = Log(
        obs=obs[:-1],
        action=rng.uniform(-1, 1, (rows, 6)),
        reward=rng.normal(size=rows),
        terminated=np.zeros(rows, bool),
        truncated=np.arange(rows) % length == length - 1,
        next_obs=obs[1:].copy(),
        name="walker",
        env_id="Walker2d-v5",
    )
    base.next_obs[base.truncated] += 0.01  # not the next episode's first observation
    return replace(base, **changes)


def with_rows(log, key, values):
    array = getattr(log, key).copy()
    for row, value in values.items():
        array[row] = value
    return replace(log, **{key: array})


def test_summary_counts_what_is_there():
    s = summarize(log())
    assert (s["rows"], s["episodes"], s["terminals"], s["timeouts"]) == (6, 2, 1, 1)
    assert s["episode_return"] == pytest.approx({
        "mean": 7.5, "sd": 4.5, "min": 3, "p5": 3.45, "q25": 5.25, "median": 7.5, "q75": 9.75,
        "p95": 11.55, "max": 12,
    })  # fmt: skip
    assert s["episode_length"]["mean"] == 3.0
    assert s["score"] == 75.0
    assert (s["obs_min"], s["obs_max"]) == ([0, 0], [5, 2])
    assert s["obs_mean"] == pytest.approx([2.5, 1.0])
    assert s["obs_sd"] == pytest.approx(np.std([np.arange(6), np.arange(6) % 3], axis=1))
    np.testing.assert_allclose([s["action_min"][0], s["action_max"][0]], [-0.2, 0.3], rtol=1e-6)
    assert (s["reward_min"], s["reward_max"], s["share_actions_at_border"]) == (0, 5, 0)
    zero = ("unknown", "broken", "reset", "unchanged", "lost")
    assert [s[f"{kind}_successors"] for kind in zero] == [0] * 5
    assert s["duplicate_rows"] == s["reward_outliers"] == s["both_flags"] == 0
    assert s["constant_obs_dims"] == s["constant_action_dims"] == []
    assert sum(s["return_histogram"]["counts"]) == 2
    assert json.loads(json.dumps(s, allow_nan=False)) == s
    assert refusals(s) == []
    assert ["P-v0" in text for text in warnings(s)] == [True], "which cannot be made here"


def test_the_same_numbers_follow_from_a_data_set():
    raw, made = summarize(log()), summarize(from_log(log()))
    for key in ("rows", "episodes", "episode_return", "broken_successors", "obs_max", "env_id"):
        assert made[key] == raw[key]


def test_statistics_do_not_depend_on_the_blocks_they_are_taken_in():
    rows = 150_000  # several blocks; a large mean, which naive sums of squares would lose
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 1.0, (rows, 2)).astype(np.float32)
    many = log(
        rows=rows,
        obs=values,
        next_obs=None,
        truncated=np.arange(rows) % 1000 == 999,
        terminated=np.zeros(rows, bool),
    )
    s = summarize(many)
    np.testing.assert_allclose(s["obs_mean"], values.mean(axis=0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(s["obs_sd"], values.std(axis=0, dtype=float), rtol=1e-6)


def no_successors():
    return log(next_obs=None)


@pytest.mark.parametrize(
    ("given", "key", "value", "remedy"),
    [
        (no_successors(), "unknown_successors", 1, "next_observations"),
        (with_rows(log(), "next_obs", {0: 9, 4: 9}), "broken_successors", 2, "time-out flags"),
        (with_rows(log(), "next_obs", {2: [3, 0]}), "reset_successors", 1, "final_obs"),
        (log(next_obs=log().obs), "unchanged_successors", 6, "after the action"),
        (log(rows=12, obs=np.tile(log().obs, (2, 1)), action=np.tile(log().action, (2, 1)),
             reward=np.tile(log().reward, 2), next_obs=np.tile(log().next_obs, (2, 1))),
         "duplicate_rows", 6, "drop the copies"),
        (log(obs=np.ones((6, 2))), "constant_obs_dims", [0, 1], "remove them"),
        (log(action=np.ones((6, 1))), "constant_action_dims", [0], "variation"),
        (log(action=log().action * 9), "actions_outside", 3, "rescale"),
        (with_rows(log(), "action", {0: 1, 1: -1}), "share_actions_at_border", 2 / 6, "clipped"),
        (log(reward=np.ones(6)), "reward_max", 1.0, "true reward"),
        (log(env_id=None), "env_id", None, "--env-id"),
        (log(reference=None), "score", None, "ref_min_score"),
        (with_rows(log(), "truncated", {2: True}), "both_flags", 1, "Clear the terminal flag"),
        (log(truncated=None), "timeouts_recorded", False, "Record the flags"),
    ],
)  # fmt: skip
def test_each_trouble_is_counted_and_comes_with_one_warning_and_a_remedy(given, key, value, remedy):
    summary = summarize(given)
    assert summary[key] == value
    assert sum(remedy in warning for warning in warnings(summary)) == 1
    assert refusals(summary) == []
    assert all("{" not in warning for warning in warnings(summary))


@pytest.mark.parametrize(
    ("given", "key", "value", "remedy"),
    [
        (with_rows(log(), "obs", {1: np.nan, 3: np.inf}), "non_finite",
         {"obs": {"values": 4, "first_row": 1}}, "repair these rows"),
        (with_rows(log(), "reward", {4: -np.inf}), "non_finite",
         {"reward": {"values": 1, "first_row": 4}}, "repair these rows"),
        (with_rows(log(), "next_obs", {5: 1e39}), "overflow",
         {"next_obs": {"values": 2, "first_row": 5}}, "larger units"),
        (log(terminated=np.zeros(6, bool), truncated=np.zeros(6, bool)), "episodes", 0,
         "Set the flags"),
        (log(reward=np.zeros(6)), "reward_max", 0.0, "true reward"),
        (log(successor_known=np.arange(6) != 1), "lost_successors", 1, "give their next_obs"),
        (log(env_id="Hopper-v5"), "dims_fit", False, "11 observation and 3 action dimensions"),
        (with_rows(walker_log(), "action", {7: 1.5}), "actions_outside", 1, "by up to 0.5"),
    ],
)  # fmt: skip
def test_what_training_refuses_is_described_and_marked_as_refused(given, key, value, remedy):
    summary = summarize(given)
    assert summary[key] == value
    refused = refusals(summary)
    assert len(refused) == 1 and remedy in refused[0]
    assert warnings(summary)[0] == refused[0], "the worst comes first"
    json.dumps(summary, allow_nan=False)
    format_summary(summary)


def test_values_that_are_not_finite_are_left_out_of_all_other_numbers():
    s = summarize(with_rows(with_rows(log(), "obs", {5: np.nan}), "reward", {5: np.nan}))
    assert (s["obs_max"], s["reward_max"]) == ([4, 2], 4)
    assert s["episode_return"]["mean"] == 3, "of the episode that is whole"


def test_several_defects_give_one_warning_each():
    bad = with_rows(with_rows(log(), "next_obs", {0: 9}), "reward", {1: np.nan})
    found = warnings(summarize(replace(bad, env_id=None, reference=None)))
    assert len(found) == 4, found


# --- Against the environment ---


def test_a_sound_log_of_a_known_environment_has_no_warning_but_that_its_time_outs_are_early():
    found = warnings(summarize(walker_log()))
    assert len(found) == 1 and "3 time-outs come before the 1000 steps of Walker2d-v5" in found[0]
    assert "after 10" in found[0], "the log's own last row may be cut at any length"


def test_episodes_that_run_past_the_limit():
    s = summarize(walker_log(rows=2500, length=1250))
    assert (s["episodes_past_limit"], s["longest_episode"], s["early_timeouts"]) == (2, 1250, 0)
    assert any("run on past the 1000 steps" in warning for warning in warnings(s))
    assert summarize(walker_log(rows=2000, length=1000))["episodes_past_limit"] == 0


def test_terminal_flags_are_compared_with_the_environments_rule_both_ways():
    fallen = [0.5, 0.0] + [0.0] * 15
    contradicts = with_rows(walker_log(), "next_obs", {4: fallen, 13: fallen, 22: fallen})
    contradicts = with_rows(contradicts, "terminated", {13: True, 30: True, 31: True})
    s = summarize(contradicts)
    assert (s["unhealthy_unflagged"], s["flagged_healthy"], s["rule_checked"]) == (2, 2, 40)
    assert s["first_rows"]["unhealthy_unflagged"] == 4 and s["first_rows"]["flagged_healthy"] == 30
    found = " ".join(warnings(s))
    assert "2 terminal rows (first: row 30)" in found and "2 rows (first: row 4) go on" in found


def test_without_stored_successors_the_rule_is_applied_to_the_next_rows():
    fallen = with_rows(walker_log(), "obs", {5: [0.5, *HEALTHY[1:]], 10: [0.5, *HEALTHY[1:]]})
    s = summarize(replace(fallen, next_obs=None))
    assert s["first_rows"]["unhealthy_unflagged"] == 4
    assert s["unhealthy_unflagged"] == 1, "row 9 ends an episode: row 10 is no successor of it"


def test_bounds_are_those_of_the_environment():
    pendulum = log(obs=np.random.default_rng(0).normal(size=(6, 3)), next_obs=None)
    pendulum = replace(pendulum, env_id="Pendulum-v1", action=np.linspace(-2, 2, 6)[:, None])
    s = summarize(pendulum)
    assert (s["action_low"], s["action_high"], s["actions_outside"]) == ([-2], [2], 0)
    assert s["share_actions_at_border"] == 2 / 6
    squeezed = warnings(summarize(replace(pendulum, action=pendulum.action / 2)))
    assert any("scale them back" in warning for warning in squeezed)


def test_another_environment_can_be_checked_against():
    s = summarize(walker_log(env_id=None), env_id="Walker2d-v4")
    assert (s["checked_as"], s["env_id"], s["rule_checked"]) == ("Walker2d-v4", None, 40)
    assert summarize(walker_log(env_id="Walker2d-v2"))["checked_as"] == "Walker2d-v4"


def test_an_environment_that_cannot_be_made_is_no_obstacle():
    s = summarize(log(env_id="NoSuchThing-v0"))
    assert not s["action_bounds_known"] and s["rule_checked"] == 0


# --- Rewards, copies, dimensions ---


def rewards(values) -> dict:
    n = len(values)
    flags = {"terminated": np.arange(n) % 100 == 99, "truncated": np.zeros(n, bool)}
    row = np.arange(n, dtype=float)
    obs = np.stack([row, row % 7], axis=1)
    action = np.sin(row)[:, None]
    return summarize(log(obs=obs, next_obs=None, action=action, reward=values, **flags))


def test_reward_outliers_are_found_and_their_extremes_told():
    values = np.random.default_rng(0).normal(size=2000)
    values[[3, 70]] = 500.0, -1000.0
    s = rewards(values)
    assert s["reward_outliers"] == 2 and s["first_rows"]["reward_outliers"] == 3
    assert s["reward_extremes"][0] == {"row": 70, "reward": -1000.0}
    assert any("-1000 in row 70" in warning for warning in warnings(s))


def test_a_goals_bonus_a_sparse_reward_and_a_second_mode_are_no_outliers():
    rng = np.random.default_rng(0)
    bonus = rng.normal(size=2000)
    bonus[99::100] = 1000.0  # on terminal rows
    sparse = (rng.random(2000) < 0.01).astype(float)
    modes = np.where(rng.random(2000) < 0.1, 100.0, 0.0) + rng.normal(size=2000)
    for values in (bonus, sparse, modes):
        assert not any("robust" in warning for warning in warnings(rewards(values)))


def test_equal_zeros_of_either_sign_and_nans_are_duplicates():
    twice = log()
    for key in ("obs", "action", "reward", "next_obs"):
        twice = with_rows(twice, key, {1: getattr(log(), key)[0]})
    assert summarize(with_rows(twice, "reward", {1: -0.0}))["duplicate_rows"] == 1
    assert summarize(with_rows(twice, "reward", {1: 1e-9}))["duplicate_rows"] == 0
    nans = with_rows(twice, "reward", {0: np.nan, 1: -np.nan})
    assert summarize(nans)["first_rows"]["duplicate_rows"] == 1


def test_dimensions_that_hardly_ever_change_are_told_from_small_units():
    rng = np.random.default_rng(0)
    stuck = np.zeros(5000)
    stuck[[7, 1800]] = 3.0
    rounding = 1e4 + 1e-4 * rng.normal(size=5000)
    micro = 1e-5 * rng.normal(size=5000)
    obs = np.stack([stuck, rounding, micro, rng.normal(size=5000)], axis=1)
    ends = np.arange(5000) % 100 == 99
    flags = {"terminated": ends, "truncated": ~ends & False}
    s = summarize(log(obs=obs, next_obs=None, action=obs[:, 3:], reward=obs[:, 3], **flags))
    assert s["nearly_constant_obs_dims"] == [0, 1] and s["constant_obs_dims"] == []
    assert any("dimensions [0, 1] hardly ever change" in w for w in warnings(s))


# --- Episodes ---


def test_an_unfinished_episode_at_the_end_is_counted_apart():
    s = summarize(log(rows=8))
    assert (s["episodes"], s["incomplete_rows"], s["episode_length"]["max"]) == (2, 2, 3)
    assert "2 complete, and 2 rows of an unfinished one" in format_summary(s)
    assert s["broken_successors"] == 0, "nothing follows the last row"


def test_a_row_with_both_flags_is_terminal():
    s = summarize(with_rows(log(), "truncated", {2: True}))
    assert (s["both_flags"], s["terminals"], s["timeouts"], s["episodes"]) == (1, 1, 1, 2)


def episodes(returns) -> dict:
    n = len(returns)
    row = np.arange(n, dtype=float)
    flags = {"terminated": np.ones(n, bool), "truncated": np.zeros(n, bool)}
    obs = np.stack([row, row % 7], axis=1)
    action = np.sin(row)[:, None]
    return summarize(log(obs=obs, next_obs=None, action=action, reward=returns, **flags))


def test_the_course_of_the_returns_tells_a_replay_buffer_from_a_fixed_policy():
    rng = np.random.default_rng(0)
    rising = episodes(np.linspace(0, 100, 300) + rng.normal(size=300))
    assert rising["return_trend"] > 0.9 and "replay buffer" in trend_text(rising)
    assert "no trend" in trend_text(episodes(rng.normal(size=300)))
    assert "fall" in trend_text(episodes(-np.arange(300.0)))
    assert trend_text(episodes(rng.normal(size=5))) == "", "too few to tell"
    along = rising["returns_along"]
    assert len(along) == 60 and along[-1]["row"] == along[-1]["episode"] == 299
    assert along[0]["mean"] < 5 < 95 < along[-1]["mean"]


def test_arrays_that_are_not_one_log_are_refused():
    with pytest.raises(InputError, match="lengths differ"):
        summarize(log(reward=np.zeros(5)))
    with pytest.raises(InputError, match="expected numbers"):
        summarize(log(reward=np.array(["a"] * 6)))


# --- Memory ---


def test_a_large_log_is_described_in_little_memory_beside_it():
    rows, dim = 1_000_000, 40
    rng = np.random.default_rng(0)
    obs = rng.random((rows, dim), np.float32)
    large = log(
        obs=obs,
        action=obs[:, :2],
        reward=obs[:, 3],
        next_obs=obs[::-1],
        terminated=np.zeros(rows, bool),
        truncated=np.arange(rows) % 1000 == 999,
    )
    tracemalloc.start()
    summarize(large)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * rows + 120e6, (
        f"{peak / 1e6:.0f} MB; the obs alone are {obs.nbytes / 1e6:.0f}"
    )
