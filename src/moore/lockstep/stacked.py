"""Equal calls of several runs as one program, mapped over a leading axis of runs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from moore.lockstep.common import Common
from moore.lockstep.program import Call


class Stacked:
    """Answers calls of one signature together.

    Programs are compiled for few numbers of runs: the next power of two, but not more than there
    are. A smaller group takes a program that is there already, and is filled up with copies of its
    first call, whose results are thrown away.
    """

    def __init__(self, common: Common):
        """`common`: arrays that get no leading axis where all calls have them in one place."""
        self._common = common
        self._programs: dict[tuple, Callable] = {}
        self._widths: dict[tuple, set[int]] = {}

    def knows(self, call: Call) -> bool:
        """Whether calls of this signature have been answered together before."""
        return call.signature in self._widths

    def answer(self, calls: Sequence[Call], most: int) -> list[Any]:
        """The results of the calls, in their order.

        Args:
            calls: calls of one signature.
            most: number of runs that there are, at least as many as there are calls.
        """
        first = calls[0]
        widths = self._widths.setdefault(first.signature, set())
        wide_enough = [width for width in widths if width >= len(calls)]
        width = min(wide_enough, default=min(most, 1 << (len(calls) - 1).bit_length()))
        filled = [*calls, *[first] * (width - len(calls))]
        one = tuple(map(self._is_one, zip(*(c.leaves for c in calls), strict=True)))
        common = [leaf for leaf, same in zip(first.leaves, one, strict=True) if same]
        own = [[x for x, same in zip(c.leaves, one, strict=True) if not same] for c in filled]
        key = first.signature, one
        if key not in self._programs:
            self._programs[key] = jax.jit(_mapped(first, one))
        results = self._programs[key](common, own)
        widths.add(width)
        return results[: len(calls)]

    def _is_one(self, column: tuple) -> bool:
        """Whether the calls have the same number or the same common array in one place."""
        first = column[0]
        if isinstance(first, int | float):
            return all(x == first for x in column)
        return first in self._common and all(x is first for x in column)


def _mapped(call: Call, one: tuple[bool, ...]) -> Callable:
    """The function of lists of leaves, common ones and each run's own, to a list of results."""
    function, static, tree = call.program.function, call.static, call.tree

    def mapped(common: list, own: list[list]) -> list:
        def of_run(leaves: list) -> Any:
            shared, separate = iter(common), iter(leaves)
            joined = [next(shared) if same else next(separate) for same in one]
            return function(**jax.tree.unflatten(tree, joined), **static)

        stacked = [jnp.stack(column) for column in zip(*own, strict=True)]
        found = jax.vmap(of_run)(stacked)
        return [jax.tree.map(lambda x: x[place], found) for place in range(len(own))]  # noqa: B023

    mapped.__name__ = f"{function.__name__}_together"
    return mapped
