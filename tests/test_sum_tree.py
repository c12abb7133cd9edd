"""The sum tree: against brute force, by its frequencies, and after long histories."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moore.replay import sum_tree

rewrite = jax.jit(sum_tree.rewrite)
draw = jax.jit(sum_tree.sample, static_argnames=("count", "stratified"))

# A few sizes, so that few programs are compiled: 1 leaf, a full level, and levels with padding.
CAPACITIES = (1, 2, 5, 8, 13)
BATCH = 4

# Over 12 orders of magnitude, so that sums lose digits, and often 0.
some_priority = st.one_of(
    st.just(0.0),
    st.floats(2.0**-20, 2.0**20, width=32),
    st.sampled_from([2.0**-20, 1.0, 2.0**20]),
)


@st.composite
def histories(draw):
    """A capacity, and batches of (rows, priorities) with rows twice and rows outside."""
    capacity = draw(st.sampled_from(CAPACITIES))
    row = st.integers(-2, capacity + 2)
    one = st.tuples(
        st.lists(row, min_size=BATCH, max_size=BATCH),
        st.lists(some_priority, min_size=BATCH, max_size=BATCH),
    )
    return capacity, draw(st.lists(one, min_size=1, max_size=8))


def applied(tree, rows, priorities):
    return rewrite(tree, jnp.asarray(rows, jnp.int32), jnp.asarray(priorities, jnp.float32))


def by_hand(capacity, history):
    """Leaves after a history, written one by one."""
    leaves = np.zeros(capacity, np.float32)
    for rows, priorities in history:
        for row, priority in zip(rows, priorities, strict=True):
            if 0 <= row < capacity:
                leaves[row] = priority
    return leaves


def grown(capacity, history):
    tree = sum_tree.empty(capacity)
    for rows, priorities in history:
        tree = applied(tree, rows, priorities)
    return tree


@given(histories())
@settings(max_examples=12)
def test_every_history_leaves_the_tree_of_its_last_priorities(case):
    capacity, history = case
    tree, leaves = grown(capacity, history), by_hand(capacity, history)
    rows = jnp.arange(capacity)
    np.testing.assert_array_equal(sum_tree.get(tree, rows), leaves)
    # Bit by bit: nothing is left of what was written before.
    np.testing.assert_array_equal(tree.nodes, sum_tree.build(jnp.asarray(leaves)).nodes)


@given(histories(), st.integers(0, 2**31 - 1), st.booleans())
@settings(max_examples=30)
def test_no_history_makes_a_row_of_priority_zero_come_up(case, seed, stratified):
    capacity, history = case
    tree, leaves = grown(capacity, history), by_hand(capacity, history)
    rows = np.asarray(draw(tree, jax.random.key(seed), 64, stratified=stratified))
    if leaves.any():
        assert rows.min() >= 0 and rows.max() < capacity
        assert leaves[rows].min() > 0
    else:
        np.testing.assert_array_equal(rows, -1)


@given(st.lists(some_priority, min_size=13, max_size=13).filter(any), st.integers(0, 2**31 - 1))
@settings(max_examples=30)
def test_stratified_draws_lie_in_their_segments(priorities, seed):
    leaves, count = np.asarray(priorities, np.float32), 32
    tree = sum_tree.build(jnp.asarray(leaves))
    rows = np.asarray(draw(tree, jax.random.key(seed), count))
    ends = np.cumsum(leaves.astype(np.float64))
    begins, whole, segment = ends - leaves, ends[-1], np.arange(count)
    # Row i is drawn in segment k only where [begin_i, end_i) meets it, up to float32's rounding.
    slack = 1e-5 * whole
    assert (begins[rows] <= (segment + 1) * whole / count + slack).all()
    assert (ends[rows] >= segment * whole / count - slack).all()


def test_nodes_worked_by_hand():
    tree = applied(sum_tree.empty(3), [2, 0], [4.0, 1.0])
    #            root  (1+0, 4+0)   leaves, the last is padding
    np.testing.assert_array_equal(tree.nodes, [0, 5, 1, 4, 1, 0, 4, 0])
    assert float(sum_tree.total(tree)) == 5.0
    np.testing.assert_array_equal(sum_tree.build(jnp.asarray([1.0, 0.0, 4.0])).nodes, tree.nodes)


def test_the_last_of_equal_rows_counts_and_rows_outside_do_not():
    tree = applied(sum_tree.empty(3), [1, 0, 1, -1, 3, 1], [7.0, 2.0, 8.0, 50.0, 60.0, 3.0])
    np.testing.assert_array_equal(sum_tree.get(tree, jnp.arange(3)), [2.0, 3.0, 0.0])
    assert float(sum_tree.total(tree)) == 5.0
    np.testing.assert_array_equal(sum_tree.get(tree, jnp.asarray([-1, 3, 100, 1])), [0, 0, 0, 3])


def test_an_empty_batch_changes_nothing():
    tree = applied(sum_tree.empty(2), [0], [1.0])
    np.testing.assert_array_equal(applied(tree, [], []).nodes, tree.nodes)


@pytest.mark.parametrize("make", [sum_tree.empty, lambda n: sum_tree.build(jnp.zeros(n))])
def test_a_tree_without_rows_is_refused(make):
    with pytest.raises(ValueError, match="capacity = 0"):
        make(0)


def test_all_priorities_zero_draw_minus_one():
    np.testing.assert_array_equal(draw(sum_tree.empty(5), jax.random.key(0), 3), [-1, -1, -1])


def test_4000_rewrites_leave_no_remainder():
    """Large and small priorities in turn, then 0 but for one row: that row alone is drawn."""

    def step(tree, key):
        key_rows, key_scale, key_priority = jax.random.split(key, 3)
        rows = jax.random.randint(key_rows, (8,), 0, 100)
        scale = 10.0 ** jax.random.randint(key_scale, (), -6, 7).astype(jnp.float32)
        return sum_tree.rewrite(tree, rows, scale * jax.random.uniform(key_priority, (8,))), None

    @jax.jit
    def history(tree, keys):
        return jax.lax.scan(step, tree, keys)[0]

    tree = history(sum_tree.empty(100), jax.random.split(jax.random.key(0), 4000))
    leaves = sum_tree.get(tree, jnp.arange(100))
    np.testing.assert_array_equal(tree.nodes, sum_tree.build(leaves).nodes)
    tree = applied(tree, np.arange(100), np.where(np.arange(100) == 37, 1e-6, 0.0))
    assert float(sum_tree.total(tree)) == np.float32(1e-6)
    np.testing.assert_array_equal(draw(tree, jax.random.key(1), 1000), 37)


def frequencies(tree, draws, *, stratified):
    """How often each row comes, in batches of 256."""
    keys = jax.random.split(jax.random.key(0), draws // 256)
    sample = functools.partial(sum_tree.sample, tree, count=256, stratified=stratified)
    rows = jax.jit(lambda ks: jax.lax.map(sample, ks))(keys)
    return np.bincount(np.asarray(rows).ravel(), minlength=tree.capacity)


SKEWED = np.asarray([1.0, 0.0, 30.0, 0.5, 0.02, 7.0, 0.0, 3.0, 3.0, 0.3, 11.0])


def test_independent_draws_have_the_frequencies_of_the_priorities():
    tree = sum_tree.build(jnp.asarray(SKEWED, jnp.float32))
    counts = frequencies(tree, 256 * 1000, stratified=False)
    drawable = SKEWED > 0
    assert counts[~drawable].sum() == 0
    expected = counts.sum() * SKEWED / SKEWED.sum()
    assert stats.chisquare(counts[drawable], expected[drawable]).pvalue > 1e-3


def test_stratified_draws_have_the_same_means_and_a_smaller_spread():
    tree, batches = sum_tree.build(jnp.asarray(SKEWED, jnp.float32)), 1000
    counts = frequencies(tree, 256 * batches, stratified=True)
    share = SKEWED / SKEWED.sum()
    # A row is at the edge of two segments at most: a batch's count has variance 1/4 + 1/4 at most.
    error = (counts - 256 * batches * share) / np.sqrt(batches / 2)
    assert np.abs(error).max() < 4
    assert counts[SKEWED == 0].sum() == 0
    one = np.bincount(np.asarray(draw(tree, jax.random.key(3), 256)), minlength=len(SKEWED))
    assert (np.abs(one - 256 * share) < 2).all()


def test_rare_rows_at_a_segments_edge_come_as_often_as_they_should():
    """Two segments, with the border inside row 1: it is drawn in both."""
    tree, batches = sum_tree.build(jnp.asarray([3.0, 4.0, 1.0])), 20_000
    keys = jax.random.split(jax.random.key(0), batches)
    first, second = np.asarray(jax.vmap(lambda k: sum_tree.sample(tree, k, 2))(keys)).T
    # [0, 4) holds row 0 for 3 of 4 parts, [4, 8) row 1 for 3 of 4.
    assert stats.chisquare(np.bincount(first), [0.75 * batches, 0.25 * batches]).pvalue > 1e-3
    assert stats.chisquare(np.bincount(second)[1:], [0.75 * batches, 0.25 * batches]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("left", "right"), [(1.0, 3.0), (3.0, 1.0), (1e-6, 1.0), (1.0, 1e-6), (0.1, 0.7), (2.0, 2.0)]
)
def test_of_all_32_bit_numbers_the_right_share_goes_left(left, right):
    low, high = 0, 2**32  # the first number that goes right lies in [low, high]
    small, large = sorted((left, right))
    below = left <= right  # the numbers below it go to the smaller side
    while low < high:
        middle = (low + high) // 2
        bits = jnp.asarray([middle], jnp.uint32)
        is_left = sum_tree.goes_left(bits, jnp.asarray([left]), jnp.asarray([right]))
        low, high = (middle + 1, high) if bool(is_left[0]) == below else (low, middle)
    share = Fraction(np.float32(small).item()) / (
        Fraction(np.float32(small).item()) + Fraction(np.float32(large).item())
    )
    assert low / 2**32 == pytest.approx(float(share), rel=1e-6, abs=2**-32)


@pytest.mark.parametrize("bits", [0, 1, 2**31, 2**32 - 1])
def test_a_side_of_mass_zero_is_never_entered(bits):
    bits = jnp.full(3, bits, jnp.uint32)
    mass, none = jnp.asarray([1e-30, 1.0, 1e30]), jnp.zeros(3)
    assert bool(sum_tree.goes_left(bits, mass, none).all())
    assert not bool(sum_tree.goes_left(bits, none, mass).any())


def test_a_segment_that_only_rounding_made_ends_at_a_drawable_row():
    """2^24 + 3 is rounded up, so the tree's last unit of mass lies past all rows."""
    tree = sum_tree.build(jnp.asarray([2.0**24, 0.0, 3.0, 0.0]))
    assert float(sum_tree.total(tree)) == 2**24 + 4
    draws = jnp.ones(4, jnp.int32), jnp.full(4, 2.0**24 + 3), jnp.full(4, 2.0**24 + 4)
    for _ in range(tree.depth):
        draws, _ = sum_tree.descend(tree, draws, jnp.asarray([0, 1, 2**31, 2**32 - 1], jnp.uint32))
    # The draw is made among all rows, and the smallest numbers lead to the smaller side.
    np.testing.assert_array_equal(draws[0] - tree.leaves, [2, 2, 0, 0])


