"""Logs larger than memory: the folder of rows, and how it is written, opened and inspected."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_logs import d4rl_arrays, refuses, same_data, write_d4rl_file
from moore.cli import main
from moore.data import row_file
from moore.data.columns import describe
from moore.data.dataset import concatenate
from moore.data.row_file import open_rows
from moore.formats import row_parts
from moore.formats.load import load_dataset
from moore.formats.row_parts import parts_of_log
from moore.formats.row_writer import write_rows
from moore.inspecting.row_check import check_rows
from tiny import tiny_log

# Episodes of many lengths; one is longer than a slice of 100 rows.
EPISODES = [(3, "terminal"), (70, "timeout"), (250, "timeout"), (1, "terminal"), (90, "both")] * 9


@pytest.fixture
def hdf5(tmp_path):
    return str(write_d4rl_file(tmp_path / "log.hdf5", d4rl_arrays("v2", EPISODES)))


@pytest.fixture
def rows(tmp_path, hdf5, monkeypatch):
    """The folder of the log, which does not fit into a room of 500 rows."""
    monkeypatch.setattr(row_file, "ROOM", 500)
    write_rows(tmp_path / "log.rows", parts_of_log(hdf5))
    return tmp_path / "log.rows"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("ending", ["timeout", "open"])
def test_a_file_in_slices_is_the_file_in_one_piece(tmp_path, monkeypatch, version, ending):
    monkeypatch.setattr(row_parts, "SLICE", 100)
    arrays = d4rl_arrays(version, [*EPISODES, (8, ending)])
    source = str(write_d4rl_file(tmp_path / "log.hdf5", arrays, {"env_id": "Hopper-v5"}))
    parts = list(parts_of_log(source))
    assert len(parts) > 10
    write_rows(tmp_path / "log.rows", parts)
    found, expected = load_dataset(tmp_path / "log.rows"), load_dataset(source)
    if ending == "open" and version == "v2":  # a part ends an episode, as when logs are joined
        expected.truncated[-1] = True
    same_data(found, expected)
    assert found.whole is None


def test_several_logs_are_joined_as_they_are_in_memory(tmp_path, hdf5):
    np.savez(tmp_path / "other.npz", **{k: getattr(load_dataset(hdf5), k) for k in
             ("obs", "action", "reward", "terminated", "truncated", "next_obs")})  # fmt: skip
    both = f"{hdf5},{tmp_path / 'other.npz'}"
    write_rows(tmp_path / "both.rows", parts_of_log(both))
    same_data(load_dataset(tmp_path / "both.rows"), load_dataset(both))
    told = open_rows(tmp_path / "both.rows").facts["metadata"]["parts"]
    assert [Path(part["name"]).name for part in told] == ["log.hdf5", "other.npz"]


def test_one_part_is_held_at_a_time(tmp_path):
    import weakref

    alive: list = []

    def parts():
        for seed in range(5):
            part = tiny_log(2, seed=seed)
            alive.append(weakref.ref(part))
            assert sum(ref() is not None for ref in alive) <= 2  # this one, and the one before it
            yield part
            del part

    assert write_rows(tmp_path / "log.rows", parts())["rows"] == 200


def test_what_does_not_fit_is_a_random_part_in_whole_stretches(rows, hdf5):
    found, all_rows = load_dataset(rows), load_dataset(hdf5)
    chosen = found.whole.rows
    assert 0 < found.size <= 500 < found.total == all_rows.size
    assert (np.diff(chosen) > 0).all()
    for key in ("obs", "action", "reward", "next_obs", "terminated", "successor_known"):
        np.testing.assert_array_equal(getattr(found, key), getattr(all_rows, key)[chosen])
    ends = found.terminated | found.truncated
    breaks = np.append(np.diff(chosen) != 1, True)
    assert ends[breaks].all()  # no episode runs on from one stretch into the next
    np.testing.assert_array_equal(found.episode_returns, all_rows.episode_returns)
    assert "rows stay on disk" in found.metadata["notes"][0]
    same_data(found, load_dataset(rows))


def test_every_stretch_is_drawn_as_often(rows):
    file = open_rows(rows)
    last = np.load(rows / "stretches.npy")
    lengths = np.diff(last, prepend=-1)
    assert last[-1] == file.size - 1 and (lengths[:-1] >= 256).all()
    times = np.zeros(len(last))
    for seed in range(400):
        drawn, _ = file.sample(2 * int(lengths.max()), seed)
        times += np.isin(last, drawn)
    assert times.min() > 0.6 * times.mean()


def test_a_long_episode_is_cut_into_pieces_for_samples_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("moore.formats.row_writer._MOST", 256)
    monkeypatch.setattr(row_file, "ROOM", 600)
    arrays = d4rl_arrays("v2", [(3000, "timeout")])
    source = str(write_d4rl_file(tmp_path / "log.hdf5", arrays))
    write_rows(tmp_path / "log.rows", parts_of_log(source))
    found = load_dataset(tmp_path / "log.rows")
    assert found.whole.file.facts["timeouts"] == 1 == len(found.episode_returns)
    assert found.size == 512 and found.truncated.sum() >= 1
    first = np.flatnonzero(np.append(True, np.diff(found.whole.rows) != 1))
    begins = found.whole.begins_episode(first)
    assert begins.all() or (found.whole.rows[first[begins]] == 0).all()


def test_statistics_are_those_of_all_rows(rows, hdf5):
    file, log = open_rows(rows), load_dataset(hdf5)
    for key in ("obs", "action", "reward", "next_obs"):
        expected = describe(getattr(log, key))
        for name, value in vars(file.columns(key)).items():
            np.testing.assert_array_equal(value, getattr(expected, name))
    assert check_rows(file)["rows"] == log.size


def test_a_budget_makes_a_log_of_its_own(rows):
    part = load_dataset(rows, max_rows=700)
    assert part.whole is None and 0 < part.size <= 700
    assert part.metadata["subset"]["of_rows"] == open_rows(rows).size


def test_damage_is_told(rows):
    file = rows / "rows.npy"
    before = file.read_bytes()
    file.write_bytes(before[:-1] + b"\2")
    refuses("not those that were written", check_rows, open_rows(rows))
    file.write_bytes(before[:-40])
    refuses("cannot be read", load_dataset, rows)
    file.write_bytes(before)
    facts = json.loads((rows / "log.json").read_text())
    for broken in ({"format": 2}, {"rows": -1}, {"rows": facts["rows"] - 1}, {"sha256": None}):
        (rows / "log.json").write_text(json.dumps(facts | broken))
        refuses("cannot be read", load_dataset, rows)
    (rows / "log.json").write_text("{")
    refuses("cannot be read", load_dataset, rows)


def test_parts_that_do_not_fit_leave_nothing_behind(tmp_path, hdf5, monkeypatch):
    out = tmp_path / "log.rows"
    refuses("others; only logs", write_rows, out, [load_dataset(hdf5), tiny_log(1)])
    refuses("no part given", write_rows, out, [])
    assert not list(tmp_path.glob("*.rows*"))
    write_rows(out, [tiny_log(1)])
    refuses("exists already", write_rows, out, [tiny_log(1)])
    refuses("folder of rows already", list, parts_of_log(str(out)))
    no_flags = write_d4rl_file(tmp_path / "v0.hdf5", d4rl_arrays("v0", [(2000, "terminal")]))
    monkeypatch.setattr(row_parts, "SLICE", 100)
    refuses("no timeouts", list, parts_of_log(str(no_flags)))


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"obs_names": ["u", "v"]}, {"obs_names": ["v", "u"]}, "its obs names are"),
        ({"obs_units": ["m"]}, {"obs_units": ["cm"]}, "its obs units are"),
        ({"row_seconds": 60.0}, {"row_seconds": 10.0}, "a row every 10 s, in place of every 60 s"),
    ],
)
def test_parts_whose_columns_or_intervals_are_others_are_not_joined(one, other, words, tmp_path):
    parts = [replace(tiny_log(1), metadata=metadata) for metadata in (one, {}, other)]
    refuses(words, write_rows, tmp_path / "log.rows", parts)
    refuses(words, concatenate, parts)
    assert write_rows(tmp_path / "log.rows", parts[:2])["rows"] == 2 * parts[0].size


def test_a_log_on_disk_is_not_joined_rewarded_or_written_elsewhere(rows, hdf5, tmp_path, capsys):
    refuses("cannot be joined", load_dataset, f"{rows},{hdf5}")
    refuses("give --reward to moore convert", load_dataset, rows, reward=lambda o, a, n: o[:, 0])
    other = ["convert", str(rows), "--out", str(tmp_path / "x.npz")]
    with pytest.raises(SystemExit):
        main(other)
    assert "give --max-rows" in capsys.readouterr().err
    main([*other, "--max-rows", "400"])
    assert load_dataset(tmp_path / "x.npz").size <= 400


def test_the_commands_convert_and_inspect(tmp_path, hdf5, monkeypatch, capsys):
    monkeypatch.setattr(row_file, "ROOM", 500)
    out = str(tmp_path / "log.rows")
    main(["convert", hdf5, "--out", out, "--env-id", "Hopper-v5"])
    assert "log.rows: 3,726 rows of Hopper-v5" in capsys.readouterr().out
    main(["inspect", out, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["on_disk"]["rows"] == 3726 and found["rows"] <= 500
    assert found["obs_max"] == describe(load_dataset(hdf5).obs).high.tolist()
    main(["inspect", out])
    assert "on disk         3,726 rows, 45 episodes" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["convert", hdf5, "--out", out[:-5] + "2.rows", "--max-rows", "9"])
    assert "part by part" in capsys.readouterr().err


def test_tables_of_an_episode_each_come_one_by_one(tmp_path):
    pytest.importorskip("pyarrow")
    folder = tmp_path / "tables"
    folder.mkdir()
    for number in range(3):
        lines = [f"{number + i},{i % 2},{i}" for i in range(6)]
        (folder / f"{number}.csv").write_text("\n".join(["level,pump,gain", *lines]))
    columns = {"obs": ["level"], "action": ["pump"], "reward": "gain"}
    parts = list(parts_of_log(str(folder), columns=columns))
    assert [part.size for part in parts] == [5, 5, 5]
    write_rows(tmp_path / "log.rows", parts)
    same_data(load_dataset(tmp_path / "log.rows"), load_dataset(str(folder), columns=columns))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(tmp_path):
    """Anonymous memory at its peak, of 4,000,000 rows and of 1,000,000."""
    script = Path(__file__).parents[1] / "benchmarks" / "large_log.py"
    most = {}
    for rows in (2_000_000, 8_000_000):
        command = [sys.executable, str(script), "--rows", str(rows), "--updates", "0"]
        command += ["--folder", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = [line.split() for line in done.stdout.splitlines() if " memory of " in line]
        most[rows] = [float(line[-2]) for line in lines]
    for few, many in zip(*most.values(), strict=True):
        assert many < 1.1 * few + 0.03
