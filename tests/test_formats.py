"""Logs in D4RL's HDF5, as Minari sets and as .npz: what is written comes back the same."""

import itertools
import json
import os
import time
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_logs import VERSIONS, content, d4rl_arrays, write_d4rl_file
from moore.cli import main
from moore.data.dataset import EPISODES, MATRICES, VECTORS
from moore.data.load import load_dataset, read_log
from moore.data.log import Log
from moore.data.write import write_log
from moore.errors import InputError
from moore.evaluation.scores import ReferenceScores

minari = pytest.importorskip("minari")

LOGS = Path(__file__).resolve().parents[2] / "shared" / "data"
EPISODES_OF = [(3, "terminal"), (5, "timeout"), (1, "terminal"), (4, "both"), (2, "open")]
TARGETS = ("out.hdf5", "out.h5", "out.npz", "minari:made/out-v0")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Minari's own, and the working folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(path, version="v2", episodes=EPISODES_OF, attributes=None, **extra):
    return write_d4rl_file(path, d4rl_arrays(version, episodes) | extra, attributes)


def whole(source):
    return read_log(source, infos=True, exact=True)


def through_minari(path, back="back.hdf5", dataset_id="made/log-v0"):
    write_log(f"minari:{dataset_id}", whole(path))
    write_log(back, whole(f"minari:{dataset_id}"))
    return back


def same_data(a, b):
    for key in MATRICES + VECTORS + EPISODES:
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key), err_msg=key)
    assert (a.env_id, a.reference) == (b.env_id, b.reference)


def refuses(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as raised:
        function(*args, **kwargs)
    assert "\n" not in str(raised.value)


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


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
        refuses("is there already", write_log, f"minari:{dataset_id}", log)
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
    match = "no id of a Minari set; expected NAMESPACE/NAME-vN"
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


# --- npz and HDF5 ---


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_format_makes_the_same_data_set(version, target):
    episodes = [(3, "terminal"), (1000, "timeout"), (6, "terminal"), (2, "open")]
    attributes = {"env_id": "Hopper-v5", "curve": [1, 2], "seed": 4}
    path = made("log.hdf5", version, episodes, attributes, **{"infos/k": np.arange(1011)})
    write_log(target, whole(path))
    same_data(load_dataset(target), load_dataset(path))
    back = read_log(target, infos=True)
    np.testing.assert_array_equal(back.infos["k"], np.arange(1011))
    assert back.metadata["seed"] == 4 and back.obs.dtype == np.float32
    assert read_log(target).infos == {}


@pytest.mark.parametrize("target", TARGETS)
def test_metadata_of_any_shape_come_back(target):
    told = {"sac": {"hidden": [64, 64], "lr": 1e-3}, "seed": 3, "none": None, "big": 2**70}
    told |= {"text": "a\0b", "list": [1, "b", None], "moore": "mine"}
    reference = ReferenceScores(-3.5, 7.25, source="20 episodes each")
    log = replace(whole(made("log.hdf5")), env_id="Own-v0", reference=reference, metadata=told)
    write_log(target, log)
    back = read_log(target)
    assert {key: back.metadata[key] for key in told} == told
    assert (back.env_id, back.reference) == ("Own-v0", reference)


def test_the_same_log_gives_the_same_bytes(folder, monkeypatch):
    log = whole(made("log.hdf5", "v1", **{"infos/k": np.arange(15), "metadata/policy": np.eye(2)}))
    written = []
    for name in ("first", "second"):
        (folder / name).mkdir()
        monkeypatch.chdir(folder / name)
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / name))
        for target in TARGETS:
            write_log(target, log)
        written.append(files(folder / name))
        time.sleep(1.1)  # HDF5 counts in seconds
    assert written[0] == written[1]
    assert {"out.hdf5", "out.npz", "made/out-v0/data/main_data.hdf5"} < written[0].keys()


