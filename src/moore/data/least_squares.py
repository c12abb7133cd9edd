"""Linear least squares of many rows and few columns, by way of the columns' products.

The products of the columns take a tenth of the time of a decomposition of the rows. In float64 they
keep what rows of float32 can tell.
"""

import numpy as np


def fitted_weights(seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(d, k): weights with which `seen` (m, d) fits `values` (m, k) best; finite numbers."""
    seen, values = np.asarray(seen, np.float64), np.asarray(values, np.float64)
    size = np.sqrt(np.mean(seen**2, axis=0))
    size = np.where(size > 0, size, 1.0)
    seen = seen / size
    return np.linalg.lstsq(seen.T @ seen, seen.T @ values, rcond=None)[0] / size[:, None]
