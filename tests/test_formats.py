"""Logs in D4RL's HDF5, as Minari sets and as .npz: what is written comes back the same."""

import os
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_logs import (
    EPISODES_OF,
    TARGETS,
    VERSIONS,
    content,
    d4rl_arrays,
    files,
    made,
    refuses,
    same_data,
    whole,
    write_d4rl_file,
)
from moore.data.log import Log
from moore.evaluation.scores import ReferenceScores
from moore.formats.load import load_dataset, read_log
from moore.formats.write import write_log

minari = pytest.importorskip("minari")

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Minari's own, and the working folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def through_minari(path, back="back.hdf5", dataset_id="made/log-v0"):
    write_log(f"minari:{dataset_id}", whole(path))
    write_log(back, whole(f"minari:{dataset_id}"))
    return back


# --- HDF5, to Minari, and back ---


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("last", ["open", "terminal", "timeout"])
def test_a_d4rl_file_comes_back_from_minari_as_it_was(version, last):
    episodes = [(3, "terminal"), (1000, "timeout"), (1, "terminal"), (6, last)]
    attributes = {"env_id": "Hopper-v5", "seed": 3, "lr": 3e-4, "sampled": True, "note": "µ"}
    path = made("log.hdf5", version, episodes, attributes)
    back = through_minari(path)
    assert content(back) == content(path)
    same_data(load_dataset(back), load_dataset(path))
    same_data(load_dataset("minari:made/log-v0"), load_dataset(path))


def test_every_key_and_attribute_comes_back():
    rows = sum(length for length, _ in EPISODES_OF)
    path = made(
        "log.hdf5",
        attributes={
            "curve": [[1, 2.5], [2, 3.5]],
            "algorithm": np.bytes_(b"SAC"),
            "ref_min_score": np.float32(1),
            "ref_max_score": 9,
            "tags": ["a", "b"],
            "step": np.int32(4),
            "empty": h5py.Empty("f4"),
        },
        **{
            "infos/qpos": np.random.default_rng(0).normal(size=(rows, 6)),
            "infos/qvel": np.zeros((rows, 5), np.float32),
            "infos/nested/step": np.arange(rows, dtype=np.uint16),
            "infos/of_no_row": np.zeros((rows + 1, 2)),
            "metadata/algorithm": "SAC",
            "metadata/iteration": 500,
            "metadata/policy/fc0/weight": np.ones((4, 2), np.float16),
            "labels": np.arange(rows),
            "rewards_of_expert": np.zeros(3),
        },
    )
    with h5py.File(path, "a") as file:
        file["observations"].attrs["unit"] = "m"
        file["infos"].attrs["version"] = 2
    log = whole(path)
    assert sorted(log.infos) == ["nested/step", "qpos", "qvel"]
    assert log.metadata["algorithm"] == "SAC" and log.reference.expert == 9
    back = through_minari(path)
    assert content(back) == content(path)
    write_log("direct.hdf5", log)
    assert content("direct.hdf5") == content(path)


@pytest.mark.parametrize(
    "change",
    [
        {"terminals": lambda x: x.astype(np.uint8)},
        {"terminals": lambda x: 2.0 * x, "timeouts": lambda x: x[:, None]},
        {"rewards": lambda x: x[:, None].astype(np.float64)},
        {"observations": lambda x: x.astype(np.float64)},
        {"next_observations": lambda x: x.astype(np.float64)},
        {"observations": lambda x: x.astype(np.int16), "actions": lambda x: x.astype(np.float16)},
        {"observations": lambda x: np.where(x == 0, np.float32("nan"), x)},
        {"observations": lambda x: np.abs(x) * 0, "next_observations": lambda x: np.abs(x) * -0.0},
    ],
)
def test_types_columns_and_bits_come_back(change):
    arrays = d4rl_arrays("v2", EPISODES_OF)
    arrays |= {key: np.asarray(make(arrays[key])) for key, make in change.items()}
    path = write_d4rl_file("log.hdf5", arrays)
    assert content(through_minari(path)) == content(path)


