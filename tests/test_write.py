"""Logs in every format: what is written is whole, the same each time, or not there at all."""

import itertools
import json
import os
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest

from made_logs import (
    TARGETS,
    VERSIONS,
    content,
    files,
    made,
    refuses,
    same_data,
    whole,
)
from moore.cli import main
from moore.evaluation.scores import ReferenceScores
from moore.formats.load import load_dataset, read_log
from moore.formats.write import write_log

pytest.importorskip("minari")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Minari's own, and the working folder."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
        if written:
            time.sleep(1.1)  # HDF5 counts in seconds
        (folder / name).mkdir()
        monkeypatch.chdir(folder / name)
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / name))
        for target in TARGETS:
            write_log(target, log)
        written.append(files(folder / name))
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
    refuses("exists already; choose another", write_log, target, log)
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


def test_reference_scores_go_with_the_environment_unless_they_are_the_files_own():
    made("known.hdf5", attributes={"env_id": "Hopper-v5"})
    own = {"ref_min_score": 1.0, "ref_max_score": 2.0}
    made("own.hdf5", attributes={"env_id": "Hopper-v5"} | own)
    for source, expected in (("known", None), ("own", (1.0, 2.0))):
        main(["convert", f"{source}.hdf5", "--out", f"{source}.npz", "--env-id", "Plant-v0"])
        found = load_dataset(f"{source}.npz").reference
        assert (found and (found.random, found.expert)) == expected


def test_convert_of_a_part_prints_json(capsys):
    made("log.hdf5", episodes=[(4, "timeout")] * 10)
    main(["convert", "log.hdf5", "--out", "part.npz", "--max-rows", "13", "--seed", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    subset = {"rows": 12, "episodes": 3, "of_rows": 40, "of_episodes": 10, "seed": 2}
    assert told == {
        "source": "log.hdf5", "out": "part.npz", "format": "npz", "rows": 12, "env_id": None,
        "infos": [], "subset": subset, "notes": [],
    }  # fmt: skip
    same_data(load_dataset("part.npz"), load_dataset("log.hdf5", max_rows=13, seed=2))
