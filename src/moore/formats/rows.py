"""Rows of a table of any format: blocks are joined into arrays, without a second copy."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from moore.data.checks import as_float32
from moore.data.precision import PassingWindows
from moore.errors import InputError


@dataclass(frozen=True, eq=False)
class Block:
    """Some consecutive rows. A value that is not finite is a missing value."""

    obs: np.ndarray  # (b, obs_dim) float64
    action: np.ndarray  # (b, action_dim) float64
    reward: np.ndarray | None = None  # (b,) float64
    next_obs: np.ndarray | None = None  # (b, obs_dim) float64
    terminal: np.ndarray | None = None  # (b,) float64: 0, 1 or NaN
    timeout: np.ndarray | None = None  # the same
    time: np.ndarray | None = None  # (b,) int64 or float64, in units of `tick` seconds
    time_known: np.ndarray | None = None  # (b,) bool
    first: np.ndarray | None = None  # (b,) bool: begins an episode by its label or its file
    labelled: np.ndarray | None = None  # (b,) bool: has a label; None: all
    tick: float = 1.0

    @classmethod
    def of(
        cls, arrays: Mapping[str, np.ndarray], *, first: np.ndarray, tick: float = 1.0
    ) -> "Block":
        """The block of these arrays, by the names of its attributes."""
        return cls(
            obs=arrays["obs"],
            action=arrays["action"],
            reward=arrays.get("reward"),
            next_obs=arrays.get("next_obs"),
            terminal=arrays.get("terminal"),
            timeout=arrays.get("timeout"),
            time=arrays.get("time"),
            time_known=arrays.get("time_known"),
            first=first,
            labelled=arrays.get("labelled"),
            tick=tick,
        )


@dataclass(frozen=True, eq=False)
class TableRows:
    """All n rows; missing values are NaN in `obs`, `action`, and so on."""

    obs: np.ndarray  # (n, obs_dim)
    action: np.ndarray  # (n, action_dim)
    reward: np.ndarray | None  # (n,) float64
    next_obs: np.ndarray | None  # (n, obs_dim)
    terminal: np.ndarray  # (n,) bool
    timeout: np.ndarray  # (n,) bool
    time: np.ndarray | None  # (n,) in units of `tick` seconds
    tick: float
    first: np.ndarray  # (n,) bool
    has_obs: np.ndarray  # (n,) bool: observation, time and label are there
    has_action: np.ndarray
    has_reward: np.ndarray
    has_flags: np.ndarray
    has_next: np.ndarray
    has_time: np.ndarray
    has_label: np.ndarray
    where: "Places"
    windows: PassingWindows | None  # in the precision of the source; None: so are the rows

    @property
    def size(self) -> int:
        return len(self.has_obs)


@dataclass
class Places:
    """The places of rows in the user's files, for messages."""

    starts: list[int] = field(default_factory=list)
    # Of each block its file, what a row is called there, and the number of its i-th row.
    labels: list[tuple[str, str, Callable[[int], int]]] = field(default_factory=list)

    def add(self, row: int, file: str, word: str, number: Callable[[int], int]) -> None:
        self.starts.append(row)
        self.labels.append((file, word, number))

    def __call__(self, row: int) -> str:
        at = bisect_right(self.starts, row) - 1
        if at < 0:
            return f"row {row + 1}"
        name, word, number = self.labels[at]
        several = len({label[0] for label in self.labels}) > 1
        prefix = f"{name}, " if name and several else ""
        return f"{prefix}{word} {number(int(row) - self.starts[at])}"


def join_blocks(blocks: Iterable[Block], places: Places, *, exact: bool, name: str) -> TableRows:
    """The rows of all blocks, with matrices in float32, or in float64 if `exact`.

    The arrays grow in place, so that there is no second copy of one.
    """
    grown: dict[str, _Growing] = {}
    tick = 1.0
    windows = None if exact else PassingWindows()
    for block in blocks:
        tick = block.tick
        if windows is not None:
            windows.take({key: getattr(block, key) for key in ("obs", "action", "next_obs")})
        for key, value in _arrays(block, exact=exact).items():
            grown.setdefault(key, _Growing()).append(value)
    if not grown:
        raise InputError(f"{name}: no rows; expected them below the names of the columns")
    joined = {key: array.whole() for key, array in grown.items()}
    return TableRows(
        obs=joined["obs"],
        action=joined["action"],
        reward=joined.get("reward"),
        next_obs=joined.get("next_obs"),
        terminal=joined["terminal"],
        timeout=joined["timeout"],
        time=joined.get("time"),
        tick=tick,
        first=joined["first"],
        has_obs=joined["has_obs"],
        has_action=joined["has_action"],
        has_reward=joined["has_reward"],
        has_flags=joined["has_flags"],
        has_next=joined["has_next"],
        has_time=joined["has_time"],
        has_label=joined["has_label"],
        where=places,
        windows=windows,
    )


class _Growing:
    """An array to which rows are added; it grows by a quarter, in place if the system can."""

    def __init__(self):
        self._array = np.empty(0)
        self._size = 0

    def append(self, rows: np.ndarray) -> None:
        if self._size == 0:
            self._array = np.empty(rows.shape, rows.dtype)
        kind = np.result_type(self._array, rows)
        if kind != self._array.dtype:
            self._array = self._array.astype(kind)
        end = self._size + len(rows)
        if end > len(self._array):
            self._resize(max(end, len(self._array) * 5 // 4))
        self._array[self._size : end] = rows
        self._size = end

    def whole(self) -> np.ndarray:
        self._resize(self._size)
        return self._array

    def _resize(self, rows: int) -> None:
        self._array.resize((rows, *self._array.shape[1:]), refcheck=False)


def _arrays(block: Block, *, exact: bool) -> dict[str, np.ndarray]:
    rows, convert = len(block.obs), (np.asarray if exact else as_float32)
    everywhere = np.ones(rows, bool)
    has_time = everywhere if block.time_known is None else block.time_known
    has_label = everywhere if block.labelled is None else block.labelled
    arrays = {
        "obs": convert(_with_nan(block.obs)),
        "action": convert(_with_nan(block.action)),
        "first": np.zeros(rows, bool) if block.first is None else block.first,
        "has_time": has_time,
        "has_label": has_label,
        "has_obs": np.isfinite(block.obs).all(axis=1) & has_time & has_label,
        "has_action": np.isfinite(block.action).all(axis=1),
        "has_reward": everywhere if block.reward is None else np.isfinite(block.reward),
        "has_flags": everywhere,
        "has_next": everywhere,
    }
    for key in ("terminal", "timeout"):
        flags = getattr(block, key)
        arrays[key] = ~everywhere if flags is None else flags == 1
        if flags is not None:
            arrays["has_flags"] = arrays["has_flags"] & ~np.isnan(flags)
    for key in ("reward", "time"):
        if getattr(block, key) is not None:
            arrays[key] = getattr(block, key)
    if block.next_obs is not None:
        arrays["next_obs"] = convert(_with_nan(block.next_obs))
        arrays["has_next"] = np.isfinite(block.next_obs).all(axis=1)
    return arrays


def _with_nan(values: np.ndarray) -> np.ndarray:
    """Replaces infinities by NaN, as missing values; values too large for float32 stay."""
    return np.where(np.isfinite(values), values, np.nan)