numbers = st.floats(-1e6, 1e6, width=32)
endings = st.sampled_from(["terminal", "timeout", "both"])


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_random_logs_come_back(tmp_path_factory, draw):
    version = draw.draw(st.sampled_from(VERSIONS))
    episodes = draw.draw(st.lists(st.tuples(st.integers(1, 6), endings), max_size=6))
    if version == "v0":  # where time-outs are not recorded, they fall on the limit
        episodes = [(n, "terminal") if end != "timeout" else (1000, end) for n, end in episodes]
    episodes += [(draw.draw(st.integers(1, 5)), draw.draw(st.sampled_from(["open", "terminal"])))]
    arrays = d4rl_arrays(version, episodes, dtype=draw.draw(st.sampled_from(["f4", "f8"])))
    rows = len(arrays["rewards"])
    names = st.text("abc/", min_size=1).filter(lambda name: "//" not in f"/{name}/")
    for name in draw.draw(st.lists(names, max_size=2, unique=True)):
        name = name.replace("/", "_x/x")
        arrays[f"infos/{name}"] = np.arange(2.0 * rows).reshape(rows, 2)
    plain = st.one_of(numbers, st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1))
    keys = st.text(min_size=1).filter(lambda key: "\0" not in key and key == key.strip())
    told = draw.draw(st.dictionaries(keys, plain, max_size=4))
    log = Log(
        arrays["observations"],
        arrays["actions"],
        arrays["rewards"],
        arrays["terminals"],
        arrays.get("timeouts"),
        arrays.get("next_observations"),
        name="drawn",
        infos={k.removeprefix("infos/"): v for k, v in arrays.items() if k.startswith("infos/")},
        metadata=told,
    )
    folder = tmp_path_factory.mktemp("drawn")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    write_log(folder / "log.hdf5", log)
    first = whole(folder / "log.hdf5")
    assert {key: first.metadata[key] for key in told} == told
    back = through_minari(folder / "log.hdf5", folder / "back.hdf5")
    assert content(back) == content(folder / "log.hdf5")
    stored = content(back)
    for key, value in arrays.items():
        assert stored[key] == (value.dtype, value.shape, value.tobytes())


@pytest.mark.parametrize("name", ["hopper-expert", "halfcheetah-random"])
def test_a_real_log_comes_back(name):
    path = LOGS / f"{name}.hdf5"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository (../shared/data)")
    assert content(through_minari(path)) == content(path)


# --- Minari's side of it ---


