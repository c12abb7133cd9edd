"""Exact copies among the rows of a log."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.findings.duplicates import duplicate_rows, row_hashes


def by_hand(arrays) -> list[int]:
    seen, copies = set(), []
    for row in range(len(arrays[0])):
        key = tuple(float(v) + 0.0 for array in arrays for v in np.ravel(array[row]))
        if key in seen:
            copies.append(row)
        seen.add(key)
    return copies


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 1)), min_size=1, max_size=40))
def test_copies_are_those_that_a_set_finds(rows):
    first = np.array([a for a, _ in rows], np.float32)
    second = np.array([[b, 0.5] for _, b in rows])
    assert duplicate_rows([first, second]).tolist() == by_hand([first, second])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(1, 4))
def test_rows_whose_hashes_collide_are_told_apart(values, buckets):
    array = np.array(values, np.float64)
    hashes = (array % buckets).astype(np.uint64)
    assert duplicate_rows([array], hashes=hashes).tolist() == by_hand([array])


def test_a_collision_is_a_copy_only_where_every_array_is_equal():
    first, second = np.array([1.0, 1.0, 2.0, 2.0]), np.array([[3.0], [4.0], [5.0], [5.0]])
    hashes = np.array([0, 0, 1, 1], np.uint64)
    assert duplicate_rows([first, second], hashes=hashes).tolist() == [3]


def test_zeros_of_either_sign_and_nans_are_equal_and_tiny_values_are_not():
    alike = np.array([0.0, -0.0, np.nan, -np.nan], np.float32)
    assert duplicate_rows([alike]).tolist() == [1, 3]
    tiny = np.array([1e-9, 2e-9, 3e-9], np.float32)
    assert duplicate_rows([tiny]).tolist() == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, bool])
def test_hashes_follow_the_values(dtype):
    array = np.array([[0, 1], [1, 0], [0, 1], [1, 1]], dtype)
    hashes = row_hashes([array])
    assert hashes[0] == hashes[2]
    assert len(set(hashes.tolist())) == 3


def test_random_rows_do_not_collide():
    array = np.random.default_rng(0).random((200_000, 3), np.float32)
    assert len(np.unique(row_hashes([array]))) == len(array)
