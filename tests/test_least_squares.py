"""Least squares by the products of the columns, also of columns that depend on each other."""

import numpy as np
import pytest

from moore.data.least_squares import fitted_weights


@pytest.mark.parametrize("columns", [1, 5, 140])
def test_weights_are_those_of_a_decomposition_of_the_rows(columns):
    rng = np.random.default_rng(0)
    seen, values = rng.normal(2, 3, (900, columns)), rng.normal(size=(900, 3))
    expected = np.linalg.lstsq(seen, values, rcond=None)[0]
    np.testing.assert_allclose(fitted_weights(seen, values), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("spread", [1e-8, 1.0, 1e8])
def test_columns_that_depend_on_each_other_share_the_weight(spread):
    """Copies, sums, zeros and more columns than rows: what is foretold is as good as without."""
    rng = np.random.default_rng(0)
    one = spread * rng.normal(size=(300, 4))
    values = one @ rng.normal(size=(4, 2))
    seen = np.column_stack([one, one, one.sum(axis=1), 0 * one[:, 0]])
    np.testing.assert_allclose(seen @ fitted_weights(seen, values), values, rtol=1e-5)
    wide = rng.normal(size=(10, 30))
    np.testing.assert_allclose(wide @ fitted_weights(wide, values[:10]), values[:10], rtol=1e-5)


def test_no_column_has_no_weight():
    assert fitted_weights(np.zeros((5, 0)), np.ones((5, 2))).shape == (0, 2)
    assert not fitted_weights(np.zeros((5, 3)), np.ones((5, 2))).any()
