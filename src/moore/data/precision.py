"""Whether float32, which training uses, can still represent the steps from row to row.

An encoder's count of 500 million, a Unix time or a position far from zero is rounded to multiples
of 32, 128 or so. Then its steps vanish or come out wrong, although the value itself looks fine.
"""

from collections.abc import Mapping

import numpy as np

from moore.data.checks import as_float32

_WINDOWS, _LENGTH = 64, 128  # consecutive rows, and how many times
_NAMES = ("obs", "action", "reward", "next_obs")
COARSE, LOST = 0.1, 0.5  # root mean square of the rounding, as a share of that of the steps
_RARE = 0.002  # of the steps: the largest, which do not say what is usual
_NOISE = 64 * float(np.finfo(np.float64).eps)  # steps of the rounding of the source itself


class Windows:
    """Some consecutive rows of every array, in the precision of its source.

    They are taken while the arrays are read, because afterwards the log is only kept as float32.
    """

    def __init__(self, rows: int):
        """Prepares for arrays with this number of rows."""
        if rows <= _WINDOWS * _LENGTH:
            self._rows = np.arange(rows)
        else:
            starts = np.linspace(0, rows - _LENGTH, _WINDOWS).astype(np.int64)
            self._rows = (starts[:, None] + np.arange(_LENGTH)).reshape(-1)
        self._parts: dict[str, list[np.ndarray]] = {}

    def take(self, key: str, start: int, values: np.ndarray) -> None:
        """Takes the values of an array from row `start` on; blocks come in order."""
        if key not in _NAMES or not _may_lose(values.dtype):
            return
        at = np.searchsorted(self._rows, (start, start + len(values)))
        rows = self._rows[at[0] : at[1]] - start
        self._parts.setdefault(key, []).append(np.array(values[rows]))

    def lost(self, ends: np.ndarray) -> dict:
        """The result of `lost_in_float32`; ends: (rows,) bool, last rows of the episodes."""
        arrays = {key: np.concatenate(parts) for key, parts in self._parts.items()}
        arrays = {k: a.reshape(len(a), -1) for k, a in arrays.items() if len(a) == len(self._rows)}
        if not arrays:
            return {}
        follows = np.append(np.diff(self._rows) == 1, False)
        return _lost(arrays, follows & ~ends[self._rows])


class PassingWindows:
    """Like `Windows`, for rows that come block by block while their number is unknown."""

    def __init__(self) -> None:
        self._every = 1  # of the runs of `_LENGTH` rows is kept
        self._size = 0
        self._rows: list[np.ndarray] = []
        self._parts: dict[str, list[np.ndarray]] = {}

    def take(self, arrays: Mapping[str, np.ndarray | None]) -> None:
        """Takes the next rows of obs, action, reward and next_obs, of those that exist."""
        there = {k: v for k, v in arrays.items() if v is not None and k in _NAMES}
        length = len(next(iter(there.values())))
        rows = np.arange(self._size, self._size + length)
        self._size += length
        keep = self._kept(rows)
        self._rows.append(rows[keep])
        for key, values in there.items():
            self._parts.setdefault(key, []).append(values[keep])
        while sum(map(len, self._rows)) > 2 * _WINDOWS * _LENGTH:
            self._every *= 2
            kept = [self._kept(rows) for rows in self._rows]
            for parts in (self._rows, *self._parts.values()):
                parts[:] = [np.concatenate([a[k] for a, k in zip(parts, kept, strict=True)])]

    def lost(self, goes_on: np.ndarray) -> dict:
        """The result of `lost_in_float32`; goes_on: (n,) bool, rows followed by their successor."""
        rows = np.concatenate(self._rows)
        arrays = {key: np.concatenate(parts) for key, parts in self._parts.items()}
        arrays = {key: a.reshape(len(a), -1) for key, a in arrays.items() if _may_lose(a.dtype)}
        return _lost(arrays, np.append(np.diff(rows) == 1, False) & goes_on[rows])

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        return rows // _LENGTH % self._every == 0


def lost_in_float32(arrays: Mapping[str, np.ndarray | None], ends: np.ndarray) -> dict:
    """Columns whose steps from row to row are lost in float32, completely or in part.

    Args:
        arrays: obs, action, reward and next_obs, of those that exist, each (n, ...).
        ends: (n,) bool, last rows of the episodes.

    Returns:
        By array a list of {dim, rounding, wrong}: the rounding's root mean square as a share of the
        steps', above `COARSE`, and the share of the steps that come out wrong by more than half.
        Arrays without any such column are left out.
    """
    wide = {k: v for k, v in arrays.items() if v is not None and _may_lose(v.dtype)}
    windows = Windows(len(ends))
    for key, value in wide.items():
        windows.take(key, 0, value)
    return windows.lost(ends) if wide else {}


def _lost(arrays: dict[str, np.ndarray], follows: np.ndarray) -> dict:
    found = {}
    for key in ("obs", "action", "reward"):
        if key not in arrays:
            continue
        value = arrays[key]
        pairs = value[:-1][follows[:-1]], value[1:][follows[:-1]]
        if key == "obs" and "next_obs" in arrays and arrays["next_obs"].shape == value.shape:
            pairs = value, arrays["next_obs"]
        columns = [_column(dim, a, b) for dim, (a, b) in enumerate(zip(*(p.T for p in pairs),
                                                                       strict=True))]  # fmt: skip
        if bad := [column for column in columns if column is not None]:
            found[key] = bad
    return found


def _column(dim: int, before: np.ndarray, after: np.ndarray) -> dict | None:
    noise: float | np.ndarray  # of the source's own rounding: one number, or one a row
    if before.dtype.kind in "iu":
        # Exact also beyond 2**53, where float64 rounds; the difference wraps to its sign.
        step = (after.astype(np.uint64) - before.astype(np.uint64)).view(np.int64)
        step, noise = step.astype(np.float64), 0.0
    else:
        wide = np.promote_types(before.dtype, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            step = (after.astype(wide) - before.astype(wide)).astype(np.float64)
            noise = _NOISE * np.abs(before.astype(np.float64))
    with np.errstate(invalid="ignore"):
        kept = as_float32(after).astype(np.float64) - as_float32(before).astype(np.float64)
        good = np.isfinite(step) & np.isfinite(kept) & (np.abs(step) > noise)
    step, error = np.abs(step[good]), np.abs(kept[good] - step[good])
    if len(step) == 0:
        return None
    common = step <= np.quantile(step, 1 - _RARE)
    unit = step[common].max()  # squares of the smallest and of the largest numbers do not fit
    with np.errstate(over="ignore"):
        shares = step[common] / unit, error / unit
        rounding = float(np.sqrt(np.mean(shares[1] ** 2) / np.mean(shares[0] ** 2)))
    rounding = min(rounding, 1e9)  # finite, for JSON
    if rounding <= COARSE:
        return None
    wrong = float(np.mean(error > 0.5 * step))
    return {"dim": dim, "rounding": rounding, "wrong": wrong}


def _may_lose(dtype: np.dtype) -> bool:
    """Whether float32 may not hold every number of the type."""
    return dtype.kind in "iuf" and dtype.itemsize > (4 if dtype.kind == "f" else 2)