def test_damaged_bytes_of_a_written_file_are_detected(folder):
    rng = np.random.default_rng(0)
    log = whole(made("log.hdf5", episodes=[(500, "timeout")] * 4))
    noise = rng.normal(size=log.obs.shape).astype(np.float32)
    write_log("out.hdf5", replace(log, obs=noise, next_obs=noise))
    with h5py.File("out.hdf5") as file:
        chunk = file["observations"].id.get_chunk_info(0)
        assert file["observations"].fletcher32 and file["observations"].compression == "gzip"
    content = bytearray((folder / "out.hdf5").read_bytes())
    for offset in range(0, chunk.size, 97):
        damaged = content.copy()
        damaged[chunk.byte_offset + offset] ^= 0x10
        (folder / "out.hdf5").write_bytes(damaged)
        refuses("out.hdf5: cannot be read as HDF5", load_dataset, "out.hdf5")


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_overwritten(target, folder):
    log = whole(made("log.hdf5"))
    write_log(target, log)
    before = files(folder)
    refuses("is there already; choose another", write_log, target, log)
    assert files(folder) == before


@pytest.mark.parametrize("target", TARGETS)
def test_a_failure_leaves_nothing(target, folder, monkeypatch):
    log = whole(made("log.hdf5"))
    before = files(folder)

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    broken = "rename" if target.startswith("minari") else "replace"
    monkeypatch.setattr(os, broken, full_disk)
    refuses("cannot be written .*No space left", write_log, target, log)
    assert files(folder) == before


@pytest.mark.parametrize(
    ("out", "format", "match"),
    [
        ("out.csv", None, "'out.csv': no name for a log; expected path.hdf5"),
        ("out.npz", "d4rl", "'out.npz' in format d4rl: no name"),
        ("minari:made/x-v0", "npz", "in format npz: no name"),
        ("out.hdf5", "csv", "format is 'csv'; expected one of d4rl, minari, npz"),
        ("none/out.hdf5", None, "no folder none; make it"),
    ],
)
def test_a_name_that_cannot_be_written(out, format, match):
    refuses(match, write_log, out, whole(made("log.hdf5")), format)


def test_arrays_that_hdf5_cannot_store_are_told(folder):
    log = whole(made("log.hdf5"))
    refuses("out.hdf5: cannot be written", write_log, "out.hdf5",
            replace(log, infos={"what": np.array([{}] * log.size)}))  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == ["log.hdf5"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"infos/k": np.zeros(3)}, r"infos/k has shape \(3,\); expected 15 rows"),
        ({"successor_known": np.ones(3, bool)}, "lengths differ"),
        ({"episode_returns": np.zeros((2, 2))}, "expected .episodes,. in both"),
        ({"episode_returns": np.zeros(3)}, r"have shapes \(3,\) and \(4,\)"),
    ],
)
def test_npz_arrays_that_do_not_fit(change, match):
    log = whole(made("log.hdf5"))
    arrays = {key: getattr(log, key) for key in ("obs", "action", "reward", "next_obs")}
    arrays |= {"terminated": log.terminated, "truncated": log.truncated}
    arrays |= {"episode_returns": np.zeros(4), "episode_lengths": np.ones(4)}
    np.savez("bad.npz", **(arrays | change))

    def load():
        read_log("bad.npz", infos=True)
        load_dataset("bad.npz")

    refuses(match, load)


# --- moore convert ---


def test_convert_writes_a_log_in_another_format(capsys):
    path = made("log.hdf5", attributes={"env_id": "P-v0"}, **{"infos/k": np.arange(15)})
    chain = [str(path), "minari:made/log-v0", "log.npz", "again.hdf5"]
    for source, out in itertools.pairwise(chain):
        main(["convert", source, "--out", out])
        assert capsys.readouterr().out == f"{out}: 15 rows of P-v0, infos k\n"
    arrays = {key: value for key, value in content("again.hdf5").items() if "@" not in key}
    for key, value in arrays.items():
        assert value == content(path)[key], key


def test_convert_of_a_part_prints_json(capsys):
    made("log.hdf5", episodes=[(4, "timeout")] * 10)
    main(["convert", "log.hdf5", "--out", "part.npz", "--max-rows", "13", "--seed", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    subset = {"rows": 12, "episodes": 3, "of_rows": 40, "of_episodes": 10, "seed": 2}
    assert told == {
        "source": "log.hdf5", "out": "part.npz", "format": "npz", "rows": 12, "env_id": None,
        "infos": [], "subset": subset,
    }  # fmt: skip
    same_data(load_dataset("part.npz"), load_dataset("log.hdf5", max_rows=13, seed=2))
