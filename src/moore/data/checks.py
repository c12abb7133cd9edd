"""Checks of a log's arrays; an error is one line that names the data set and the array."""

from collections.abc import Iterator, Mapping

import numpy as np

from moore.errors import InputError

MATRICES = ("obs", "action", "next_obs")
_LONGEST = 300  # characters of anything that a message quotes
_BLOCK_BYTES = 2**23


def blocks(
    rows: int, row_bytes: int, *, most: int = 2**16, multiple_of: int = 1
) -> Iterator[slice]:
    """Cuts `rows` into blocks of at most 8 MiB and `most` rows, so that temporaries stay small."""
    step = max(1, min(most, _BLOCK_BYTES // max(1, row_bytes)))
    step = max(multiple_of, step // multiple_of * multiple_of)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def shown(value: object) -> str:
    """Text from a file or a library for a message: on one line, printable, not too long."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(str(value)[:10_000].split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def check_numbers(name: str, key: str, dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise InputError(
            f"{name}: {key} has dtype {shown(dtype)}; expected numbers; convert and write it again"
        )


def check_exact(name: str, key: str, value: np.ndarray) -> None:
    """Raises InputError for whole numbers from 2**53 on that a float64 does not hold exactly."""
    if value.dtype.kind in "iu" and value.dtype.itemsize == 8:
        wrong = value.astype(np.float64).astype(value.dtype) != value
        if wrong.any():
            raise InputError(
                f"{name}: {key} holds {value[wrong][0]}; expected whole numbers below 2**53, "
                "which a float64 holds exactly; subtract an offset, or leave it out"
            )


def check_shapes(name: str, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError unless the shapes are those of one log; vectors may be (n,) only."""
    for key, shape in shapes.items():
        ndim = 2 if key in MATRICES else 1
        if len(shape) != ndim:
            expected = "(rows, dim)" if ndim == 2 else "(rows,)"
            raise InputError(
                f"{name}: {key} has shape {shape}; expected {expected}; reshape the array"
            )
        if 0 in shape[1:]:
            raise InputError(
                f"{name}: {key} has shape {shape}; expected numbers in each row; write them again"
            )
    rows = {key: shape[0] for key, shape in shapes.items()}
    if len(set(rows.values())) > 1:
        raise InputError(f"{name}: lengths differ: {rows}; expected one row per transition in each")
    if 0 in rows.values():
        raise InputError(f"{name}: no rows; expected transitions with their successors")
    if "next_obs" in shapes and shapes["next_obs"] != shapes["obs"]:
        raise InputError(
            f"{name}: next_obs has shape {shapes['next_obs']} but obs {shapes['obs']}; "
            "expected the same; store the successor of each row"
        )


def as_flags(name: str, key: str, value: np.ndarray) -> np.ndarray:
    """bool, true where the value is not 0; InputError if there are NaN, or three other values.

    So neither rewards nor numbers of episodes, nor anything else under this name, pass for flags.
    """
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise InputError(f"{name}: {key} holds NaN or infinities; expected flags, 0 or 1; set them")
    if value.dtype == bool:  # in a file, a byte may be neither 0 nor 1; NumPy does not handle that
        value = value.view(np.uint8)
    flags = value != 0
    set_to = value[flags]
    others = set_to[set_to != set_to[:1]]
    if (others != others[:1]).any():
        third = others[(others != others[0]).argmax()]
        raise InputError(
            f"{name}: {key} holds {set_to[0]:g}, {others[0]:g}, {third:g} and perhaps more; "
            "expected flags, 0 or 1; name the array that holds them, or write them again"
        )
    return flags


def action_rounding(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """How far beyond its bounds (action_dim,) rounding may carry a logged action, in its units."""
    low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
    share = np.where(high > low, 5e-5 * (high - low), 1e-4)  # locked entries have no range
    return share + np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))


def as_float32(value: np.ndarray) -> np.ndarray:
    """The array as float32, the same one if it is; overflow gives infinity, see `check_finite`."""
    with np.errstate(over="ignore", invalid="ignore"):  # invalid: NaN that signals
        return np.asarray(value, np.float32)


def column(key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an array whose vectors may be stored as (n, 1)."""
    return shape[:1] if key not in MATRICES and shape[1:] == (1,) else shape


def lying(shapes: Mapping[str, tuple[int, ...]]) -> set[str]:
    """The transposed arrays, whose rows run along the second axis (MATLAB); empty if unsure.

    The vectors, (n,), (n, 1) or (1, n), give the number of rows. A matrix is transposed if only its
    second axis has that length. If both have, it is treated like the other matrices.
    """
    if any(not 1 <= len(shape) <= 2 for shape in shapes.values()):
        return set()
    vectors = {key: shape for key, shape in shapes.items() if key not in MATRICES}
    rows = {max(shape) for shape in vectors.values() if min(shape) == 1 or len(shape) == 1}
    if len(rows) != 1 or rows <= {0, 1}:
        return set()
    n = rows.pop()
    found = {key for key, shape in vectors.items() if shape == (1, n)}
    matrices = {key: shape for key, shape in shapes.items() if key in MATRICES and len(shape) == 2}
    across = {key for key, shape in matrices.items() if shape[1] == n != shape[0]}
    square = {key for key, shape in matrices.items() if shape == (n, n)}
    upright = matrices.keys() - across - square
    if square and (across or found) and not upright:
        across |= square
    return found | across


LYING = (
    "the arrays {keys} are transposed, as MATLAB writes them (rows along the second axis); they "
    "are read the other way round."
)


def check_finite(name: str, key: str, value: np.ndarray) -> None:
    """Raises InputError if values are NaN or infinite, with their number and the first row."""
    count, first = 0, 0
    for block in blocks(len(value), value.nbytes // max(1, len(value))):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(value[block].sum()):  # so is each of them, and no array is made
                continue
        bad = ~np.isfinite(value[block])
        if bad.any():
            first = first if count else block.start + int(np.argwhere(bad)[0, 0])
            count += int(bad.sum())
    if count:
        raise InputError(
            f"{name}: {key} holds {count} values that are NaN or infinite as float32 (first: "
            f"row {first}, counted from 0); expected finite numbers; repair or drop these rows"
        )
