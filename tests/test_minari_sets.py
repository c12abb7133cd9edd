"""Minari data sets: a small local one, written and read back."""

import warnings

import gymnasium
import numpy as np
import pytest

from moore.data.log import notes_of
from moore.errors import InputError
from moore.formats.load import load_dataset

minari = pytest.importorskip("minari")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def record(env_id, dataset_id, episodes, *, wrap=lambda env: env, **metadata):
    """Write `episodes` of random actions, and return them as Minari reads them."""
    collector = minari.DataCollector(wrap(gymnasium.make(env_id, max_episode_steps=5)))
    for seed in range(episodes):
        collector.reset(seed=seed)
        collector.action_space.seed(seed)
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = collector.step(collector.action_space.sample())
            ended = terminated or truncated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one for every metadata field left out
        written = collector.create_dataset(dataset_id=dataset_id, **metadata)
        collector.close()
    return list(written.iterate_episodes())


def test_minari_episodes_come_back_with_their_true_successors():
    scores = {"ref_min_score": -1500.0, "ref_max_score": -150.0}
    metadata = {"algorithm_name": "uniform", "num_episodes_average_score": 1}
    episodes = record("Pendulum-v1", "pendulum/test-v0", 3, **scores, **metadata)
    data = load_dataset("minari:pendulum/test-v0")
    assert (data.size, data.obs_dim, data.action_dim) == (15, 3, 1)
    before = np.concatenate([episode.observations[:-1] for episode in episodes])
    after = np.concatenate([episode.observations[1:] for episode in episodes])
    np.testing.assert_array_equal(data.obs, before.astype(np.float32))
    np.testing.assert_array_equal(data.next_obs, after.astype(np.float32))
    assert data.successor_known.all() and not data.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(data.truncated), [4, 9, 14])
    returns = [episode.rewards.sum() for episode in episodes]
    np.testing.assert_allclose(data.episode_returns, returns, rtol=1e-12)
    assert data.env_id == "Pendulum-v1" and data.name == "minari:pendulum/test-v0"
    assert (data.reference.random, data.reference.expert) == (-1500.0, -150.0)
    assert data.metadata["algorithm_name"] == "uniform"
    assert len(data.sha256) == 64 and data.sha256 == load_dataset(data.name).sha256


def test_wrappers_that_no_id_makes_are_told():
    rescale = lambda env: gymnasium.wrappers.RescaleAction(env, -1.0, 1.0)  # noqa: E731
    record("Pendulum-v1", "pendulum/scaled-v0", 1, wrap=rescale)
    (note,) = notes_of(load_dataset("minari:pendulum/scaled-v0").metadata)
    assert "recorded under RescaleAction, which no id makes" in note
    record("Pendulum-v1", "pendulum/plain-v0", 1)
    assert notes_of(load_dataset("minari:pendulum/plain-v0").metadata) == []


def test_episodes_without_a_flag_end_where_minari_ends_them():
    buffer = minari.data_collector.EpisodeBuffer(
        observations=np.arange(4.0)[:, None],
        actions=np.zeros((3, 1)),
        rewards=[1.0, 2.0, 3.0],
        terminations=[False] * 3,
        truncations=[False] * 3,
    )
    box = gymnasium.spaces.Box(-9, 9, (1,), np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            "plain-v0", [buffer, buffer], observation_space=box, action_space=box
        )
    data = load_dataset("minari:plain-v0")
    np.testing.assert_array_equal(data.next_obs[:, 0], [1, 2, 3, 1, 2, 3])
    np.testing.assert_array_equal(data.truncated, [False, False, True] * 2)
    np.testing.assert_array_equal(data.episode_returns, [6, 6])
    assert data.env_id is None and data.reference is None


def test_discrete_actions_are_refused():
    record("CartPole-v1", "cartpole/test-v0", 1)
    with pytest.raises(InputError, match=r"the action space is Discrete\(2\).*expected a Box"):
        load_dataset("minari:cartpole/test-v0")


@pytest.mark.parametrize("dataset_id", ["mujoco/hopper/medium-v0", "no version"])
def test_unknown_sets_say_how_to_download(dataset_id):
    with pytest.raises(InputError, match=rf"--download.*minari download {dataset_id}"):
        load_dataset(f"minari:{dataset_id}")


@pytest.mark.parametrize("error", [ConnectionError("no network"), ValueError("no such id")])
def test_failed_downloads_are_input_errors(monkeypatch, error):
    def fail(dataset_id, download):
        assert download
        raise error

    monkeypatch.setattr(minari, "load_dataset", fail)
    with pytest.raises(InputError, match=f"cannot be loaded .{error}"):
        load_dataset("minari:mujoco/hopper/medium-v0", download=True)
