"""Rows drawn in proportion to priorities that change a few at a time: a sum tree on the device.

A binary tree over the priorities; every node is the sum of its two children (Schaul et al. 2016).
Rewriting n priorities of a tree of N and drawing n rows both take O(n log N).

Two things keep it exact in float32. First, a rewrite sums every node above the changed rows anew
from its children; adding differences instead leaves a growing remainder, by which rows of
priority 0 come to be drawn (instadeepai/flashbax#52). Second, a draw uses a fresh random number at
every level; one number for all levels has too few digits to tell 10^6 rows apart.

The functions are pure. If they are called inside a compiled program whose caller donates the tree,
a rewrite happens in place.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32


class SumTree(eqx.Module):
    """Priorities of `capacity` rows and their partial sums.

    `nodes` has the root at 1, the children of node i at 2 i and 2 i + 1, and the rows in order in
    its second half; node 0 and the rows past the capacity are 0.
    """

    nodes: Float[Array, " nodes"]
    capacity: int = eqx.field(static=True)

    @property
    def leaves(self) -> int:
        """Size of the last level: the smallest power of 2 that is at least the capacity."""
        return self.nodes.shape[0] // 2

    @property
    def depth(self) -> int:
        """Number of levels below the root."""
        return self.leaves.bit_length() - 1


def empty(capacity: int) -> SumTree:
    """A tree of `capacity` rows whose priorities are 0.

    Raises:
        ValueError: the capacity is less than 1.
    """
    if capacity < 1:
        raise ValueError(f"capacity = {capacity}: a sum tree needs a row.")
    leaves = 1 << (capacity - 1).bit_length()
    return SumTree(jnp.zeros(2 * leaves, jnp.float32), capacity)


def build(priorities: Float[Array, " capacity"]) -> SumTree:
    """Builds the tree of these priorities in O(N); `rewrite` of all rows gives the same tree.

    Raises:
        ValueError: there is no row.
    """
    tree = empty(priorities.shape[0])
    level = jnp.pad(priorities.astype(jnp.float32), (0, tree.leaves - tree.capacity))
    levels = [level]
    while level.shape[0] > 1:
        level = level[0::2] + level[1::2]
        levels.append(level)
    return SumTree(jnp.concatenate([jnp.zeros(1, jnp.float32), *reversed(levels)]), tree.capacity)


def total(tree: SumTree) -> Float[Array, ""]:
    """The sum of all priorities."""
    return tree.nodes[1]


def has_rows(tree: SumTree, rows: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Whether each row is a row of the tree."""
    return (rows >= 0) & (rows < tree.capacity)


def get(tree: SumTree, rows: Int[Array, " n"]) -> Float[Array, " n"]:
    """The priorities of rows; 0 for rows that are not in the tree."""
    places = tree.leaves + jnp.clip(rows, 0, tree.capacity - 1)
    return jnp.where(has_rows(tree, rows), tree.nodes[places], 0.0)


def rewrite(tree: SumTree, rows: Int[Array, " n"], priorities: Float[Array, " n"]) -> SumTree:
    """Gives the rows new priorities and sums all nodes above them anew.

    If a row appears more than once, its last priority counts. Rows outside [0, capacity), such as
    the -1 of an imagined transition, are left out.

    Args:
        tree: the tree.
        rows: any number of rows, in any order.
        priorities: finite, not negative, with a total that float32 can hold; values below its
            smallest normal number (1.2e-38) may count as 0.
    """
    if rows.shape[0] == 0:
        return tree
    # Equal rows side by side in their order; only the last of each is written.
    order = jnp.argsort(rows, stable=True)
    rows, priorities = rows[order], priorities[order].astype(jnp.float32)
    is_last = jnp.concatenate([rows[1:] != rows[:-1], jnp.ones(1, bool)])
    inside = has_rows(tree, rows)
    # Whatever is left out is sent past the end, where mode="drop" discards it.
    written = jnp.where(is_last & inside, tree.leaves + rows, 2 * tree.leaves)
    nodes = tree.nodes.at[written].set(priorities, mode="drop")

    def sum_parents(_, carry):
        nodes, places = carry
        parents = places // 2
        return nodes.at[parents].set(nodes[2 * parents] + nodes[2 * parents + 1]), parents

    # For rows outside, those above row 0 are summed anew, which does not change them.
    places = tree.leaves + jnp.where(inside, rows, 0)
    nodes, _ = jax.lax.fori_loop(0, tree.depth, sum_parents, (nodes, places))
    return SumTree(nodes, tree.capacity)


def goes_left(
    bits: UInt32[Array, " n"], left: Float[Array, " n"], right: Float[Array, " n"]
) -> Bool[Array, " n"]:
    """True with probability left / (left + right), from 32 random bits; never to a side of mass 0.

    The bits are compared with the smaller side's share, where float32 has enough digits for 32
    bits.
    """
    chance = (bits.astype(jnp.float32) + 0.5) * 2.0**-32 * (left + right)
    return jnp.where(left <= right, chance < left, chance >= right)


def segments(
    tree: SumTree, count: int, stratified: bool
) -> tuple[Float[Array, " count"], Float[Array, " count"]]:
    """Beginning and end, in cumulative priority, of the segment in which each draw is made."""
    if not stratified:
        return jnp.zeros(count), jnp.full(count, total(tree))
    begin = jnp.arange(count) / count * total(tree)
    return begin, jnp.append(begin[1:], total(tree))


def descend(tree: SumTree, carry, bits: UInt32[Array, " count"]):
    """Moves every draw one level down.

    A draw at a node covers the segment (begin, end) of the node's priority, and goes to a child
    with a probability equal to the child's share of that segment. If rounding has moved the segment
    out of the node, the draw is made from the whole node.
    """
    places, begin, end = carry
    left, right = tree.nodes[2 * places], tree.nodes[2 * places + 1]
    left_mass = jnp.maximum(jnp.minimum(end, left) - begin, 0.0)
    begin_right, end_right = jnp.maximum(begin - left, 0.0), jnp.minimum(end - left, right)
    right_mass = jnp.maximum(end_right - begin_right, 0.0)

    lost = left_mass + right_mass <= 0.0
    is_left = goes_left(bits, jnp.where(lost, left, left_mass), jnp.where(lost, right, right_mass))
    whole = jnp.where(is_left, left, right)
    begin = jnp.where(lost, 0.0, jnp.where(is_left, begin, begin_right))
    end = jnp.where(lost, whole, jnp.where(is_left, jnp.minimum(end, left), end_right))
    return (2 * places + jnp.where(is_left, 0, 1), begin, end), None


def sample(
    tree: SumTree, key: PRNGKeyArray, count: int, *, stratified: bool = True
) -> Int[Array, " count"]:
    """Draws rows with replacement, each with probability priority / total; none of priority 0.

    Args:
        tree: the tree.
        key: key of the draws.
        count: number of draws; static.
        stratified: cut the total into `count` equal segments and draw one row from each, in order.
            The expected number of draws of a row is the same as with independent draws, and its
            variance is smaller (Schaul et al. 2016; Balanced Replay, Lee et al. 2021). If false,
            the draws are independent.

    Returns:
        The rows; all are -1 if all priorities are 0.
    """
    bits = jax.random.bits(key, (tree.depth, count), jnp.uint32)
    begin, end = segments(tree, count, stratified)
    carry = jnp.ones(count, jnp.int32), begin, end
    (places, _, _), _ = jax.lax.scan(lambda c, b: descend(tree, c, b), carry, bits)
    return jnp.where(total(tree) > 0.0, places - tree.leaves, -1)
