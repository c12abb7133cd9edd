"""robomimic's HDF5: a group for each demonstration, images left out, ends that are no terminals."""

import h5py
import numpy as np
import pytest

from made_logs import refuses
from moore.data.log import notes_of
from moore.formats.load import load_dataset, read_log


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name="demo.hdf5", lengths=(3, 4, 2), *, stored=True, without=(), image=True):
    """Demonstrations 0, 1, 10; the first number of a row tells which row it is."""
    at = 0
    with h5py.File(name, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = '{"env_name": "Lift", "type": 1}'
        for demo, n in zip((0, 1, 10), lengths, strict=True):
            group = data.create_group(f"demo_{demo}")
            group.attrs["num_samples"] = n
            k = np.arange(at, at + n, dtype=float)
            arrays = {"actions": np.stack([k, -k], axis=1), "rewards": k / 2,
                      "dones": np.arange(n) == n - 1, "states": np.zeros((n, 9))}  # fmt: skip
            for where, shift in (("obs", 0), ("next_obs", 1))[: 1 + stored]:
                arrays[f"{where}/pos"] = np.stack([k + shift, k + shift + 0.5], axis=1)
                arrays[f"{where}/angle"] = 10 * k + shift
                if image:
                    arrays[f"{where}/agentview_image"] = np.zeros((n, 84, 84, 3), np.uint8)
            for key, value in arrays.items():
                if key not in without:
                    group[key] = value
            at += n
    return name


def test_keys_are_joined_sorted_and_images_are_left_out(folder):
    log = read_log(made())
    assert log.metadata["obs_names"] == ["angle", "pos[0]", "pos[1]"]
    assert log.obs[:, 1].tolist() == list(range(9)) and log.obs[4].tolist() == [40, 4, 4.5]
    assert log.next_obs[8].tolist() == [81, 9, 9.5]
    assert log.action[:, 0].tolist() == list(range(9)) and log.reward[3] == 1.5
    assert log.env_id is None and log.metadata["env_name"] == "Lift"
    assert any("left out" in note and "agentview_image" in note for note in notes_of(log.metadata))


def test_a_demonstration_ends_truncated_unless_dones_are_said_to_be_terminals(folder):
    log = read_log(made())
    assert np.flatnonzero(log.truncated).tolist() == [2, 6, 8] and not log.terminated.any()
    assert any("dones are not taken as terminals" in note for note in notes_of(log.metadata))
    log = read_log("demo.hdf5", columns={"terminal": "dones"})
    assert np.flatnonzero(log.terminated).tolist() == [2, 6, 8] and not log.truncated.any()


def test_without_stored_successors_they_are_the_next_rows(folder):
    data = load_dataset(made(stored=False))
    assert data.obs[:, 1].tolist() == [0, 1, 3, 4, 5, 7]
    assert data.next_obs[:, 1].tolist() == [1, 2, 4, 5, 6, 8]


def test_the_map_gives_the_order_of_keys(folder):
    log = read_log(made(), columns={"obs": ["pos", "angle"]})
    assert log.metadata["obs_names"] == ["pos[0]", "pos[1]", "angle"]
    assert log.sha256 != read_log("demo.hdf5").sha256


@pytest.mark.parametrize(
    "how, columns, message",
    [
        ({}, {"obs": ["agentview_image"]}, "agentview_image is an image"),
        ({}, {"obs": ["speed"]}, "obs/speed is not there; expected .*angle, pos"),
        ({}, {"time": "t"}, "time is given, but robomimic's layout says it"),
        ({"without": ["rewards"]}, None, "no array /data/demo_0/rewards.*--reward"),
        ({"without": ["obs/pos", "obs/angle"]}, None, "no low-dimensional observation"),
    ],
)
def test_what_cannot_be_read_is_refused(folder, how, columns, message):
    refuses(message, read_log, made(**how), columns=columns)


def test_rewards_may_come_from_a_function(folder):
    name = made(without=["rewards"])
    data = load_dataset(name, reward=lambda obs, action, next_obs: next_obs[:, 1])
    assert data.reward.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_demonstrations_of_other_sizes_are_refused(folder):
    made()
    with h5py.File("demo.hdf5", "a") as file:
        del file["data/demo_1/actions"]
        file["data/demo_1/actions"] = np.zeros((3, 2))
    refuses("lengths differ", read_log, "demo.hdf5")


def test_a_demonstration_whose_keys_have_other_widths_is_refused(folder):
    """Also where the observation has as many numbers: keys would be taken for one another."""
    made()
    with h5py.File("demo.hdf5", "a") as file:
        for where in ("obs", "next_obs"):
            group = file[f"data/demo_1/{where}"]
            group.move("angle", "swapped")
            group.move("pos", "angle")
            group.move("swapped", "pos")
    refuses("demo_1/obs/angle has 2 numbers a row, /data/demo_0/obs/angle 1", read_log, "demo.hdf5")


def test_whole_numbers_that_float64_rounds_are_refused(folder):
    with h5py.File(made(image=False), "a") as file:
        for demo in file["data"].values():
            for where in ("obs", "next_obs"):
                demo[f"{where}/ticks"] = 2**60 + np.arange(len(demo["rewards"]))
    refuses("obs/ticks holds .*below 2", read_log, "demo.hdf5")
    assert read_log("demo.hdf5", columns={"obs": ["angle", "pos"]}).obs.shape == (9, 3)


def test_a_file_that_is_cut_short_is_one_error(folder):
    whole = (folder / made()).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (folder / "cut.hdf5").write_bytes(whole[: int(share * len(whole))])
        refuses("cut.hdf5", read_log, "cut.hdf5")


def test_groups_of_other_names_are_told(folder):
    with h5py.File(made(), "a") as file:
        file.copy("data/demo_10", file["data"], name="lift_11")
    log = read_log("demo.hdf5")
    assert log.size == 9
    assert any("not read below data: lift_11" in note for note in notes_of(log.metadata))


def test_demonstrations_of_another_length_than_the_file_says_are_refused(folder):
    with h5py.File(made(), "a") as file:  # padded to four rows each
        file["data/demo_1"].attrs["num_samples"] = 2
    refuses("demo_1 has 4 rows, its num_samples says 2; expected as many", read_log, "demo.hdf5")


def test_lost_and_empty_demonstrations_are_told(folder):
    with h5py.File(made(lengths=(3, 0, 2)), "a") as file:
        file["data"].attrs["total"] = 9
    notes = " | ".join(notes_of(read_log("demo.hdf5").metadata))
    assert "5 rows are there, the file says 9" in notes
    assert "demonstrations without rows: demo_1" in notes
    with h5py.File("demo.hdf5", "a") as file:
        file["data"].attrs["total"] = 5
    assert "the file says" not in " ".join(notes_of(read_log("demo.hdf5").metadata))


# --- filter keys ---


def masked(**masks) -> str:
    """The file with lists of demonstrations, such as those to learn from and those held out."""
    with h5py.File(made(), "a") as file:
        for key, demos in masks.items():
            file[f"mask/{key}"] = np.array(demos, "S8")
    return "demo.hdf5"


TWO = {"train": ["demo_0", "demo_10"], "valid": ["demo_1"]}


def test_filter_keys_are_told_though_none_is_asked_for(folder):
    (note,) = (n for n in notes_of(read_log(masked(**TWO)).metadata) if "filter keys" in n)
    assert "train (2), valid (1); all 3 demonstrations are read" in note


@pytest.mark.parametrize("key, rows", [("train", [0, 1, 2, 7, 8]), ("valid", [3, 4, 5, 6])])
def test_the_demonstrations_of_one_key_are_read_alone(folder, key, rows):
    log = read_log(masked(**TWO), columns={"filter_key": key})
    assert log.obs[:, 1].tolist() == rows
    assert f"only the demonstrations of {key} are read" in " ".join(notes_of(log.metadata))
    assert log.sha256 != read_log("demo.hdf5").sha256


@pytest.mark.parametrize(
    "masks, message",
    [
        (TWO, "no filter key other; the file has train, valid"),
        ({"other": ["demo_0", "demo_7"]}, "filter key other names demo_7, not in the file"),
        ({"other": []}, "filter key other names no demonstration"),
        ({}, "no filter key other; the file has none"),
    ],
)
def test_keys_that_name_no_demonstrations_are_refused(folder, masks, message):
    refuses(message, read_log, masked(**masks), columns={"filter_key": "other"})


def test_a_filter_key_of_another_kind_of_log_is_refused(folder):
    (folder / "log.csv").write_text("x,u,r\n1,0,1\n2,0,1\n")
    columns = {"obs": "x", "action": "u", "reward": "r", "filter_key": "train"}
    refuses("filter_key is given, but only robomimic's", read_log, "log.csv", columns=columns)
    columns = columns | {"along": "columns"}
    del columns["filter_key"]
    refuses("along is given, but only MATLAB's", read_log, "log.csv", columns=columns)
