"""Arrays that several runs hold once, because they hold the same."""

import hashlib
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

# Smaller arrays are cheaper to copy than to compare.
_LEAST_BYTES = 1 << 16


class Common:
    """The arrays that were shared, by their content."""

    def __init__(self) -> None:
        self._known: dict[tuple, jax.Array] = {}
        self._places: set[int] = set()

    def same(self, tree: PyTree) -> PyTree:
        """The tree, with known arrays in place of its own where they hold the same."""
        return jax.tree.map(self._same, tree)

    def __contains__(self, leaf: Any) -> bool:
        """Whether it is one of these arrays; an equal copy is not."""
        return id(leaf) in self._places  # they are kept, so no other array has their id

    def _same(self, leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or leaf.nbytes < _LEAST_BYTES:
            return leaf
        content = hashlib.sha256(np.ascontiguousarray(leaf).view(np.uint8).data).digest()
        kept = self._known.setdefault((leaf.shape, leaf.dtype, content), leaf)
        self._places.add(id(kept))
        return kept
