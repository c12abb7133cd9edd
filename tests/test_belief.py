"""What is believed of policies after trials, against answers that are known."""

import numpy as np
import pytest

from moore.stages.belief import LAST_STEPS, Gain, usual_step, weighed

SCATTER = 1.0


def test_a_measurement_of_equal_error_halves_the_variance():
    assert Gain(0.0, 2.0).seen(3.0, 2.0) == (pytest.approx(1.5), pytest.approx(1.0))


def test_what_two_measurements_tell_does_not_depend_on_their_order():
    first, second = Gain(1.0, 2.0).seen(3.0, 0.5), Gain(1.0, 2.0).seen(-1.0, 0.7)
    both = first.seen(-1.0, 0.7)
    assert second.after(Gain(1.0, 2.0), first) == pytest.approx(both)


def test_before_the_first_trial_challengers_are_as_good_as_the_incumbent_in_the_mean():
    assert usual_step([], SCATTER) == (0.0, pytest.approx(SCATTER**2))


@pytest.mark.parametrize(("mean", "scatter"), [(0.5, 0.3), (-2.0, 1.5)])
def test_the_usual_step_is_found_from_many(mean, scatter):
    rng = np.random.default_rng(0)
    true = mean + scatter * rng.standard_normal(4000)
    steps = [[step + 0.5 * rng.standard_normal(), 0.25] for step in true]
    usual = usual_step(steps, SCATTER)
    assert usual.mean == pytest.approx(mean, abs=0.05)
    assert usual.variance**0.5 == pytest.approx(scatter, rel=0.1)


def test_the_verdict_is_the_posterior_of_the_model():
    """Of many draws from the model, those whose record is near to a value tell the posterior."""
    rng = np.random.default_rng(1)
    draws = 400_000
    old = 0.3 + 0.8**0.5 * rng.standard_normal(draws)
    step = 0.1 + 0.5**0.5 * rng.standard_normal(draws)
    record = old + step + 0.6**0.5 * rng.standard_normal(draws)
    near = np.abs(record - 1.2) < 0.03
    verdict = weighed(Gain(0.3, 0.8), Gain(0.1, 0.5), 1.2, 0.6)
    found = {"incumbent": old, "step": step, "challenger": old + step}
    for name, values in found.items():
        believed = getattr(verdict, name)
        assert believed.mean == pytest.approx(values[near].mean(), abs=0.03), name
        assert believed.variance == pytest.approx(values[near].var(), rel=0.06), name


def test_a_lucky_incumbent_is_seen_through_after_some_challengers():
    """Records of many that are really as good as the incumbent bring down what is held of it."""
    held, rng = Gain(2.0, 0.5), np.random.default_rng(2)
    for record in 0.6 * rng.standard_normal(60):
        held = weighed(held, Gain(0.0, 0.01), record, 0.36).incumbent
    assert abs(held.mean) < 0.5


def test_a_disaster_tells_nothing_of_the_incumbent():
    held = Gain(1.0, 0.5)
    verdict = weighed(held, usual_step([[0.1, 0.3]] * LAST_STEPS, SCATTER), -50.0, 0.5)
    assert verdict.incumbent.mean == pytest.approx(held.mean, abs=0.05)
    assert verdict.step.deviations < -10.0
