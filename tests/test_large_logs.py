"""Logs that fill the memory: read block by block, or in part, as whole episodes."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_logs import VERSIONS, d4rl_arrays, write_d4rl_file
from moore.data.checks import blocks
from moore.data.dataset import EPISODES, MATRICES, VECTORS, concatenate, from_flat_arrays
from moore.data.episodes import episode_statistics
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log
from moore.formats.subset import Budget, choose_episodes
from moore.formats.write import write_log

FIELDS = MATRICES + VECTORS + EPISODES
# Episodes of 3, 5, 1, 4, 2 rows and an unfinished one of 3.
FEW = [(3, "terminal"), (5, "timeout"), (1, "terminal"), (4, "both"), (2, "timeout"), (3, "open")]
# The same in a log without time-outs: what does not terminate runs for 1000 steps.
LONG = [(300, "terminal"), (1000, "timeout"), (1000, "both"), (1000, "timeout"), (7, "open")]


def made(path, version, episodes=None, **kwargs):
    episodes = episodes or (LONG if version == "v0" else FEW)
    return write_d4rl_file(path, d4rl_arrays(version, episodes), **kwargs)


def same_data(a, b):
    for key in FIELDS:
        np.testing.assert_array_equal(getattr(a, key), getattr(b, key), err_msg=key)


def refuses(match, function, *args, **kwargs):
    with pytest.raises(InputError, match=match) as raised:
        function(*args, **kwargs)
    assert "\n" not in str(raised.value)


# --- Block by block ---


@given(st.integers(0, 999), st.integers(0, 10**8), st.integers(1, 99), st.integers(1, 99))
def test_blocks_cover_every_row_once_and_stay_small(rows, row_bytes, most, multiple):
    cut = list(blocks(rows, row_bytes, most=most, multiple_of=multiple))
    assert [block.start for block in cut[1:]] == [block.stop for block in cut[:-1]]
    assert (cut[0].start, cut[-1].stop) == (0, rows) if rows else not cut
    for block in cut:
        assert block.start % multiple == 0
        size = block.stop - block.start
        assert size <= max(multiple, most) and size * row_bytes <= max(2**23, multiple * row_bytes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "layout", [{}, {"chunks": (6250, 1), "compression": "gzip"}, {"chunks": (150_000, 1)}]
)
def test_a_file_of_several_blocks_is_read_as_its_arrays(tmp_path, version, layout):
    episodes = [(700, "terminal"), (1000, "timeout")] * 90
    arrays = d4rl_arrays(version, episodes, dtype=np.float64)
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        for key, value in arrays.items():
            options = dict(layout)
            if "chunks" in options and value.ndim == 1:
                options["chunks"] = layout["chunks"][:1]
            file.create_dataset(key, data=value, **options)
    loaded = load_dataset(tmp_path / "log.hdf5")
    expected = from_flat_arrays(
        arrays["observations"],
        arrays["actions"],
        reward=arrays["rewards"],
        terminals=arrays["terminals"],
        timeouts=arrays.get("timeouts"),
        next_obs=arrays.get("next_observations"),
    )
    for key in FIELDS:
        assert getattr(loaded, key).dtype == expected[key].dtype
        np.testing.assert_array_equal(getattr(loaded, key), expected[key], err_msg=key)
    assert len(loaded.obs) > 2 * 2**16


def test_bad_values_are_counted_in_all_blocks(tmp_path):
    arrays = d4rl_arrays("v2", [(1000, "timeout")] * 140)
    arrays["next_observations"][[80_000, 139_999], 1] = np.nan
    path = write_d4rl_file(tmp_path / "log.hdf5", arrays)
    refuses("next_obs holds 2 values .*first: row 80000,", load_dataset, path)


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=5), st.integers(0, 3000))
@settings(max_examples=20, deadline=None)
def test_returns_are_those_of_one_sum_an_episode(lengths, unfinished):
    rewards = np.random.default_rng(0).normal(size=sum(lengths) + unfinished).astype(np.float32)
    ends = np.zeros(len(rewards), bool)
    ends[np.cumsum(lengths) - 1] = True
    returns, counted = episode_statistics(rewards, ends)
    starts = np.cumsum([0, *lengths[:-1]])
    whole = np.add.reduceat(rewards[: sum(lengths)].astype(float), starts)
    np.testing.assert_array_equal(returns, whole)
    np.testing.assert_array_equal(counted, lengths)


@pytest.mark.parametrize("version", VERSIONS)
def test_arrays_of_the_caller_stay_as_they_are(version):
    arrays = d4rl_arrays(version, LONG)
    before = {key: value.copy() for key, value in arrays.items()}
    from_flat_arrays(
        arrays["observations"],
        arrays["actions"],
        reward=arrays["rewards"],
        terminals=arrays["terminals"],
        timeouts=arrays.get("timeouts"),
        next_obs=arrays.get("next_observations"),
    )
    for key, value in before.items():
        np.testing.assert_array_equal(arrays[key], value)


# --- Whole episodes of a larger log ---


def episodes_of(dataset):
    """By the observation k that each complete episode of a made log starts with: its rows."""
    ends = np.flatnonzero(dataset.terminated | dataset.truncated)
    starts = np.concatenate([[0], ends[:-1] + 1])
    return {
        float(dataset.obs[a, 0]): {key: getattr(dataset, key)[a : b + 1] for key in FIELDS[:-2]}
        for a, b in zip(starts, ends, strict=True)
    }


# Without next_observations, nothing at all is left of a single row that times out.
endings = st.tuples(st.integers(1, 9), st.sampled_from(["terminal", "timeout", "both"])).filter(
    lambda episode: episode != (1, "timeout")
)


@given(st.lists(endings, min_size=1, max_size=9), st.integers(0, 4), st.data())
@settings(max_examples=40, deadline=None)
def test_a_subset_holds_whole_episodes_as_the_whole_log_does(tmp_path_factory, whole, left, draw):
    version = draw.draw(st.sampled_from(["v1", "v2"]))
    kind = draw.draw(st.sampled_from(["hdf5", "npz"]))
    unfinished = [(left, "open")] if left else []
    path = tmp_path_factory.mktemp("subset") / "log.hdf5"
    write_d4rl_file(path, d4rl_arrays(version, [*whole, *unfinished]))
    lengths = [length for length, _ in whole]
    max_rows = draw.draw(st.integers(max(lengths), sum(lengths) + left))
    if kind == "npz":
        write_log(path.with_suffix(".npz"), read_log(path, exact=True))
        path = path.with_suffix(".npz")
    part = load_dataset(path, max_rows=max_rows, seed=draw.draw(st.integers(0, 5)))
    full = load_dataset(path)
    if max_rows == sum(lengths) + left:
        same_data(part, full)
        assert "subset" not in part.metadata and part.sha256 == full.sha256
        return
    told = part.metadata["subset"]
    assert told["rows"] == part.episode_lengths.sum() <= max_rows
    assert told["episodes"] == len(part.episode_lengths) >= 1
    assert (told["of_rows"], told["of_episodes"]) == (sum(lengths) + left, len(lengths))
    taken, known = episodes_of(part), episodes_of(full)
    assert list(taken) == sorted(taken)
    for start, rows in taken.items():
        for key, value in rows.items():
            np.testing.assert_array_equal(value, known[start][key], err_msg=key)
    assert part.sha256 != full.sha256


def test_a_subset_of_a_log_without_time_outs_is_cut_at_the_same_limit(tmp_path):
    path = made(tmp_path / "v0.hdf5", "v0")
    full, part = load_dataset(path), load_dataset(path, max_rows=2400, seed=1)
    assert part.metadata["subset"] | {"rows": 0, "episodes": 0} == {
        "rows": 0, "episodes": 0, "of_rows": 3307, "of_episodes": 4, "seed": 1,
    }  # fmt: skip
    known = episodes_of(full)
    assert len(episodes_of(part)) == len(part.episode_lengths) in (2, 3)
    for start, rows in episodes_of(part).items():
        np.testing.assert_array_equal(rows["next_obs"], known[start]["next_obs"])


def test_the_draw_follows_the_seed_and_the_hash_follows_the_draw(tmp_path):
    path = made(tmp_path / "log.hdf5", "v2", [(3, "timeout")] * 40)
    draws = [load_dataset(path, max_rows=30, seed=seed) for seed in (0, 0, 1)]
    assert draws[0].size == draws[2].size == 30
    same_data(draws[0], draws[1])
    assert draws[0].sha256 == draws[1].sha256 != draws[2].sha256
    assert (draws[0].obs != draws[2].obs).any()


def test_every_episode_is_drawn_equally_often():
    lengths = np.array([5, 5, 5, 5, 50])
    draws = [
        choose_episodes(lengths, Budget(max_rows=10, seed=seed), rows=70, name="log").episodes
        for seed in range(2000)
    ]
    counts = np.bincount(np.concatenate(draws), minlength=5)
    # A long episode ends the draw, so that two short ones come together in less than all cases.
    assert counts[4] == 0 and counts[:4].min() > 0.9 * counts[:4].max()
    assert {len(episodes) for episodes in draws} == {1, 2}


def test_all_that_is_stored_a_row_follows_the_subset(tmp_path):
    arrays = d4rl_arrays("v2", FEW)
    arrays |= {"infos/k": arrays["observations"][:, 0], "id": arrays["observations"][:, 0]}
    path = write_d4rl_file(tmp_path / "log.hdf5", arrays)
    for source in (path, tmp_path / "log.npz"):
        log = read_log(source, infos=True, exact=True, max_rows=8)
        np.testing.assert_array_equal(log.infos["k"], log.obs[:, 0])
        if source == path:
            np.testing.assert_array_equal(log.extras["id"], log.obs[:, 0])
            write_log(tmp_path / "log.npz", read_log(path, infos=True, exact=True))


def test_statistics_that_a_file_stores_follow_the_subset(tmp_path):
    path = made(tmp_path / "log.hdf5", "v1", [(length, "terminal") for length in (2, 3, 4, 5)])
    log = read_log(path)
    stored = {"episode_returns": np.arange(4.0), "episode_lengths": np.array([12, 13, 14, 15])}
    for out in ("a.npz", "a.hdf5"):
        write_log(tmp_path / out, type(log)(**(vars(log) | stored)))
        data = load_dataset(tmp_path / out, max_rows=9)
        lengths = np.diff(np.flatnonzero(data.terminated), prepend=-1)
        np.testing.assert_array_equal(data.episode_lengths, lengths + 10)
        np.testing.assert_array_equal(data.episode_returns, lengths - 2)


def test_a_fraction_is_a_share_of_the_rows(tmp_path):
    path = made(tmp_path / "log.hdf5", "v2", [(10, "timeout")] * 10)
    assert load_dataset(path, fraction=0.35).size == 30
    assert load_dataset(path, fraction=1.0).metadata.get("subset") is None


def test_joined_logs_share_the_rows(tmp_path):
    a = made(tmp_path / "a.hdf5", "v2", [(10, "timeout")] * 30)
    b = made(tmp_path / "b.hdf5", "v2", [(10, "terminal")] * 10)
    joined = load_dataset(f"{a},{b}", max_rows=80)
    parts = [load_dataset(a, max_rows=60), load_dataset(b, max_rows=20)]
    same_data(joined, concatenate(parts))
    assert joined.sha256 == concatenate(parts).sha256
    halves = load_dataset(f"{a},{b}", fraction=0.5)
    assert [part["subset"]["rows"] for part in halves.metadata["parts"]] == [150, 50]
    assert load_dataset(f"{a},{b}", max_rows=400).size == 400


@pytest.mark.parametrize("source", ["log.hdf5", "log.npz"])
@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"max_rows": 0}, "max_rows is 0; expected at least 1"),
        ({"max_rows": -3}, "max_rows is -3"),
        ({"fraction": 0.0}, r"fraction is 0; expected a number in \(0, 1\]"),
        ({"fraction": 1.5}, "fraction is 1.5"),
        ({"fraction": float("nan")}, "fraction is nan"),
        ({"max_rows": 3, "fraction": 0.5}, "one of the two"),
        ({"max_rows": 3, "seed": -1}, "seed is -1"),
        ({"max_rows": 2}, "is 2 of 11 rows.*the shortest has 3 rows.*give more"),
        ({"fraction": 0.2}, "fraction is 0.2, which is 2 of 11 rows.*the shortest has 3 rows"),
    ],
)
def test_a_part_that_cannot_be_taken(tmp_path, source, wanted, match):
    path = made(tmp_path / "log.hdf5", "v2", [(3, "timeout"), (4, "terminal"), (4, "open")])
    write_log(tmp_path / "log.npz", read_log(path))
    refuses(match, load_dataset, tmp_path / source, **wanted)
    refuses(match, read_log, tmp_path / source, **wanted)


def test_nothing_is_drawn_where_no_episode_is_complete_or_all_is_loaded(tmp_path):
    path = made(tmp_path / "open.hdf5", "v2", [(9, "open")])
    refuses("no complete episode in 9 rows", load_dataset, path, max_rows=4)
    loaded = load_dataset(made(tmp_path / "log.hdf5", "v2"))
    refuses("loaded already", load_dataset, loaded, max_rows=4)


# --- Memory, of a process of its own that only loads ---

CHILD = """
import json, sys
import h5py
import moore.formats.d4rl
from moore.formats.load import load_dataset

