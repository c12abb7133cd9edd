"""The arrays of an archive are what NumPy reads; a header is read once, and no value twice."""

import zipfile

import numpy as np
import pytest

from moore.data.cuts import _at_multiples
from moore.data.least_squares import fitted_weights
from moore.formats.npz_arrays import NpzArrays

ARRAYS = {
    "matrix": np.arange(12.0).reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(4, 3)),
    "big endian": np.arange(5, dtype=">f8"),
    "number": np.array(3.5),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
    "text": np.array('{"env_id": null}'),
    "large": np.random.default_rng(0).normal(size=(9000, 3)),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_what_numpy_reads(tmp_path, save):
    save(tmp_path / "log.npz", **ARRAYS)
    with np.load(tmp_path / "log.npz") as archive:
        arrays = NpzArrays(archive)
        assert sorted(arrays) == sorted(ARRAYS) and "other" not in arrays
        for key, expected in ARRAYS.items():
            assert arrays.shape(key) == expected.shape
            for _ in range(2):  # what was read may be read again
                value = arrays.read(key)
                assert value.dtype == archive[key].dtype and value.flags.writeable
                np.testing.assert_array_equal(value, archive[key])
        arrays.shape("matrix")
        arrays.close()


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_later_headers_are_read_too(tmp_path, version):
    with zipfile.ZipFile(tmp_path / "log.npz", "w") as file, file.open("obs.npy", "w") as member:
        np.lib.format.write_array(member, ARRAYS["matrix"], version)
    with np.load(tmp_path / "log.npz") as archive:
        np.testing.assert_array_equal(NpzArrays(archive).read("obs"), ARRAYS["matrix"])


@pytest.mark.parametrize(
    ("content", "error", "told"),
    [
        (b"not an array", TypeError, "obs is no array"),
        (None, ValueError, "Object arrays"),
        ("cut", EOFError, "ends after"),
    ],
)
def test_what_is_no_array_of_numbers_is_an_error(tmp_path, content, error, told):
    np.savez(tmp_path / "log.npz", obs=np.array([{}] if content is None else [1.0, 2.0]))
    if content is not None:
        with zipfile.ZipFile(tmp_path / "log.npz") as file:
            whole = file.read("obs.npy")
        with zipfile.ZipFile(tmp_path / "log.npz", "w") as file:
            file.writestr("obs.npy", whole[:-1] if content == "cut" else content)
    with np.load(tmp_path / "log.npz") as archive, pytest.raises(error, match=told):
        NpzArrays(archive).read("obs")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10, 99, 100, 101])
def test_sums_at_multiples_of_each_limit(size):
    values = np.arange(size)
    expected = [values[limit - 1 :: limit].sum() for limit in range(2, size + 1)]
    assert _at_multiples(values).tolist() == expected


def test_least_squares_are_those_of_a_decomposition_whatever_the_units():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(500, 6)) * 10.0 ** np.array([-6, -3, 0, 3, 6, 0])
    seen[:, 5] = seen[:, 4] * 1e-3 + seen[:, 3]  # one column too many
    values = seen @ rng.normal(size=(6, 2)) + rng.normal(size=(500, 2))
    best = seen @ np.linalg.lstsq(seen, values, rcond=None)[0]
    np.testing.assert_allclose(seen @ fitted_weights(seen, values), best, rtol=1e-6, atol=1e-6)
    assert np.isfinite(fitted_weights(np.zeros((5, 2)), np.ones((5, 1)))).all()
