"""Fig. 4: u over the epochs, the Relative Uncertainty Error, predicted against real drops."""

from pathlib import Path

import numpy as np
import pytest

from moore.errors import InputError
from moore.reports.compare import Finished
from moore.reports.uncertainty import (
    DROP,
    draw_uncertainty,
    predicted_and_real,
    uncertainty_summary,
)


def finished(returns, drops, *, variant="moore:1", seed=0, task="A"):
    """A run with these evaluations at epochs 0, 1, ... and these drop terms at epochs 1, ..."""
    rows = [{"stage": "offline", "epoch": 3, "model/uncertainty_mean": 99.0}]
    rows += [{"stage": "online", "epoch": 0, "eval/return": returns[0]}]
    for epoch, (value, drop) in enumerate(zip(returns[1:], drops, strict=True), start=1):
        rows.append(
            {
                "stage": "online",
                "epoch": epoch,
                "eval/return": value,
                "model/uncertainty_mean": 1.0 / epoch,
                "model/uncertainty_p20": 0.5 / epoch,
                "model/uncertainty_p80": 2.0 / epoch,
                "theory/relative_uncertainty_error": 0.1 * epoch,
                "theory/relative_uncertainty_error_theorem": 0.2 * epoch,
                "theory/drop_term": drop,
                "theory/predicted_drop": None if drop is None else -drop,
            }
        )
    transfer = {"offline": returns[0], "dip": max(0.0, returns[0] - min(returns[1:]))}
    return Finished(Path("."), task, variant, seed, transfer, rows, None)


def test_a_predicted_drop_stands_beside_the_fall_of_the_same_epoch():
    run = finished([10.0, 8.0, 9.0], [3.0, -2.0])
    np.testing.assert_array_equal(predicted_and_real(run, DROP), [[3.0, -2.0], [2.0, -1.0]])


def test_an_epoch_without_a_number_is_left_out():
    run = finished([10.0, 8.0, 9.0, 9.0], [3.0, None, 1.0])
    np.testing.assert_array_equal(predicted_and_real(run, DROP), [[3.0, 1.0], [2.0, 0.0]])


def test_the_summary_by_hand():
    """Three epochs: u = 1, 1/2, 1/3; errors 0.1, 0.2, 0.3 and twice that."""
    runs = [finished([10.0, 8.0, 9.0, 9.5], [3.0, -2.0, 1.0], seed=seed) for seed in (0, 1)]
    (row,) = uncertainty_summary(runs)
    assert (row["task"], row["variant"], row["seeds"]) == ("A", "moore:1", 2)
    np.testing.assert_allclose([row["u_first"], row["u_highest"], row["u_last"]], [1, 1, 1 / 3])
    np.testing.assert_allclose(row["printed"][0], 0.2)
    np.testing.assert_allclose(row["theorem"][0], 0.4)
    assert (row["drop_term"], row["dip"]) == (3.0, 2.0)
    # Terms 3, -2, 1 and falls 2, -1, -0.5 have the same order.
    np.testing.assert_allclose(row["drop_term_rank"][0], 1.0)
    np.testing.assert_allclose(row["predicted_drop_rank"][0], -1.0)


def test_a_term_that_misleads_has_a_negative_correlation():
    (row,) = uncertainty_summary([finished([10.0, 8.0, 9.0, 9.5], [-3.0, 2.0, 1.0])])
    assert row["drop_term_rank"][0] < 0


def test_variants_and_tasks_have_a_row_each():
    runs = [
        finished([10.0, 8.0, 9.0], [3.0, -2.0], variant=variant, task=task)
        for task in "AB"
        for variant in ("moore:1", "uniform")
    ]
    rows = uncertainty_summary(runs)
    assert [(row["task"], row["variant"]) for row in rows] == [
        ("A", "moore:1"), ("A", "uniform"), ("B", "moore:1"), ("B", "uniform"),
    ]  # fmt: skip


def test_the_picture_has_three_panels_a_task():
    runs = [finished([10.0, 8.0, 9.0], [3.0, -2.0], task=task) for task in "AB"]
    result = {"tasks": ["A", "B"], "variants": ["moore:1"]}
    figure = draw_uncertainty(runs, result, title="It falls.")
    assert len(figure.axes) == 6 and figure.get_suptitle() == "It falls."
    assert all(axes.has_data() for axes in figure.axes)


def test_runs_without_diagnostics_are_refused():
    run = finished([10.0, 9.0], [1.0])
    for row in run.rows:
        row.pop("theory/relative_uncertainty_error", None)
    with pytest.raises(InputError, match="run with diagnostics on"):
        uncertainty_summary([run])