def test_small_priorities_beside_large_ones():
    """Sums that swallow them: the odd rows are too small to change their parents."""
    leaves = np.where(np.arange(64) % 2 == 0, 1e6, 1e-6)
    leaves[:32] = np.where(np.arange(32) % 2 == 0, 0.0, 1e-6)
    tree = sum_tree.build(jnp.asarray(leaves, jnp.float32))
    rows = np.asarray(draw(tree, jax.random.key(0), 4096))
    assert (leaves[rows] > 0).all()
    assert stats.chisquare(np.bincount(rows, minlength=64)[32::2]).pvalue > 1e-3


def test_a_million_rows():
    capacity = 1_000_000
    rng = np.random.default_rng(0)
    leaves = rng.uniform(0.5, 1.5, capacity).astype(np.float32) * (np.arange(capacity) % 3 > 0)
    tree = jax.jit(sum_tree.build)(jnp.asarray(leaves))
    assert float(sum_tree.total(tree)) == pytest.approx(leaves.sum(dtype=np.float64), rel=1e-6)
    rows = rng.integers(0, capacity, 1000).astype(np.int32)
    leaves[rows] = 100.0
    tree = applied(tree, rows, np.full(1000, 100.0))
    np.testing.assert_array_equal(tree.nodes, sum_tree.build(jnp.asarray(leaves)).nodes)

    rows = np.asarray(draw(tree, jax.random.key(0), 200_000, stratified=False))
    assert leaves[rows].min() > 0
    # One random number of 23 bits would favour the rows that more of its values fall in.
    ends = np.cumsum(leaves.astype(np.float64)) / leaves.sum(dtype=np.float64)
    values = np.diff(np.ceil(ends * 2**23), prepend=0.0)
    favoured = values > leaves / leaves.sum(dtype=np.float64) * 2**23
    for groups in (np.arange(capacity) // 10_000, np.arange(capacity) % 64, favoured.astype(int)):
        expected = np.bincount(groups, weights=leaves)
        counts = np.bincount(groups[rows], minlength=len(expected))
        assert stats.chisquare(counts, expected * len(rows) / expected.sum()).pvalue > 1e-3


def test_maps_over_a_seed_axis():
    leaves = jnp.asarray([[1.0, 0.0, 2.0], [0.0, 5.0, 0.0]])
    keys = jax.random.split(jax.random.key(0), 2)
    trees = jax.vmap(sum_tree.build)(leaves)
    rows = jax.vmap(lambda tree, key: sum_tree.sample(tree, key, 16))(trees, keys)
    single = sum_tree.sample(sum_tree.build(leaves[0]), keys[0], 16)
    np.testing.assert_array_equal(rows[0], single)
    np.testing.assert_array_equal(rows[1], 1)