def test_minari_loads_what_was_written_and_knows_its_environment():
    path = made("log.hdf5", attributes={"env_id": "Pendulum-v1", "algorithm": "SAC"})
    with h5py.File(path, "a") as file:
        for key in ("observations", "next_observations"):
            values = np.repeat(file[key][()][:, :1], 3, axis=1)
            del file[key]
            file[key] = values
        file.attrs.update({"ref_min_score": -1500.0, "ref_max_score": -100.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_log("minari:pendulum/own/sac-v3", whole(path))
        dataset = minari.load_dataset("pendulum/own/sac-v3")
    assert list(minari.list_local_datasets()) == ["pendulum/own/sac-v3"]
    assert (dataset.total_episodes, dataset.total_steps) == (5, 15)
    assert dataset.env_spec.id == "Pendulum-v1"
    env = dataset.recover_environment()
    assert (env.observation_space, env.action_space) == (
        dataset.observation_space, dataset.action_space,
    )  # fmt: skip
    scores = minari.get_normalized_score(dataset, np.array([-1500.0, -100.0]))
    np.testing.assert_array_equal(scores, [0, 1])
    raw = dataset.storage.metadata
    assert raw["algorithm_name"] == "SAC" and "Pendulum-v1" in raw["description"]
    first, *_, last = dataset.iterate_episodes()
    assert first.observations.shape == (4, 3) and first.actions.shape == (3, 1)
    np.testing.assert_array_equal(first.observations[:, 0], [0, 1, 2, 3])
    assert first.terminations.tolist() == [False, False, True]
    assert last.truncations.tolist() == [False, True]  # unfinished: Minari ends it there


def test_an_environment_that_gymnasium_does_not_know_is_described_by_the_data():
    path = made("log.hdf5", attributes={"env_id": "MyPlant-v0", "ref_min_score": 0.0})
    log = replace(whole(path), reference=ReferenceScores(0.0, 2.0, source="measured"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_log("minari:plant-v0", log)
    dataset = minari.load_dataset("plant-v0")
    assert dataset.env_spec is None
    assert dataset.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert dataset.action_space.contains(log.action[4])
    assert minari.get_normalized_score(dataset, np.array([1.0])) == 0.5
    back = read_log("minari:plant-v0")
    assert (back.env_id, back.reference) == ("MyPlant-v0", log.reference)


def test_an_observation_that_the_log_has_not_is_marked():
    path = made("log.hdf5", "v1", **{"infos/k": np.arange(15)})
    write_log("minari:made/v1-v0", whole(path))
    for episode in minari.load_dataset("made/v1-v0").iterate_episodes():
        np.testing.assert_array_equal(episode.observations[-1], episode.observations[-2])
        expected = [True] * len(episode) + [False]
        assert episode.infos["moore_observed"].tolist() == expected
        assert len(episode.infos["k"]) == len(episode) + 1
    log = read_log("minari:made/v1-v0", infos=True)
    assert log.next_obs is None and log.successor_known is None
    np.testing.assert_array_equal(log.infos["k"], np.arange(15))


def test_unknown_successors_on_terminal_rows_come_back_unknown():
    write_log("a.npz", read_log(made("log.hdf5", "v1")))
    known = load_dataset("a.npz")
    log = Log(
        known.obs, known.action, known.reward, known.terminated, known.truncated, known.next_obs,
        name="kept rows", successor_known=known.successor_known,
        episode_returns=known.episode_returns, episode_lengths=known.episode_lengths,
    )  # fmt: skip
    assert not log.successor_known.all() and log.successor_known.any()
    for target in TARGETS:
        write_log(target, log)
        same_data(load_dataset(target), known)


def test_infos_of_minaris_own_collector_are_those_of_the_observation():
    class Counted(gymnasium.Wrapper):
        def reset(self, **kwargs):
            obs, _ = self.env.reset(**kwargs)
            return obs, {"state": {"obs": obs.copy()}}

        def step(self, action):
            obs, *rest, _ = self.env.step(action)
            return obs, *rest, {"state": {"obs": obs.copy()}}

    env = Counted(gymnasium.make("Pendulum-v1", max_episode_steps=4))
    collector = minari.DataCollector(env, record_infos=True)
    for seed in range(2):
        collector.reset(seed=seed)
        for _ in range(4):
            collector.step(collector.action_space.sample())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collector.create_dataset(dataset_id="own-v0")
    collector.close()
    log = read_log("minari:own-v0", infos=True, exact=True)
    np.testing.assert_array_equal(log.infos["state/obs"], log.obs)
    write_log("own.hdf5", log)
    np.testing.assert_array_equal(whole("own.hdf5").infos["state/obs"], log.obs)
    same_data(load_dataset("own.hdf5"), load_dataset("minari:own-v0"))


def test_sets_share_a_namespace(folder):
    log = whole(made("log.hdf5"))
    for dataset_id in ("one/two/a-v0", "one/b-v0", "one/two/three/c-v0"):
        write_log(f"minari:{dataset_id}", log)
        refuses("exists already", write_log, f"minari:{dataset_id}", log)
    assert list(minari.list_local_datasets()) == ["one/b-v0", "one/two/a-v0", "one/two/three/c-v0"]
    assert minari.namespace.list_local_namespaces() == ["one", "one/two", "one/two/three"]
    assert os.listdir(folder / "sets") == ["one"]


def test_a_log_that_jumps_inside_an_episode_is_no_minari_set(folder):
    arrays = d4rl_arrays("v2", EPISODES_OF)
    arrays["next_observations"][[1, 5]] += 0.5
    path = write_d4rl_file("log.hdf5", arrays)
    match = "next_obs of 2 rows inside an episode .*first: row 1.*as time-outs.*\\.hdf5 or \\.npz"
    refuses(match, write_log, "minari:made/jump-v0", whole(path))
    assert files(folder / "sets") == {}
    write_log("out.npz", whole(path))


@pytest.mark.parametrize(
    "dataset_id", ["", "noversion", "made/log", "a b-v0", "../x-v0", "/made/log-v0x"]
)
def test_what_is_no_minari_id(dataset_id):
    match = "is not the id of a Minari set; expected NAMESPACE/NAME-vN"
    refuses(match, write_log, f"minari:{dataset_id}", whole(made("log.hdf5")))


@pytest.mark.parametrize("damage", ["cut", "text", "key", "steps"])
def test_a_damaged_minari_set_is_refused(damage, folder):
    write_log("minari:made/log-v0", whole(made("log.hdf5")))
    data = folder / "sets/made/log-v0/data/main_data.hdf5"
    if damage == "cut":
        data.write_bytes(data.read_bytes()[:3000])
    elif damage == "text":
        data.write_text("hello")
    elif damage == "key":
        with h5py.File(data, "a") as file:
            del file["episode_2/rewards"]
    else:
        text = data.with_name("metadata.json")
        text.write_text(text.read_text().replace('"total_steps": 15', '"total_steps": 14'))
    refuses("minari:made/log-v0: cannot be read", load_dataset, "minari:made/log-v0")


def test_minari_subsets_are_whole_episodes():
    path = made("log.hdf5")
    write_log("minari:made/log-v0", whole(path))
    a, b = load_dataset("minari:made/log-v0", max_rows=9), load_dataset(path, max_rows=9)
    same_data(a, b)
    assert a.metadata["subset"] == {k: b.metadata["subset"][k] for k in a.metadata["subset"]}
    assert a.sha256 != load_dataset("minari:made/log-v0", max_rows=9, seed=3).sha256
    joined = load_dataset(f"minari:made/log-v0,{path}", max_rows=18)
    assert joined.size == a.size + b.size
