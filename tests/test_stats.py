"""Statistics over seeds: worked values from the literature, and exact bootstrap distributions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from moore.evaluation.stats import holm, iqm, mean, probability_of_improvement, sign_flip


def test_interquartile_mean_of_a_worked_example():
    # Wikipedia, "Interquartile mean": of 12 values the middle six are 5, 6, 6, 7, 7, 8.
    values = np.array([5, 8, 4, 38, 8, 6, 9, 7, 7, 3, 1, 6.0])
    assert iqm([values]).value == 6.5


def test_interquartile_mean_pools_tasks_and_seeds():
    assert iqm([np.array([0.0, 1.0]), np.array([2.0, 100.0])]).value == 1.5


def test_probability_of_improvement_of_a_worked_example():
    # Aesop's race of six tortoises and six hares (Wikipedia, "Mann-Whitney U test"):
    # T H H H H H T T T T T H, first to last; U is 11 for the tortoises and 25 for the hares.
    order = "THHHHHTTTTTH"
    place = {kind: np.array([i for i, k in enumerate(order) if k == kind], float) for kind in "TH"}
    faster = probability_of_improvement([-place["H"]], [-place["T"]])
    assert faster.value == pytest.approx(25 / 36)
    assert probability_of_improvement([-place["T"]], [-place["H"]]).value == pytest.approx(11 / 36)


def test_a_tie_counts_one_half_and_tasks_count_alike():
    ours = [np.array([1.0, 2.0]), np.array([5.0])]
    theirs = [np.array([1.0]), np.array([6.0, 4.0, 4.0])]
    # (1/2 + 1) / 2 on the first task, 2 / 3 on the second.
    assert probability_of_improvement(ours, theirs).value == pytest.approx((0.75 + 2 / 3) / 2)


def by_hand(statistic, *tasks) -> tuple[float, float]:
    """2.5% and 97.5% over every ordered resample of every task, all equally likely."""
    ordered = [itertools.product(task, repeat=len(task)) for task in tasks]
    values = [statistic(np.concatenate(draw)) for draw in itertools.product(*ordered)]
    return tuple(np.quantile(values, [0.025, 0.975], method="inverted_cdf"))


@pytest.mark.parametrize(
    "tasks",
    [
        [[1.0, 2.0, 10.0]],
        [[0.0, 3.0, 4.0, 20.0]],
        [[0.5, -1.0, 7.0, 2.0, 30.0]],
        [[1.0, 5.0], [100.0]],
        [[1.0, 2.0, 4.0], [10.0, 0.0, 3.0]],
    ],
)
def test_with_few_seeds_the_interval_is_that_of_all_resamples(tasks):
    scores = [np.array(task) for task in tasks]
    for ours, plain in ((mean, np.mean), (iqm, lambda x: scipy_stats.trim_mean(x, 0.25))):
        found = ours(scores)
        assert (found.low, found.high) == pytest.approx(by_hand(plain, *tasks))


def test_eight_seeds_are_listed_and_nine_are_drawn(monkeypatch):
    listed, drawn = np.arange(8.0) ** 2, np.arange(9.0) ** 2
    before = iqm([listed]), iqm([drawn])
    monkeypatch.setattr("moore.evaluation.stats.RESAMPLES", 10)
    assert iqm([listed]) == before[0]
    assert iqm([drawn]) != before[1]


def test_the_random_resamples_of_many_seeds_come_near_to_all_of_them(monkeypatch):
    values = np.array([0.84, 0.0, 0.21, 0.64, 0.01, 0.77, 0.64, 2.2])
    exact = iqm([values])
    monkeypatch.setattr("moore.evaluation.stats.LISTED", 0)
    found = iqm([values])
    assert found.value == exact.value
    assert abs(found.low - exact.low) < 0.1 and abs(found.high - exact.high) < 0.1


def test_resampling_is_stratified_by_task():
    """Two tasks far apart, their seeds close: a pooled bootstrap would be 100 wide."""
    found = mean([np.array([0.0, 1.0, 2.0]), np.array([100.0, 101.0, 102.0])])
    assert found.value == 51.0 and found.high - found.low < 2.5


def test_intervals_cover_at_about_their_rate():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        found = mean([rng.normal(size=20)])
        hits += found.low <= 0.0 <= found.high
    # Percentile intervals of 20 values cover a little less than 95%; 86% to 99% is 5 sigma.
    assert 172 <= hits <= 198


@pytest.mark.parametrize("listed", [10_000, 0], ids=["all resamples", "random ones"])
def test_a_lone_seed_has_no_interval_and_is_kept_beside_others(listed, monkeypatch):
    monkeypatch.setattr("moore.evaluation.stats.LISTED", listed)
    assert iqm([np.array([3.0])]).low is None
    found = mean([np.array([0.0, 2.0]), np.array([10.0])])
    assert found.value == 4.0 and found.seeds == 3
    assert 10 / 3 - 1e-9 <= found.low <= found.high <= 14 / 3 + 1e-9


def test_equal_seeds_have_a_point_for_an_interval():
    found = iqm([np.array([2.0, 2.0, 2.0])])
    assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)


def test_the_same_seeds_give_the_same_interval():
    values = [np.array([1.0, 5.0, 2.0, 8.0])]
    assert iqm(values) == iqm(values)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.floats(-50, 50))
def test_shifts_shift_and_the_interval_holds_the_value(values, shift):
    array = np.array(values)
    a, b = iqm([array]), iqm([array + shift])
    np.testing.assert_allclose([b.value, b.low, b.high],
                               np.array([a.value, a.low, a.high]) + shift, atol=1e-6)  # fmt: skip
    assert a.value == pytest.approx(scipy_stats.trim_mean(array, 0.25))


@pytest.mark.parametrize("scores", [[], [np.array([])], [np.zeros((2, 2))]])
def test_no_scores_are_an_error(scores):
    with pytest.raises(ValueError, match="at least one"):
        iqm(scores)


def test_tasks_must_agree():
    with pytest.raises(ValueError, match="2 tasks against 1"):
        probability_of_improvement([np.ones(2), np.ones(2)], [np.ones(2)])


def test_sign_flips_by_hand():
    # Of the eight signs of 1, 2, 3 only +++ and --- have a mean as far from 0 as 2.
    assert sign_flip(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    # The sums that the signs of 4 and 1 can have are 3 and 5 on either side of 0: none is nearer.
    assert sign_flip(np.array([4.0, -1.0, 0.0])) == pytest.approx(1.0)
    assert sign_flip(np.zeros(4)) == 1.0
    assert sign_flip(np.arange(1.0, 9.0)) == pytest.approx(2 / 2**8)


def test_holm_of_a_worked_example():
    # Wikipedia, "Holm-Bonferroni method": p = 0.01, 0.04, 0.03, 0.005 of four hypotheses.
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1.0, 1.0])
