"""Transfer metrics: worked numbers, then what must hold for every curve."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.evaluation.frozen import frozen_metrics
from moore.evaluation.scores import ReferenceScores
from moore.evaluation.transfer import dip_share_by_luck, swing_share, transfer_metrics
from moore.evaluation.yardstick import yardstick

CURVE = [90.0, 60.0, 80.0, 100.0, 120.0, 140.0]

# Whole numbers of moderate size, so that shifts and scales are exact in floating point.
whole = st.integers(-1000, 1000).map(float)
curves = st.lists(whole, max_size=25)
episodes = st.lists(st.lists(whole, max_size=4), max_size=12)


def test_a_dip_and_a_recovery_worked_by_hand():
    metrics = transfer_metrics(
        100.0,
        CURVE,
        random_return=20.0,
        behaviour_offline=90.0,
        behaviour_returns=[[80.0, 90.0], [], [50.0, 60.0, 70.0], [110.0]],
        log_return=75.0,
        yardstick=160.0,
    )
    assert metrics == {
        "offline": 100.0,
        "dip": 40.0,
        "dip_share": 0.5,
        "dip_area": 10.0 + 40.0 + 20.0,
        "recovery_epochs": 3,
        "epochs_to_threshold": 6,
        "final": 100.0,
        "gain": 0.0,
        "auc": pytest.approx(590.0 / 6.0),
        "behaviour_dip": 30.0,
        "behaviour_dip_share": pytest.approx(30.0 / 70.0),
        "behaviour_worst_episode": 50.0,
        "behaviour_loss": -5.0 - 15.0 + 25.0 + 15.0 + 5.0 - 35.0,
        "behaviour_loss_peak": -5.0 - 15.0 + 25.0 + 15.0 + 5.0,
        "dip_by_yardstick": 0.25,
        "dip_area_by_yardstick": 70.0 / 160.0,
        "gain_by_yardstick": 0.0,
        "behaviour_dip_by_yardstick": 30.0 / 160.0,
    }


def test_scores_scale_differences_and_map_levels():
    reference = ReferenceScores(random=20.0, expert=220.0, source="made up")
    metrics = transfer_metrics(100.0, CURVE, reference=reference)
    assert metrics["offline_score"] == 40.0
    assert metrics["final_score"] == 40.0
    assert metrics["auc_score"] == pytest.approx((590.0 / 6.0 - 20.0) / 2.0)
    assert metrics["dip_score"] == 20.0
    assert metrics["dip_area_score"] == 35.0
    assert metrics["gain_score"] == 0.0
    assert metrics["behaviour_dip_score"] is None
    assert metrics["dip_share"] == 0.5, "the reference knows the random return"


def test_the_dip_looks_at_ten_epochs_and_the_area_at_all():
    metrics = transfer_metrics(10.0, [10.0] * 10 + [4.0, 10.0])
    assert (metrics["dip"], metrics["dip_area"], metrics["recovery_epochs"]) == (0.0, 6.0, 1)


@pytest.mark.parametrize(
    ("curve", "epochs"),
    [([], 0), ([10.0, 12.0], 0), ([9.0, 10.0], 1), ([11.0, 9.0, 8.0, 9.0, 11.0], 3), ([9.0], None)],
)
def test_recovery_counts_from_the_first_fall(curve, epochs):
    assert transfer_metrics(10.0, curve)["recovery_epochs"] == epochs


@pytest.mark.parametrize(
    ("curve", "options", "epochs"),
    [
        ([50.0, 94.0, 100.0], {}, 3),  # 95 of 100
        ([50.0, 95.0, 100.0], {}, 2),
        ([50.0, 89.0, 100.0], {"random_return": -100.0}, 3),  # 95% of the way from -100 is 90
        ([50.0, 90.0, 100.0], {"random_return": -100.0}, 2),
        ([50.0, 90.0, 100.0], {"threshold": 101.0}, None),
        ([50.0, 90.0, 100.0], {"threshold": 10.0}, 0),
        ([-100.0, -20.0], {}, 0),  # best is J0 = 10
    ],
)
def test_threshold(curve, options, epochs):
    assert transfer_metrics(10.0, curve, **options)["epochs_to_threshold"] == epochs


def test_threshold_of_negative_returns_lies_below_the_best():
    metrics = transfer_metrics(-200.0, [-150.0, -104.0, -100.0])
    assert metrics["epochs_to_threshold"] == 2


def test_no_online_epoch_changes_nothing():
    metrics = transfer_metrics(7.0, [], random_return=2.0, behaviour_offline=6.0)
    nothing = ("dip", "dip_share", "dip_area", "recovery_epochs", "gain", "behaviour_dip")
    assert [metrics[key] for key in nothing] == [0.0] * len(nothing)
    assert metrics["final"] == metrics["auc"] == metrics["offline"] == 7.0


def test_what_is_unknown_is_none():
    metrics = transfer_metrics(7.0, [5.0], behaviour_returns=[[1.0]])
    unknown = ("dip_share", "behaviour_dip", "behaviour_dip_share")
    assert all(metrics[key] is None for key in unknown)
    assert not any(key.endswith("_score") for key in metrics)
    assert transfer_metrics(7.0, [5.0], random_return=7.0)["dip_share"] is None
    without_episodes = transfer_metrics(7.0, [5.0], behaviour_offline=7.0, behaviour_returns=[[]])
    assert without_episodes["behaviour_dip"] is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="offline"):
        transfer_metrics(bad, [1.0])
    with pytest.raises(ValueError, match="returns"):
        transfer_metrics(1.0, [1.0, bad])
    for name in ("random_return", "threshold", "behaviour_offline", "log_return", "yardstick"):
        with pytest.raises(ValueError, match=name):
            transfer_metrics(1.0, [1.0], **{name: bad})
    with pytest.raises(ValueError, match="behaviour_returns"):
        transfer_metrics(1.0, [1.0], behaviour_offline=1.0, behaviour_returns=[[bad]])


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_a_yardstick_is_a_length(gap):
    with pytest.raises(ValueError, match="yardstick"):
        transfer_metrics(1.0, [1.0], yardstick=gap)


@given(whole, curves, whole, episodes)
def test_signs_order_and_json(offline, curve, random_return, acted):
    metrics = transfer_metrics(
        offline,
        curve,
        random_return=random_return,
        behaviour_offline=offline,
        behaviour_returns=acted,
    )
    assert metrics["dip"] >= 0.0
    assert metrics["dip_area"] >= metrics["dip"]
    assert metrics["behaviour_dip"] is None or metrics["behaviour_dip"] >= 0.0
    assert (metrics["recovery_epochs"] == 0) == (metrics["dip_area"] == 0.0)
    assert min([offline, *curve]) <= metrics["final"] <= max([offline, *curve])
    assert metrics["epochs_to_threshold"] is not None, "the best evaluation reaches 95% of itself"
    assert json.loads(json.dumps(metrics)) == metrics


@given(whole, curves, whole, whole, episodes)
def test_a_constant_added_to_every_return_changes_no_difference(
    offline, curve, random_return, shift, acted
):
    def metrics(by: float) -> dict:
        return transfer_metrics(
            offline + by,
            [value + by for value in curve],
            random_return=random_return + by,
            behaviour_offline=offline + by,
            behaviour_returns=[[value + by for value in epoch] for epoch in acted],
            log_return=random_return + by,
        )

    before, after = metrics(0.0), metrics(shift)
    levels = ("offline", "final", "auc", "behaviour_worst_episode")
    for name, value in before.items():
        expected = value + shift if name in levels and value is not None else value
        if name != "epochs_to_threshold":  # a comparison at the threshold may round either way
            assert after[name] == (
                expected if expected is None else pytest.approx(expected, abs=1e-6)
            )


@given(whole, curves, whole, st.sampled_from([0.25, 2.0, 64.0]))
def test_a_factor_scales_returns_and_leaves_shares_and_epochs(offline, curve, random_return, k):
    before = transfer_metrics(offline, curve, random_return=random_return)
    after = transfer_metrics(
        k * offline, [k * value for value in curve], random_return=k * random_return
    )
    for name, value in before.items():
        free = name.startswith(("recovery", "epochs", "behaviour")) or "share" in name
        assert after[name] == (value if free or value is None else pytest.approx(k * value))


@given(whole, curves, whole, episodes)
def test_the_largest_loss_on_the_way_is_at_least_that_at_the_end(offline, curve, logged, acted):
    found = transfer_metrics(offline, curve, behaviour_returns=acted, log_return=logged)
    assert found["behaviour_loss_peak"] >= max(found["behaviour_loss"], 0.0)
    returns = [value for epoch in acted for value in epoch]
    assert found["behaviour_loss"] == sum(logged - value for value in returns)


def test_a_dip_by_the_yardstick_does_not_depend_on_what_the_hand_over_is_worth():
    weak = transfer_metrics(10.0, [5.0], random_return=0.0, yardstick=100.0)
    strong = transfer_metrics(90.0, [85.0], random_return=0.0, yardstick=100.0)
    assert weak["dip_share"] > 5 * strong["dip_share"]
    assert weak["dip_by_yardstick"] == strong["dip_by_yardstick"] == 0.05


def test_the_yardstick_is_expert_minus_random_else_what_the_log_is_worth():
    log, reference = np.asarray([10.0, 50.0, 90.0]), ReferenceScores(-10.0, 190.0, source="")
    assert yardstick(reference, log, 0.0).gap == 200.0
    assert vars(yardstick(None, log, 20.0)) == {
        "gap": 30.0, "between": "mean of the log and random policy",
    }  # fmt: skip
    for random_return in (None, 50.0, 60.0):  # unknown, or no worse than the log
        assert yardstick(None, log, random_return).gap == 40.0
    assert yardstick(None, np.full(3, 7.0), None) is None
    assert yardstick(None, np.zeros(0), 1.0) is None


def test_a_frozen_policy_has_luck_and_nothing_else():
    acted = [0.0, 100.0] * 50
    found = frozen_metrics(
        60.0, epochs=[1] * 10, acted=acted, random_return=-50.0, log_return=70.0, yardstick=200.0
    )
    for name in ("dip", "dip_share", "dip_area", "gain", "dip_by_yardstick"):
        assert found[name] == 0.0
    assert found["final"] == found["auc"] == 60.0
    assert found["behaviour_dip_share"] == dip_share_by_luck(acted, [1] * 10, -50.0) > 0.4
    assert found["behaviour_dip_by_yardstick"] == found["behaviour_dip_share"] * 100.0 / 200.0
    assert found["behaviour_worst_episode"] == 0.0
    assert found["behaviour_loss"] == 10 * (70.0 - 50.0)
    assert found["epochs_to_threshold"] is None


def test_of_a_frozen_policy_that_never_acted_only_the_evaluations_are_known():
    found = frozen_metrics(60.0, epochs=[2, 2], log_return=70.0)
    unknown = ("dip_share", "worst_episode", "loss", "loss_peak")
    assert [found[f"behaviour_{name}"] for name in unknown] == [None] * 4
    assert found.keys() == transfer_metrics(60.0, [1.0]).keys()


def test_the_swing_is_the_dip_that_the_last_ten_offline_epochs_would_be():
    """From 60 down to 10 where a random policy has -40: half of what it is worth."""
    assert swing_share([100.0, 10.0, 80.0, 60.0], random_return=-40.0) == 0.5
    assert swing_share([0.0, *[50.0] * 9, 60.0], random_return=-40.0) == 0.1, "the tenth last is 50"
    assert swing_share([10.0, 20.0, 60.0, 60.0], random_return=0.0) == pytest.approx(5 / 6)
    assert swing_share([10.0, 5.0], random_return=0.0) == 0.0


def test_one_evaluation_has_no_swing_and_without_a_scale_it_has_no_share():
    assert swing_share([10.0], random_return=0.0) is None
    assert swing_share([], random_return=0.0) is None
    assert swing_share([5.0, 10.0], random_return=None) is None
    assert swing_share([5.0, 10.0], random_return=10.0) is None


def test_the_lowest_of_some_epochs_lies_below_the_mean_by_luck_alone():
    """Returns 0 and 1, one episode an epoch: ten epochs all but surely have a 0, 0.5 too low."""
    ones_and_zeros = [0.0, 1.0] * 50
    share = dip_share_by_luck(ones_and_zeros, [1] * 10, random_return=-0.5)
    assert share == pytest.approx(0.5, abs=0.02)  # 0.5 / |0.5 + 0.5|


def test_luck_is_small_with_many_episodes_and_none_where_all_are_alike():
    ones_and_zeros = [0.0, 1.0] * 50
    assert dip_share_by_luck(ones_and_zeros, [400] * 10, random_return=-0.5) < 0.1
    assert dip_share_by_luck([3.0] * 10, [1] * 10, random_return=0.0) == 0.0


def test_luck_is_not_known_without_episodes_or_a_scale():
    assert dip_share_by_luck([1.0], [1], random_return=0.0) is None
    assert dip_share_by_luck([1.0, 2.0], [0, 0], random_return=0.0) is None
    assert dip_share_by_luck([1.0, 2.0], [1], random_return=None) is None
    assert dip_share_by_luck([1.0, 2.0], [1], random_return=1.5) is None


def test_epochs_without_episodes_and_those_after_the_tenth_do_not_count():
    returns = [0.0, 1.0] * 50
    few = dip_share_by_luck(returns, [4] * 10, random_return=-1.0)
    more = dip_share_by_luck(returns, [4] * 10 + [1] * 90, random_return=-1.0)
    gaps = dip_share_by_luck(returns, [4, 0] * 5 + [1] * 90, random_return=-1.0)
    assert few == more
    assert gaps < few
