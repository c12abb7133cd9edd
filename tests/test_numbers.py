"""Counts in sentences agree with their number."""

import numpy as np
import pytest

from moore.assessing.estimate import mean_of
from moore.numbers import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12345, "12,345 rows")]
)
def test_a_count_agrees_with_its_number(number, told):
    assert counted(number, "row") == told


def test_a_log_of_one_episode_has_one_whole_episode():
    assert mean_of(np.zeros(1)).refused.startswith("The log has 1 whole episode, and ")
