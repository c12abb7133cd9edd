"""Which episodes of a log are whole, and what they earned: those with which others are compared."""

import numpy as np
import pytest

from moore.data.dataset import from_log
from moore.data.log import Log
from moore.data.whole import are_whole, comparable_returns, whole_returns

STEPS = 200


def log(*episodes, successors=True):
    """A log of episodes that earn -1 a step: (number of steps, whether the system ended it)."""
    lengths = [steps for steps, _ in episodes]
    ends = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, sum(lengths)), bool)
    terminated[ends] = [ended for _, ended in episodes]
    truncated[ends] = ~terminated[ends]
    obs = np.arange(sum(lengths), dtype=float)[:, None]
    next_obs = obs + 1.0 if successors else None
    rows = {"obs": obs, "action": np.zeros_like(obs), "next_obs": next_obs, "name": "made"}
    flags = {"terminated": terminated, "truncated": truncated}
    return from_log(Log(**rows, **flags, reward=-np.ones(len(obs))))


def test_an_episode_that_a_gap_has_cut_short_is_not_whole():
    made = log((STEPS, False), (130, False), (69, False), (STEPS, False))
    assert are_whole(made, STEPS).tolist() == [True, False, False, True]
    assert whole_returns(made, STEPS).tolist() == [-200.0, -200.0]


def test_one_that_the_system_ended_is_whole_and_earned_what_it_earned():
    made = log((30, True), (STEPS, False), (90, False))
    assert whole_returns(made, STEPS).tolist() == [-30.0, -200.0]


def test_a_row_or_so_that_is_missing_counts_as_the_others_did():
    assert whole_returns(log((199, False), (198, False)), STEPS) == pytest.approx([-200.0, -200.0])


def test_the_last_row_of_an_episode_may_have_no_successor():
    made = log((STEPS, False), (STEPS, False), successors=False)
    assert len(made.obs) == 2 * (STEPS - 1)
    assert whole_returns(made, STEPS).tolist() == [-200.0, -200.0]


def test_rows_after_the_last_end_make_no_other_episode_whole():
    made = log((STEPS, False), (60, False), (50, False))
    made.truncated[-1] = False
    open_end = from_log(
        Log(**{name: getattr(made, name) for name in ("obs", "action", "reward", "next_obs")},
            terminated=made.terminated, truncated=made.truncated, name="made")
    )  # fmt: skip
    assert whole_returns(open_end, STEPS).tolist() == [-200.0]


class TestComparable:
    def test_where_episodes_have_a_length_only_whole_ones_are_compared(self):
        made = log(*[(STEPS, False)] * 3, (130, False), (69, False))
        assert comparable_returns(made, STEPS).tolist() == [-200.0] * 3

    def test_batches_that_take_as_long_as_they_take_all_count(self):
        made = log((STEPS, False), (120, False), (150, False), (90, False))
        assert comparable_returns(made, STEPS).tolist() == [-200.0, -120.0, -150.0, -90.0]
