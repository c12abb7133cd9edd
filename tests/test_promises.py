"""How much of what the models promise comes true, from trials whose outcome is known."""

import json
import math

import pytest

from moore.stages.promises import Promise, Promises


def settled(promises, *outcomes, promised=100.0, error=25.0):
    for gained in outcomes:
        promises.settle(Promise(promised, against=0), gained, error)
    return promises


def test_before_a_trial_the_models_error_about_the_first_policy_stands_in():
    assert Promises(0.25).doubt == 0.25
    assert Promises(3.0).doubt == 1.0, "they are not believed, and losses are not expected either"
    assert Promises().doubt == 1.0, "nothing is known"


def test_promises_that_come_true_end_the_doubt_and_losses_bring_it_back():
    trusted = settled(Promises(2.0), *[100.0] * 8)
    assert trusted.doubt == pytest.approx(1.0 - 32 / 36)
    assert settled(trusted, *[-100.0] * 8).doubt > 1.0


def test_half_of_the_promise_leaves_half_of_the_doubt():
    doubts = [settled(Promises(0.5), *[50.0] * count).doubt for count in range(5)]
    assert doubts == pytest.approx([0.5] * 5)


def test_a_promise_that_is_small_beside_the_noise_tells_little():
    clear = settled(Promises(1.0), 100.0, error=50.0)
    noisy = settled(Promises(1.0), 100.0, error=500.0)
    assert clear.doubt == pytest.approx(0.5) and noisy.doubt == pytest.approx(1.0, abs=0.02)


def test_good_and_bad_luck_cancel():
    lucky = settled(Promises(0.5), 500.0, -400.0, error=400.0)
    assert lucky.doubt == pytest.approx(settled(Promises(0.5), 50.0, 50.0, error=400.0).doubt)


def test_a_large_loss_is_clear_whatever_was_promised():
    assert settled(Promises(0.0), -1000.0, promised=1.0).doubt == pytest.approx(1.0)


def test_doubt_is_never_negative_whatever_came():
    assert settled(Promises(0.0), 1000.0).doubt == 0.0


def test_one_that_was_called_no_better_promises_nothing():
    assert settled(Promises(0.3), -1000.0, promised=-5.0).kept == []


def test_only_the_last_verdicts_count():
    once_bad = settled(Promises(0.0), *[-100.0] * 8, *[100.0] * 8)
    assert once_bad.doubt == pytest.approx(0.0)


def test_they_go_on_from_json():
    promises = settled(Promises(math.inf, learned=True, given={3: Promise(7.0, 1)}), 40.0, -9.0)
    assert Promises.unpack(json.loads(json.dumps(promises.pack()))) == promises