def kilobytes(key):  # ru_maxrss would begin with the peak of the process that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if key in line)

before = kilobytes("VmRSS:")
data = load_dataset(sys.argv[1], **json.loads(sys.argv[2]))
peak = 1024 * (kilobytes("VmHWM:") - before)
print(json.dumps({"peak": peak, "rows": data.size, "metadata": data.metadata}))
"""
OBS, ACTION = 11, 3  # Hopper's
ROW_BYTES = (2 * OBS + ACTION + 1) * 4 + 3  # of a Dataset


def write_large(path, rows, *, dtype=np.float32, successors=True, step=2**17):
    """Row i earns i modulo 7; a terminal after 700 rows, a time-out after 500 more."""
    widths = {"observations": OBS, "actions": ACTION, "next_observations": OBS}
    widths = {key: dim for key, dim in widths.items() if successors or key[0] != "n"}
    with h5py.File(path, "w") as file:
        for key, dim in widths.items():
            file.create_dataset(key, (rows, dim), dtype)
        file.create_dataset("rewards", (rows,), dtype)
        for key in ("terminals", "timeouts"):
            file.create_dataset(key, (rows,), bool)
        for start in range(0, rows, step):
            row = np.arange(start, min(start + step, rows))
            for key, dim in widths.items():
                file[key][row[0] : row[-1] + 1] = np.broadcast_to(row[:, None], (len(row), dim))
            file["rewards"][row[0] : row[-1] + 1] = row % 7
            file["terminals"][row[0] : row[-1] + 1] = row % 1200 == 699
            file["timeouts"][row[0] : row[-1] + 1] = row % 1200 == 1199
    return path


def measure(path, **wanted):
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak is read from /proc")
    command = [sys.executable, "-c", CHILD, str(path), json.dumps(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("dtype", "successors"),
    [
        pytest.param(np.float32, True, marks=pytest.mark.slow),
        (np.float64, True),
        (np.float32, False),
    ],
)
def test_loading_takes_little_more_memory_than_the_data_set(tmp_path, dtype, successors):
    rows = 600_000
    used = measure(write_large(tmp_path / "log.hdf5", rows, dtype=dtype, successors=successors))
    assert used["rows"] == rows - (0 if successors else rows // 1200)
    # 16 MiB of blocks; rewards keep 8 bytes until they are summed up. A copy of obs is 26 MB.
    most = rows * (ROW_BYTES + 8) + 2**24
    most += 0 if successors else 2**23  # NumPy's linear algebra, which looks for unflagged ends
    assert 0.99 * rows * ROW_BYTES <= used["peak"] <= most


@pytest.mark.slow
@pytest.mark.parametrize("successors", [True, False])
def test_twenty_million_rows(tmp_path, successors):
    rows = 20_000_000
    path = write_large(tmp_path / "log.hdf5", rows, successors=successors)
    used = measure(path)
    print(f"\n{rows:,} rows: {used['peak'] / rows:.1f} bytes a row, Dataset {ROW_BYTES}")
    assert used["rows"] > 0.99 * rows
    assert used["peak"] <= rows * (ROW_BYTES + (0 if successors else 4)) + 2**26
    part = measure(path, max_rows=100_000)
    print(f"of which {part['rows']:,}: {part['peak'] / 1e6:.0f} MB")
    assert 98_000 <= part["metadata"]["subset"]["rows"] <= 100_000
    assert part["peak"] <= 100_000 * ROW_BYTES + 4 * rows + 2**26  # flags of the whole file
