"""The summary of a log and the warnings that follow from it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from moore.data import inspect
from moore.data.dataset import Dataset, concatenate, from_flat_arrays
from moore.evaluation.scores import ReferenceScores


def log(rows=6, **changes) -> Dataset:
    """Episodes of 3 rows, the first terminal, the second timed out; all is well with it."""
    row = np.arange(rows, dtype=float)
    flat = from_flat_arrays(
        np.stack([row, row % 3], axis=1),
        (row / 10)[:, None] - 0.2,
        reward=row,
        terminals=row % 6 == 2,
        timeouts=row % 6 == 5,
        next_obs=np.stack([row + np.where(row % 3 == 2, 0.5, 1), row % 3 + 1], axis=1),
    )
    # The second entry starts again at 0 in every episode, so the true successor of row 2 is 3.
    reference = ReferenceScores(0.0, 10.0, source="test")
    base = Dataset(**flat, name="log", env_id="P-v0", sha256="ab", reference=reference, metadata={})
    return replace(base, **changes)


def test_summary_counts_what_is_there():
    s = inspect.summarize(log())
    assert (s["rows"], s["episodes"], s["terminals"], s["timeouts"]) == (6, 2, 1, 1)
    assert s["episode_return"] == {
        "mean": 7.5, "sd": 4.5, "min": 3, "q25": 5.25, "median": 7.5, "q75": 9.75, "max": 12,
    }  # fmt: skip
    assert s["episode_length"]["mean"] == 3.0
    assert s["score"] == 75.0
    assert (s["obs_min"], s["obs_max"]) == ([0, 0], [5, 2])
    np.testing.assert_allclose([s["action_min"][0], s["action_max"][0]], [-0.2, 0.3], rtol=1e-6)
    assert (s["reward_min"], s["reward_max"], s["share_actions_at_border"]) == (0, 5, 0)
    zero = ("unknown_successors", "broken_successors", "reset_successors", "duplicate_rows")
    assert [s[key] for key in zero] == [0] * 4
    assert s["constant_obs_dims"] == s["constant_action_dims"] == []
    assert json.loads(json.dumps(s)) == s
    assert inspect.warnings(s) == []


def derived(dataset):
    flat = from_flat_arrays(
        dataset.obs,
        dataset.action,
        reward=dataset.reward,
        terminals=dataset.terminated,
        timeouts=dataset.truncated,
    )
    return replace(dataset, **flat)


def with_rows(dataset, key, values):
    array = getattr(dataset, key).copy()
    for row, value in values.items():
        array[row] = value
    return replace(dataset, **{key: array})


@pytest.mark.parametrize(
    ("dataset", "key", "value", "remedy"),
    [
        (derived(log()), "unknown_successors", 1, "next_observations"),
        (with_rows(log(), "next_obs", {0: 9, 4: 9}), "broken_successors", 2, "time-out flags"),
        (with_rows(log(), "next_obs", {2: [3, 0]}), "reset_successors", 1, "final_obs"),
        (concatenate([log(), log()]), "duplicate_rows", 6, "drop the copies"),
        (log(obs=np.ones((6, 2), np.float32)), "constant_obs_dims", [0, 1], "remove them"),
        (log(action=np.ones((6, 1), np.float32)), "constant_action_dims", [0], "variation"),
        (log(action=log().action * 9), "action_max", pytest.approx([2.7]), "rescale"),
        (with_rows(log(), "action", {0: 1, 1: -1}), "share_actions_at_border", 2 / 6, "clipped"),
        (log(reward=np.zeros(6, np.float32)), "reward_max", 0.0, "true reward"),
        (log(env_id=None), "env_id", None, "--env-id"),
        (log(reference=None), "score", None, "ref_min_score"),
    ],
)
def test_each_trouble_is_counted_and_comes_with_a_remedy(dataset, key, value, remedy):
    summary = inspect.summarize(dataset)
    assert summary[key] == value
    assert any(remedy in warning for warning in inspect.warnings(summary))


def test_dropped_time_outs_leave_no_broken_successor():
    summary = inspect.summarize(derived(log(rows=12)))
    assert summary["broken_successors"] == summary["reset_successors"] == 0


def test_equal_zeros_of_either_sign_are_duplicates():
    twice = {key: {1: getattr(log(), key)[0]} for key in ("obs", "action", "reward", "next_obs")}
    dataset = log()
    for key, values in twice.items():
        dataset = with_rows(dataset, key, values)
    assert inspect.summarize(with_rows(dataset, "reward", {1: -0.0}))["duplicate_rows"] == 1


def test_text_fits_one_screen():
    wide = log(obs=np.random.default_rng(0).normal(size=(6, 400)).astype(np.float32))
    text = inspect.format_summary(inspect.summarize(replace(wide, next_obs=wide.obs)))
    lines = text.split("\n")
    assert len(lines) <= 24 and max(map(len, lines)) <= 132
    assert "P-v0" in text and "75.0" in text and "394 more" in text
    unknown = inspect.format_summary(inspect.summarize(log(env_id=None, reference=None)))
    assert "not named" in unknown and "no reference returns" in unknown
