"""Many rows and all members in blocks, on a CPU: the same results in less time."""

import jax
import numpy as np
import pytest

from moore.dynamics import blocks
from moore.dynamics.blocks import block_of, each_member
from moore.dynamics.ensemble import init_ensemble, predict_all


@pytest.mark.parametrize(
    "rows, size",
    [(999, 999), (1000, 500), (10_000, 500), (1024, 512), (1250, 250), (1009, 1009), (1270, 254)],
)
def test_blocks_divide_the_rows_and_few_rows_are_one_block(rows, size):
    assert block_of(rows) == size


def test_predictions_in_blocks_are_those_of_all_rows_at_once(monkeypatch):
    ensemble = init_ensemble(jax.random.key(0), 3, 1, members=3, elites=2, hidden=(8, 8))
    inputs = jax.random.normal(jax.random.key(1), (1500, 4))
    mean, std = predict_all(ensemble, inputs)
    assert block_of(1500) == 500 and mean.shape == std.shape == (3, 1500, 4)
    monkeypatch.setattr(blocks, "FROM", 10_000)
    whole_mean, whole_std = predict_all(ensemble, inputs)
    np.testing.assert_allclose(mean, whole_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, whole_std, rtol=1e-5)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_other_devices_get_everything_at_once(monkeypatch, device):
    monkeypatch.setattr(blocks.jax, "default_backend", lambda: device)
    assert block_of(10_000) == (500 if device == "cpu" else 10_000)
    members = jax.numpy.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(each_member(lambda x: x.sum(), members), [1.0, 5.0, 9.0])
    program = str(jax.make_jaxpr(lambda x: each_member(lambda y: y.sum(), x))(members))
    assert ("scan" in program) == (device == "cpu")
