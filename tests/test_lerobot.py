"""LeRobot folders of versions 2.1 and 3: Parquet files below data/, described in meta/."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
from pyarrow import parquet

from made_logs import refuses
from moore.data.log import notes_of
from moore.formats.load import load_dataset, read_log

LENGTHS = (4, 3, 5)


FEATURES = {
    "observation.state": {"dtype": "float32", "shape": [14]},
    "action": {"dtype": "float32", "shape": [1]},
    "next.reward": {"dtype": "float32", "shape": [1]},
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(*, reward):
    n = sum(LENGTHS)
    k = np.arange(n, dtype=np.float32)
    frame = np.concatenate([np.arange(m) for m in LENGTHS])
    ends = np.zeros(n, bool)
    ends[np.cumsum(LENGTHS) - 1] = True
    state = pa.array(np.stack([k, -k], axis=1).tolist(), pa.list_(pa.float32(), 2))
    columns = {
        "observation.state": state,
        "action": pa.array([[v] for v in (k / 4).tolist()], pa.list_(pa.float32())),
        "next.reward": pa.array(k * 10),
        "next.done": pa.array(ends),
        "timestamp": pa.array((frame / 50).astype(np.float32)),
        "frame_index": pa.array(frame),
        "episode_index": pa.array(np.repeat(np.arange(len(LENGTHS)), LENGTHS)),
        "index": pa.array(np.arange(n)),
        "task_index": pa.array(np.zeros(n, np.int64)),
    }
    if not reward:
        del columns["next.reward"]
    return pa.table(columns)


def made(version="v3.0", *, reward=True, name="robot"):
    root = Path(name)
    (root / "meta").mkdir(parents=True)
    (root / "data" / "chunk-000").mkdir(parents=True)
    whole = table(reward=reward)
    features = {
        key: {"dtype": "float32", "shape": [1], "names": None} for key in whole.schema.names
    }
    features["observation.state"] |= {"shape": [2], "names": {"motors": ["shoulder", "elbow"]}}
    features["observation.images.top"] = {"dtype": "video", "shape": [480, 640, 3], "names": None}
    info = {"codebase_version": version, "robot_type": "so100", "fps": 50, "features": features,
            "total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS)}  # fmt: skip
    (root / "meta" / "info.json").write_text(json.dumps(info))
    if version.startswith("v2"):
        cuts, names = np.cumsum((0, *LENGTHS)), "episode_{:06d}"
        (root / "meta" / "episodes.jsonl").write_text('{"episode_index": 0, "length": 4}\n')
    else:
        cuts, names = (0, 5, sum(LENGTHS)), "file-{:03d}"  # an episode over two files
        (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        parquet.write_table(
            pa.table({"episode_index": [0, 1, 2]}),
            root / "meta" / "episodes" / "chunk-000" / "file-000.parquet",
        )
    for i in range(len(cuts) - 1):
        part = whole.slice(cuts[i], cuts[i + 1] - cuts[i])
        parquet.write_table(part, root / "data" / "chunk-000" / (names.format(i) + ".parquet"))
    return name


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v3.0"])
def test_a_folder_is_read_with_its_names(folder, version):
    log = read_log(made(version))
    assert log.obs[:, 0].tolist() == list(range(12)) and log.action[:, 0].tolist() == [
        v / 4 for v in range(12)
    ]
    assert log.reward.tolist() == [10 * v for v in range(12)]
    assert log.metadata["obs_names"] == ["shoulder", "elbow"] and log.metadata["fps"] == 50
    assert np.flatnonzero(log.truncated).tolist() == [3, 6, 11] and not log.terminated.any()
    notes = " | ".join(notes_of(log.metadata))
    assert "observations left out: observation.images.top" in notes
    assert "next.done is not taken as terminal" in notes and "a row every 20 ms" in notes
    data = load_dataset("robot")
    assert data.size == 9 and (data.next_obs[:, 0] == data.obs[:, 0] + 1).all()


def test_flags_of_the_end_are_terminals_if_that_is_said(folder):
    log = read_log(made(), columns={"terminal": "next.done"})
    assert np.flatnonzero(log.terminated).tolist() == [3, 6, 11]


def test_rewards_may_come_from_a_function(folder):
    name = made(reward=False)
    refuses("no column next.reward.*--reward module:function", read_log, name)
    data = load_dataset(name, reward=lambda obs, action, next_obs: next_obs[:, 0])
    assert data.reward.tolist() == [1, 2, 3, 5, 6, 8, 9, 10, 11]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_files_that_are_missing_are_noticed(folder, version):
    name = made(version)
    sorted(Path(name).glob("data/**/*.parquet"))[-1].unlink()
    refuses("its description says", read_log, name)


def test_a_lost_frame_ends_the_episode(folder):
    name = made("v2.1")
    file = Path(name) / "data/chunk-000/episode_000002.parquet"
    rows = parquet.read_table(file)
    parquet.write_table(pa.concat_tables([rows.slice(0, 2), rows.slice(3)]), file)
    info = json.loads((Path(name) / "meta/info.json").read_text()) | {"total_frames": 11}
    (Path(name) / "meta/info.json").write_text(json.dumps(info))
    log = read_log(name)
    assert np.flatnonzero(log.truncated).tolist() == [3, 6, 8, 10]
    assert "1 gap" in " ".join(notes_of(log.metadata))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"codebase_version": "v1.6"}, "is of version v1.6; expected"),
        ({"features": 3}, "is of version v3.0|no tables"),
        ({"total_episodes": 5}, "3 episodes are there, its description says 5"),
        ({"features": FEATURES}, "state has 2 numbers a row, meta/info.json says 14"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, change, message):
    name = made()
    info = json.loads((Path(name) / "meta/info.json").read_text()) | change
    (Path(name) / "meta/info.json").write_text(json.dumps(info))
    refuses(message, read_log, name)


def test_pictures_and_unknown_columns_are_refused(folder):
    name = made()
    columns = {"obs": ["observation.images.top"]}
    refuses("is made of pictures", read_log, name, columns=columns)
    refuses("no column speed", read_log, name, columns={"obs": ["speed"]})
    (Path(name) / "meta/info.json").write_text("{")
    refuses("info.json cannot be read", read_log, name)


@pytest.mark.parametrize("splits, told", [({"train": "0:3"}, False), ({}, False),
                                          ({"train": "0:2", "test": "2:3"}, True)])  # fmt: skip
def test_parts_that_were_held_out_are_told(folder, splits, told):
    name = made()
    info = json.loads((Path(name) / "meta/info.json").read_text()) | {"splits": splits}
    (Path(name) / "meta/info.json").write_text(json.dumps(info))
    notes = " | ".join(notes_of(read_log(name).metadata))
    assert ("train 0:2, test 2:3; all are read" in notes) == told == ("splits" in notes)
