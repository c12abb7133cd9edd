"""Whether the decimal sign of a column stands between its thousands instead."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SAMPLE = 2000  # cells, evenly spaced
_FEW, _MANY = 3, 20


def between_thousands(cells: pa.Array, values: np.ndarray, decimal: str) -> tuple[str, str] | None:
    """Two numbers of a column, such as 980 and 1.010, that only thousands explain; else None.

    A column of numbers with three decimals has no numbers without a sign, and numbers that are
    written as short as possible do not always have three decimals.

    Args:
        cells: (n,) texts of the numbers.
        values: (n,) what they are with this decimal sign; NaN where a cell is missing.
        decimal: "." or ",".
    """
    with np.errstate(invalid="ignore"):
        whole = values == np.trunc(values)
        if not (whole & (np.abs(values) >= 100)).any() or not (~whole & (values != 0)).any():
            return None
    text = pc.cast(cells.take(pa.array(np.arange(0, len(cells), -(-len(cells) // _SAMPLE)))),
                   pa.string())  # fmt: skip
    found = [cell.strip() for cell in text.to_pylist() if cell is not None and cell.strip()]
    parted = re.compile(rf"[+-]?[1-9]\d{{0,2}}{re.escape(decimal)}\d{{3}}", re.ASCII)
    with_sign = [cell for cell in found if decimal in cell]
    without = [cell for cell in found if decimal not in cell]
    if not without or not all(parted.fullmatch(cell) for cell in with_sign):
        return None
    if not all(re.fullmatch(r"[+-]?\d{1,3}", cell, re.ASCII) for cell in without):
        return None
    zeros = any(cell.endswith("0") for cell in with_sign)
    if len(with_sign) < (_FEW if zeros else _MANY):
        return None
    return without[0], with_sign[0]
