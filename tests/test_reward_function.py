"""Rewards by a user's function, in place of a log's own or where it has none."""

from dataclasses import replace

import numpy as np
import pytest

from made_logs import refuses
from moore.config import Config
from moore.data.log import notes_of
from moore.formats.load import load_dataset, read_log

MODULE = """
import numpy as np

def level(obs, action, next_obs):
    assert obs.shape == next_obs.shape and len(action) == len(obs)
    return -abs(next_obs[:, 0] - 3) - action[:, 0]

def wrong_shape(obs, action, next_obs):
    return np.zeros((len(obs), 2))

def nothing(obs, action, next_obs):
    return np.full(len(obs), np.nan)

def masked(obs, action, next_obs):
    return np.ma.array(obs[:, 0], mask=obs[:, 0] > 1)

def turned(obs, action, next_obs):
    return obs[:, 0] * 1j

def fails(obs, action, next_obs):
    return obs["level"]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plant_rewards.py").write_text(MODULE)
    return tmp_path


def made(name="log.npz", *, terminated=(0, 0, 0, 0, 0), **more):
    arrays = {"obs": np.arange(10.0).reshape(5, 2), "action": np.ones((5, 1)) / 4}
    arrays |= {"reward": np.zeros(5), "terminated": np.array(terminated, bool)}
    arrays["truncated"] = np.array([0, 0, 1, 0, 1], bool) & ~arrays["terminated"]
    np.savez(name, **(arrays | more))
    return name


def test_the_function_sees_the_successor_and_no_row_without_one(folder):
    data = load_dataset(made(), reward="plant_rewards:level")
    assert data.obs[:, 0].tolist() == [0, 2, 6]
    assert data.reward.tolist() == [-abs(2 - 3) - 0.25, -abs(4 - 3) - 0.25, -abs(8 - 3) - 0.25]
    assert data.truncated.tolist() == [False, True, True]
    assert data.episode_returns.tolist() == [-2.5, -5.25]
    assert "plant_rewards:level" in notes_of(data.metadata)[-1]


def test_stored_successors_are_taken(folder):
    after = np.arange(10.0).reshape(5, 2) + 100
    name = made(next_obs=after, terminated=(0, 0, 0, 0, 1))
    data = load_dataset(name, reward=lambda obs, action, next_obs: next_obs[:, 0])
    assert data.reward.tolist() == after[:, 0].tolist() and data.terminated[-1]


def test_a_terminal_without_a_successor_has_no_reward(folder):
    name = made(terminated=(0, 0, 0, 0, 1))
    refuses("row 4 .* is terminal and its successor is not in the log", load_dataset, name,
            reward="plant_rewards:level")  # fmt: skip


@pytest.mark.parametrize(
    "function, message",
    [
        ("wrong_shape", r"returns the shape \(3, 2\) for 3 rows"),
        ("nothing", "returns nan for row 0"),
        ("masked", "returns nan for row 1"),
        ("turned", "its result holds complex numbers"),
        ("fails", "the reward plant_rewards:fails fails .IndexError"),
        ("absent", "plant_rewards has no function absent"),
    ],
)
def test_a_function_that_gives_no_rewards_is_one_error(folder, function, message):
    refuses(message, load_dataset, made(), reward=f"plant_rewards:{function}")


def test_other_rewards_are_another_data_set(folder):
    name = made()
    hashes = {load_dataset(name).sha256, load_dataset(name, reward="plant_rewards:level").sha256}
    (folder / "other_rewards.py").write_text(MODULE.replace("- 3", "- 4"))
    hashes.add(load_dataset(name, reward="other_rewards:level").sha256)
    assert len(hashes) == 3


def test_infos_stay_with_their_rows(folder):
    name = made(**{"infos/qpos": np.arange(5)})
    log = read_log(name, infos=True, exact=True, reward="plant_rewards:level")
    assert log.infos["qpos"].tolist() == [0, 1, 3]


def test_a_table_may_have_no_reward(folder):
    pytest.importorskip("pyarrow")
    (folder / "log.csv").write_text("x,u\n0,1\n1,1\n2,1\n")
    columns = {"obs": "x", "action": "u"}
    refuses("no column is named for reward", read_log, "log.csv", columns=columns)
    data = load_dataset("log.csv", columns=columns, reward="plant_rewards:level")
    assert data.reward.tolist() == [-3, -2]


def test_a_run_has_the_function_in_its_configuration(folder):
    from moore.runs.setup import prepare

    n = 20
    np.savez(
        "long.npz",
        obs=np.arange(2.0 * n).reshape(n, 2),
        action=np.zeros((n, 1)),
        reward=np.zeros(n),
        terminated=np.zeros(n, bool),
        truncated=np.arange(n) == n - 1,
    )
    env = "MountainCarContinuous-v0"
    told = {"reward": "plant_rewards:level", "termination": "never"}
    config = Config(dataset="long.npz", env_id=env, **told)
    setup = prepare(config)
    assert setup.dataset.reward.tolist() == [-abs(2 * i - 1) for i in range(n - 1)]
    assert setup.config.reward == "plant_rewards:level"
    again = prepare(setup.config, dataset=setup.dataset)  # as a run is resumed with its data set
    assert again.dataset.sha256 == setup.dataset.sha256
    other = replace(config, reward="plant_rewards:nothing")
    refuses("the data set is loaded already", prepare, other, dataset=setup.dataset)
