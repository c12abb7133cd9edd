"""Arrays of different rank in one operation, said aloud: nothing here broadcasts unasked."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped


def to_rank_of(
    x: Shaped[Array | np.ndarray, "..."], other: Shaped[Array | np.ndarray, "..."]
) -> Shaped[Array, "..."]:
    """`x` with leading axes of size 1, as many as it lacks beside `other`."""
    return jnp.expand_dims(x, tuple(range(other.ndim - x.ndim)))
