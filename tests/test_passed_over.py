"""Arrays with what a log seems to lack are known by what they hold, whatever they are called."""

import h5py
import numpy as np
import pytest

from made_logs import refuses, write_d4rl_file
from moore.data.log import notes_of
from moore.formats.load import load_dataset

EPISODES, STEPS = 12, 30


def arrays(**more):
    """Episodes of a slow walk, without successors and time-outs."""
    dice = np.random.default_rng(0)
    walk = dice.normal(0, 0.1, (EPISODES, STEPS + 1, 2)).cumsum(axis=1)
    rows = EPISODES * STEPS
    made = {
        "observations": walk[:, :-1].reshape(rows, 2),
        "actions": dice.uniform(-1, 1, (rows, 1)),
        "rewards": dice.normal(size=rows),
        "terminals": np.zeros(rows, bool),
    }
    return made | more, walk[:, 1:].reshape(rows, 2)


LAST = np.arange(EPISODES * STEPS) % STEPS == STEPS - 1
FIRST = np.roll(LAST, 1)
EPISODE = np.repeat(np.arange(EPISODES), STEPS)
STEP = np.tile(np.arange(STEPS), EPISODES)


@pytest.mark.parametrize("name", ["o2", "s_prime", "future", "resulting", "infos/after"])
def test_an_array_of_the_next_observations_is_refused_under_any_name(name, tmp_path):
    made, after = arrays(timeouts=LAST)
    path = write_d4rl_file(tmp_path / "log.hdf5", made | {name: after})
    refuses(f"'{name}' holds the next row's observation.* next_observations", load_dataset, path)


def test_an_archive_is_searched_likewise(tmp_path):
    made, after = arrays(timeouts=LAST)
    names = {"observations": "obs", "actions": "action", "rewards": "reward"}
    names |= {"terminals": "terminated", "timeouts": "truncated"}
    made = {names[key]: value for key, value in made.items()}
    np.savez(tmp_path / "log.npz", **made, following=after)
    refuses("'following' holds the next row's obs", load_dataset, tmp_path / "log.npz")
    flags = {"terminated": LAST, "truncated": LAST}
    np.savez(tmp_path / "log.npz", **(made | flags), following=made["obs"])
    assert load_dataset(tmp_path / "log.npz").size


def test_what_only_looks_like_observations_is_told_and_not_refused(tmp_path):
    made, _ = arrays(timeouts=LAST)
    noisy = made["observations"] + 0.01
    data = load_dataset(write_d4rl_file(tmp_path / "log.hdf5", made | {"raw": noisy}))
    assert "the array raw has the shape of the observations" in " ".join(notes_of(data.metadata))


def test_with_stored_successors_no_other_array_matters(tmp_path):
    made, after = arrays(timeouts=LAST, episode_id=EPISODE)
    made |= {"next_observations": after, "o2": after}
    data = load_dataset(write_d4rl_file(tmp_path / "log.hdf5", made))
    assert data.size == EPISODES * STEPS and notes_of(data.metadata) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("episode_id", EPISODE),
        ("traj_index", EPISODE[:, None] + 7.0),
        ("step", STEP),
        ("t", STEP * 0.02),
        ("is_first", FIRST),
        ("infos/episode", EPISODE),
    ],
)
def test_an_array_that_says_where_episodes_end_is_not_passed_over(name, values, tmp_path):
    made, _ = arrays()
    path = write_d4rl_file(tmp_path / "log.hdf5", made | {name: values})
    refuses(f"'{name}' says that {EPISODES - 1} rows .*first: row {STEPS - 1}", load_dataset, path)
    flagged = write_d4rl_file(tmp_path / "log.hdf5", made | {name: values, "timeouts": LAST})
    assert load_dataset(flagged).truncated.sum() == EPISODES


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("step", np.arange(EPISODES * STEPS)),  # of the whole log
        ("episode_id", np.zeros(EPISODES * STEPS)),  # one episode
        ("t", np.sin(np.arange(EPISODES * STEPS))),  # a signal
        ("phase", STEP),  # a clock that goes round
        ("first", np.ones(EPISODES * STEPS)),
    ],
)
def test_arrays_that_say_nothing_of_ends_are_left_alone(name, values, tmp_path):
    made, _ = arrays()
    path = write_d4rl_file(tmp_path / "log.hdf5", made | {name: values})
    assert load_dataset(path, max_episode_steps=STEPS).truncated.sum() == EPISODES


def test_links_and_damage_elsewhere_do_not_spoil_a_log(tmp_path):
    made, after = arrays(timeouts=LAST)
    other = write_d4rl_file(tmp_path / "other.hdf5", {"o2": after})
    path = write_d4rl_file(tmp_path / "log.hdf5", made)
    with h5py.File(path, "a") as file:
        file["linked"] = h5py.ExternalLink(str(other), "o2")
        file["nowhere"] = h5py.SoftLink("/not/there")
    assert load_dataset(path).size
