"""What is done with whole trees of arrays."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def copied(tree: PyTree) -> PyTree:
    """Copies, for the compiled update reuses the memory of what it is given."""
    return jax.tree.map(lambda x: x.copy() if isinstance(x, jax.Array) else x, tree)


def strongly_typed(tree: PyTree) -> PyTree:
    """The same numbers, none of them weakly typed, as those made of Python's are.

    What a compiled program returns is strongly typed, so that it would be compiled again for the
    second call.
    """

    def strong(x):
        weak = isinstance(x, jax.Array) and x.aval.weak_type
        return jnp.asarray(x, x.dtype) if weak else x

    return jax.tree.map(strong, tree)
