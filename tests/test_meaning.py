"""Arrays of HDF5 files whose numbers are elsewhere, packed, or stand for missing ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from made_plant_logs import plant_log, save_hdf5
from moore.errors import InputError
from moore.formats.load import load_dataset


@pytest.fixture
def log(tmp_path):
    return save_hdf5(tmp_path / "log.hdf5", plant_log())


def with_attributes(log, **attributes):
    with h5py.File(log, "r+") as file:
        file["observations"].attrs.update(attributes)
    return log


def test_a_link_into_another_file_is_refused_because_the_log_s_hash_would_not_cover_it(log):
    with h5py.File(log, "r+") as file:
        with h5py.File(log.replace("log", "other"), "w") as other:
            other["there"] = file["observations"][()]
        file.move("observations", "kept")
        file["observations"] = h5py.SoftLink("/kept")
    assert load_dataset(log).size == 1000, "a link inside the file is as good as the array"
    with h5py.File(log, "r+") as file:
        del file["observations"]
        file["observations"] = h5py.ExternalLink(Path(log).name, "/kept")
    assert load_dataset(log).size == 1000, "and so is one that leads out of it and back"
    with h5py.File(log, "r+") as file:
        del file["observations"]
        file["observations"] = h5py.ExternalLink("other.hdf5", "/there")
    with pytest.raises(InputError, match="observations is kept in other files"):
        load_dataset(log)


@pytest.mark.parametrize("packed", [{"scale_factor": 0.01}, {"add_offset": 5.0}])
def test_packed_numbers_are_refused_and_trivially_packed_ones_are_not(log, packed):
    assert load_dataset(with_attributes(log, scale_factor=1.0, add_offset=0.0)).size == 1000
    with pytest.raises(InputError, match=r"observations holds packed numbers.*unpacked ones"):
        load_dataset(with_attributes(log, **packed))


@pytest.mark.parametrize("attribute", ["_FillValue", "missing_value"])
def test_a_number_that_stands_for_a_missing_one_is_refused_where_it_occurs(log, attribute):
    assert load_dataset(with_attributes(log, **{attribute: -999.0})).size == 1000
    assert load_dataset(with_attributes(log, **{attribute: np.nan})).size == 1000
    with h5py.File(log, "r+") as file:
        file["observations"][7:9, 0] = -999.0
    with pytest.raises(InputError, match=f"2 times -999, its {attribute}, which stands for a miss"):
        load_dataset(with_attributes(log, **{attribute: -999.0}))
