"""A session tells where what it meets is unlike the log that its policy was learned from."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from controlled import sessions
from moore.data.dataset import concatenate
from moore.errors import InputError
from moore.formats.npz import write_npz
from moore.sessions.likeness import UnlikeTheLog
from tiny import tiny_log


@pytest.fixture
def begin(quick_run, log_file, tmp_path):
    with sessions(quick_run, log_file, tmp_path) as begin:
        yield begin


def plant(session, steps, *, length=20, reward=lambda r: r, see=lambda obs, end: obs) -> list[str]:
    """Episodes of s' = 0.9 s + 0.1, from about -1.5; the warnings, in order."""
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(steps):
            if step % length == 0:
                obs = see(np.float32([-1.5 + 0.1 * rng.uniform(-1, 1)]), False)
            end = step % length == length - 1
            session.act(obs)
            after = see((0.9 * obs + 0.1).astype(np.float32), end)
            earned = reward(-float(obs[0] ** 2))
            session.observe(reward=earned, next_obs=after, truncated=end)
            obs = after
    return [str(one.message) for one in told if one.category is UnlikeTheLog]


def test_a_system_like_the_log_says_nothing(begin):
    assert plant(begin(), 120) == []


@pytest.mark.parametrize("cost", [lambda r: -r + 1e-3, lambda r: 1000.0 * r])
def test_costs_and_rewards_in_other_units_are_told_once(begin, cost):
    (text,) = plant(begin(), 250, reward=cost)
    assert "the rewards of the system are about" in text


def test_a_sensor_that_stands_still_is_told(begin):
    (text,) = plant(begin(), 120, see=lambda obs, end: np.float32([0.5]))
    assert "observation entries [0] have stood still" in text


def test_first_observations_in_the_place_of_last_ones_are_told(begin):
    rng = np.random.default_rng(1)

    def see(obs, end):
        return np.float32([-1.5 + 0.1 * rng.uniform(-1, 1)]) if end else obs

    (text,) = plant(begin(), 120, see=see)
    assert "it seems to reset itself" in text


def test_what_was_accepted_is_not_told(begin):
    session = begin(accept=("hand-over", "first-observation"))
    assert plant(session, 120, reward=lambda r: -r + 1e-3) == []


def test_where_another_controller_acts_other_units_are_told_too(begin):
    """The first observation stops nothing there, since the old controller goes on."""
    session = begin(controller=lambda obs: np.zeros_like(obs), mode="off")
    texts = plant(session, 120, see=lambda obs, end: obs + np.float32(100.0))
    assert any("most observations of the system hold values that the log never" in t for t in texts)


def test_episodes_that_end_earlier_than_those_of_evaluation_are_told(begin):
    (text,) = plant(begin(), 120, length=10)
    assert "cuts its episodes after 10 steps; the policy is learned" in text


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda log: {}, None),
        (lambda log: {"obs": -log.obs, "next_obs": -log.next_obs}, "has the other sign"),
        (lambda log: {"action": -log.action}, "action 0 has the other sign"),
        (lambda log: {"action": log.action / 5}, "action 0 is about 0.2 times as large"),
        (
            lambda log: {"reward": 10 * log.reward, "episode_returns": 10 * log.episode_returns},
            "rewards are about 10 times as large",
        ),
    ],
)
def test_an_added_log_of_another_law_is_told(begin, tmp_path, change, words):
    log = tiny_log(episodes=25, seed=5)
    write_npz(tmp_path / "more.npz", replace(log, **change(log)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert begin().add_log(tmp_path / "more.npz") == log.size
    texts = [str(one.message) for one in told if "change it back" in str(one.message)]
    assert len(texts) == (words is not None) and all(words in text for text in texts)


def in_text(log):
    """As a table of six digits holds it."""

    def rounded(values):
        flat = [float(f"{value:.6g}") for value in np.ravel(values)]
        return np.array(flat, np.float32).reshape(values.shape)

    return replace(log, obs=rounded(log.obs), next_obs=rounded(log.next_obs), sha256="of a table")


@pytest.mark.parametrize("made", [lambda log: log, in_text])
def test_rows_of_the_runs_log_are_refused_from_whatever_file_they_come(begin, made):
    session, log = begin(), made(tiny_log())
    with pytest.raises(InputError, match="rows are in the log of the run already"):
        session.add_log(log)
    assert session.add_log(log, accept=("known-rows",)) == log.size


def test_a_log_that_goes_on_after_the_runs_log_is_refused_for_the_rows_of_both(begin):
    both = concatenate([tiny_log(), tiny_log(seed=3)])
    with pytest.raises(InputError, match=f"{tiny_log().size} of its {both.size} rows"):
        begin().add_log(both)


def test_rows_that_were_added_before_are_refused(begin):
    session, log = begin(), tiny_log(seed=4)
    assert session.add_log(log) == log.size
    with pytest.raises(InputError, match="in what the session has met already"):
        session.add_log(log)


def test_an_episode_that_is_told_twice_is_told_once(begin):
    session, log = begin(), tiny_log(episodes=3, seed=8)
    blocks = [slice(first, first + 20) for first in (0, 20, 40)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for rows in (*blocks, blocks[1], blocks[2]):
            seen = np.vstack([log.obs[rows], log.next_obs[rows][-1:]])
            session.observe_episode(seen, log.action[rows], log.reward[rows])
    texts = [str(one.message) for one in told if one.category is UnlikeTheLog]
    assert len(texts) == 1 and "all 20 rows of this episode are in what the session" in texts[0]


def test_an_episode_with_gaps_is_taken_beside_others(begin):
    session, log = begin(), tiny_log(episodes=2, seed=9)
    for rows in (slice(20), slice(20, 40)):
        seen = np.vstack([log.obs[rows], log.next_obs[rows][-1:]])
        seen[3], reward = np.nan, np.where(np.arange(20) == 7, np.nan, log.reward[rows])
        assert len(session.observe_episode(seen, log.action[rows], reward)) == 20


def resting(log):
    """The log of a plant that rests in two of three rows."""
    rest = np.arange(log.size) % 3 > 0
    calm = {key: np.where(rest[:, None], 0, getattr(log, key)) for key in ("obs", "action")}
    reward = np.where(rest, 0, log.reward)
    return replace(log, reward=reward, episode_returns=reward.reshape(-1, 20).sum(axis=1), **calm)


def test_a_plant_that_rests_has_the_same_rows_again_and_they_are_taken(begin):
    session = begin()
    names = ("misplaced-successors", "broken-successors")
    session.add_log(resting(tiny_log(seed=6)), accept=(*names, "known-rows"))
    later = resting(tiny_log(seed=7))
    assert session.add_log(later, accept=names) == later.size
