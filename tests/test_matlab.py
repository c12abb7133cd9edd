"""MATLAB's .mat files, of version 7.3 (HDF5, transposed) and before."""

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from made_logs import refuses
from moore.data.log import notes_of
from moore.errors import InputError
from moore.formats.load import load_dataset, read_log

COLUMNS = {"obs": ["log.y"], "action": "u", "reward": "r", "terminal": "stop", "time": "t"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arrays(n=6):
    k = np.arange(n, dtype=float)
    return {
        "log": {"y": np.stack([k, k + 0.5, -k], axis=1)},
        "u": k[:, None] / 4,
        "r": 2 * k[None],
        "stop": (k == 2)[:, None],
        "t": 0.1 * k[None],
        "name": "pump",
    }


def write_hdf5(file, tree):
    for key, value in tree.items():
        if isinstance(value, dict):
            write_hdf5(file.create_group(key), value)
        elif isinstance(value, str):
            file[key] = np.frombuffer(value.encode("utf-16-le"), np.uint16)
        else:
            file[key] = np.asarray(value, np.uint8 if value.dtype == bool else None).T


def made(version, **more):
    tree = arrays() | more
    if version == "7.3":
        with h5py.File("log.mat", "w", userblock_size=512) as file:
            write_hdf5(file, tree)
        with open("log.mat", "r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(512))
    else:
        savemat("log.mat", tree, do_compression=version == "7")
    return "log.mat"


@pytest.mark.parametrize("version", ["7.3", "7", "6"])
def test_matrices_have_a_row_a_time_step_and_vectors_may_lie(folder, version):
    log = read_log(made(version), columns=COLUMNS)
    assert log.obs[:, 0].tolist() == [0, 1, 2, 3, 4, 5] and log.obs[2].tolist() == [2, 2.5, -2]
    assert log.action.shape == (6, 1) and log.reward.tolist() == [0, 2, 4, 6, 8, 10]
    assert np.flatnonzero(log.terminated).tolist() == [2]
    assert log.metadata["obs_names"] == ["log.y(:,1)", "log.y(:,2)", "log.y(:,3)"]
    assert "a row every 100 ms" in " ".join(notes_of(log.metadata))
    assert load_dataset("log.mat", columns=COLUMNS).size == 5


@pytest.mark.parametrize("version", ["7.3", "7"])
def test_time_may_run_along_the_columns(folder, version):
    y = arrays()["log"]["y"]
    made(version, log={"y": y.T})
    refuses("lengths differ.*along", read_log, "log.mat", columns=COLUMNS)
    made(version, log={"y": y.T}, u=arrays()["u"].T, stop=arrays()["stop"].T)
    log = read_log("log.mat", columns=COLUMNS | {"along": "columns"})
    np.testing.assert_array_equal(log.obs, y)


@pytest.mark.parametrize("version", ["7.3", "7"])
def test_days_of_datenum_that_are_read_as_seconds_are_told(folder, version):
    made(version, t=738_000 + np.arange(6)[None] / 1440)
    (told,) = [n for n in notes_of(read_log("log.mat", columns=COLUMNS).metadata) if "datenum" in n]
    assert 'time_unit = "day"' in told
    right = read_log("log.mat", columns=COLUMNS | {"time_unit": "day"})
    assert not any("datenum" in note for note in notes_of(right.metadata))
    assert any("a row every 60 s" in note for note in notes_of(right.metadata))


@pytest.mark.parametrize("version", ["7.3", "7"])
def test_gaps_missing_values_and_episodes_are_as_in_tables(folder, version):
    t = np.array([0, 1, 2, 9, 10, 11.0])
    y = arrays()["log"]["y"].copy()
    y[4, 1] = np.nan
    log = read_log(made(version, t=t[None], log={"y": y}), columns=COLUMNS)
    assert log.obs[:, 0].tolist() == [0, 1, 2, 3, 5]
    assert np.flatnonzero(log.truncated).tolist() == [3, 4]
    made(version, e=np.array([1, 1, 2, 2, 1, 1.0])[:, None])
    how = {"obs": "log.y", "action": "u", "reward": "r", "episode": "e"}
    refuses("e is 1 again in row 5", read_log, "log.mat", columns=how)
    made(version, e=np.array([1, 1, 2, 2, 3, 3.0])[:, None])
    assert np.flatnonzero(read_log("log.mat", columns=how).truncated).tolist() == [1, 3, 5]
    made(version, e=np.array([1, np.nan, 1, 2, 2, 2.0])[:, None])  # a missing label is none
    assert read_log("log.mat", columns=how).obs[:, 0].tolist() == [0, 2, 3, 4, 5]
    refuses("time_format is given", read_log, "log.mat", columns=how | {"time_format": "%Y"})


@pytest.mark.parametrize("version", ["7.3", "7"])
def test_arrays_that_are_no_columns_are_refused(folder, version):
    made(version, big=np.array([2**53 + 1] + [0] * 5, np.int64)[:, None], z=np.ones((6, 1)) + 1j)
    refuses("no array log.x; the file has", read_log, "log.mat", columns=COLUMNS | {"obs": "log.x"})
    refuses("expected .*real numbers", read_log, "log.mat", columns=COLUMNS | {"obs": "z"})
    refuses("below 2\\*\\*53", read_log, "log.mat", columns=COLUMNS | {"obs": "big"})
    refuses("log.y has 3 columns", read_log, "log.mat", columns=COLUMNS | {"reward": "log.y"})
    refuses(
        "big holds other numbers than 0 and 1",
        read_log,
        "log.mat",
        columns=COLUMNS | {"timeout": "big"},
    )
    refuses("no column is named for obs", read_log, "log.mat", columns={})


@pytest.mark.parametrize("version", ["7.3", "7", "6"])
def test_damaged_files_are_one_error(folder, version):
    whole = (folder / made(version)).read_bytes()
    for share in (0, 0.05, 0.3, 0.6):
        (folder / "log.mat").write_bytes(whole[: int(share * len(whole))])
        refuses("log.mat", read_log, "log.mat", columns=COLUMNS)
    refuses("no such file", read_log, "none.mat", columns=COLUMNS)


def test_numbers_of_every_type_and_nested_structures_are_read_as_scipy_does(folder):
    from scipy.io import loadmat

    from moore.formats.mat5 import read_mat5

    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "bool")
    tree = {kind: np.arange(6).reshape(3, 2).astype(kind) for kind in kinds}
    tree |= {"s": {"inner": {"a": np.eye(2), "text": "x"}, "longer_name": 3.0}, "t": "text"}
    for compressed in (False, True):
        savemat("types.mat", tree, do_compression=compressed)
        found, expected = read_mat5(folder / "types.mat", {*kinds, "s"}), loadmat("types.mat")
        for kind in kinds:
            np.testing.assert_array_equal(found[kind], expected[kind])
        np.testing.assert_array_equal(found["s"]["inner"]["a"], np.eye(2))
        assert found["s"]["inner"]["text"] is None and found["t"] is None
        assert found["s"]["longer_name"].tolist() == [[3.0]]


@pytest.mark.parametrize("version", ["7.3", "7", "6"])
def test_changed_bytes_end_in_a_log_or_in_one_error(folder, version):
    whole = bytearray((folder / made(version)).read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(60):
        spoilt = whole.copy()
        for at in rng.integers(len(whole), size=3):
            spoilt[at] = rng.integers(256)
        (folder / "log.mat").write_bytes(spoilt)
        try:
            load_dataset("log.mat", columns=COLUMNS)
        except InputError as error:
            assert "\n" not in str(error)
