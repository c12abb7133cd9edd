"""Many rows through the networks of all members, a block of rows at a time where that is faster.

What a layer holds for 10,000 rows and 7 members is larger than the caches of a CPU, and each layer
writes it to memory and reads it back. Blocks of some hundred rows stay in the cache: predictions
for 10,000 rows took 0.8 of the time (docs/performance.md). Other devices get all rows at once.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, PyTree

# From so many rows on there are blocks, of a size between these two that divides the rows.
FROM, LEAST, MOST = 1000, 128, 512


def block_of(rows: int) -> int:
    """Number of rows of a block; all of them if no size fits, or on a device that is no CPU."""
    if rows < FROM or jax.default_backend() != "cpu":
        return rows
    return next((size for size in range(MOST, LEAST - 1, -1) if rows % size == 0), rows)


def in_blocks(
    predict: Callable[[Float[Array, "block inputs"]], PyTree], rows: Float[Array, "rows inputs"]
) -> PyTree:
    """What `predict` says of all rows; its results are arrays (members, block, ...)."""
    count, size = rows.shape[0], block_of(rows.shape[0])
    if size == count:
        return predict(rows)
    found = jax.lax.map(predict, rows.reshape(count // size, size, rows.shape[1]))

    def joined(part: Array) -> Array:
        return part.swapaxes(0, 1).reshape(part.shape[1], count, *part.shape[3:])

    return jax.tree.map(joined, found)


def each_member(function: Callable[[PyTree], PyTree], members: PyTree) -> PyTree:
    """`function` of every member, whose axis comes first: on a CPU one after the other.

    Its results are those of `jax.vmap`, bit for bit in float32 as far as was tried.
    """
    if jax.default_backend() == "cpu":
        return jax.lax.map(function, members)
    return jax.vmap(function)(members)
