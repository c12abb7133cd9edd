"""A data set that is given as an object: arrays of any type, and returns of other rewards."""

from dataclasses import replace

import numpy as np
import pytest

from made_logs import refuses
from moore.formats.load import load_dataset
from tiny import tiny_log

LOG = tiny_log()


def test_a_sound_one_stays_as_it_is():
    assert load_dataset(LOG) is LOG


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("obs", lambda x: x.astype(np.float64)),
        ("obs", lambda x: x.astype(object)),
        ("reward", lambda x: x.astype(np.float64)),
        ("truncated", lambda x: 2 * x.astype(int)),
        ("terminated", lambda x: x.astype(np.float32)),
        ("successor_known", lambda x: x.astype(object)),
        ("next_obs", lambda x: np.ma.array(x, mask=False)),
    ],
)
def test_arrays_of_another_type_become_those_that_it_names(key, change):
    changed = load_dataset(replace(LOG, **{key: change(getattr(LOG, key))}))
    found, expected = getattr(changed, key), getattr(LOG, key)
    assert type(found) is np.ndarray and found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_whole_numbers_as_actions_are_no_reason_to_round_those_that_come():
    changed = load_dataset(replace(LOG, action=np.rint(LOG.action).astype(int)))
    assert changed.action.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"obs": np.ma.array(LOG.obs, mask=LOG.obs > 1)}, "obs holds .* values that are NaN"),
        ({"obs": LOG.obs.astype(str)}, "obs holds text"),
        ({"action": np.full((LOG.size, 1), {})}, "action is a ndarray that is no array of numbers"),
        ({"truncated": np.arange(LOG.size)}, "truncated holds .* expected flags"),
        ({"truncated": np.full(LOG.size, None)}, "truncated holds NaN"),
        ({"reward": -LOG.reward}, "episode_returns has .* its rewards add up to"),
        ({"reward": LOG.reward[:, None]}, r"reward has shape \(300, 1\)"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(changes, words):
    refuses(words, load_dataset, replace(LOG, **changes))


def test_rewards_are_replaced_together_with_the_returns():
    rewards = -LOG.reward
    new = replace(LOG, reward=rewards, episode_returns=rewards.reshape(15, 20).sum(axis=1))
    assert load_dataset(new) is new
