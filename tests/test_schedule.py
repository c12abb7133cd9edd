"""Sampling schemes: shares, shifts, and the bounds that hold for `moore`."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moore.errors import InputError
from moore.replay.preview import preview
from moore.replay.schedule import (
    alpha_for_peak_tv,
    crossover_epoch,
    offline_priority,
    peak_tv_bound,
    sampling_tv,
    schedule,
)
from moore.replay.schemes import (
    auto,
    half_half,
    linear,
    moore,
    online_only,
    parse_scheme,
    peak_shift,
    uniform,
)


def test_the_priority_of_the_log_is_one_over_alpha_t():
    assert offline_priority(1, 1.0) == 1.0
    assert offline_priority(4, 0.5) == 0.5
    assert offline_priority(0, 1.0) == float("inf")


@pytest.mark.parametrize(
    ("n_off", "shares"),
    [
        (1_000_000, {1: 0.001, 5: 0.024, 10: 0.091, 20: 0.286, 50: 0.714, 100: 0.909}),
        (101_000, {1: 0.010, 5: 0.198, 10: 0.498, 20: 0.798, 50: 0.961, 100: 0.990}),
        (2_000_000, {1: 0.0005, 5: 0.012, 10: 0.048, 20: 0.167, 50: 0.556, 100: 0.833}),
    ],
)
def test_online_shares_of_moore_with_alpha_one_and_1000_steps_an_epoch(n_off, shares):
    for epoch, share in shares.items():
        assert moore(1.0).online_share(epoch, 1000 * epoch, n_off) == pytest.approx(share, abs=6e-4)


@pytest.mark.parametrize(
    ("scheme", "n_off", "shifts"),
    [
        (uniform(), 1_000_000, {1: 0.0010, 100: 0.0009}),
        (uniform(), 200_000, {1: 0.0050, 100: 0.0033}),
        (half_half(), 200_000, {1: 0.5, 2: 0.25, 11: 0.0455}),
        (online_only(), 200_000, {1: 1.0, 2: 0.5, 11: 0.0909}),
        (moore(1.0), 1_000_000, {1: 0.0010, 2: 0.0030, 19: 0.0205, 51: 0.0142}),
        (moore(1.0), 200_000, {1: 0.0050, 3: 0.0235, 9: 0.0458, 100: 0.0098}),
    ],
)
def test_shifts_per_epoch(scheme, n_off, shifts):
    table = schedule(scheme, n_off=n_off, steps_per_epoch=1000, epochs=100)
    for epoch, shift in shifts.items():
        assert table[epoch, 3] == pytest.approx(shift, abs=5.1e-5)


def test_edge_cases_have_one_answer():
    for scheme in (moore(1.0), uniform(), half_half(), online_only()):
        assert scheme.online_share(1, 0, 500) == 0.0, "no online data yet: the log alone"
        assert scheme.online_share(1, 500, 0) == 1.0, "no log: online data alone"
    assert half_half().online_share(3, 10, 990) == pytest.approx(0.5)
    assert online_only().online_share(3, 10, 990) == 1.0
    assert uniform().online_share(3, 10, 990) == pytest.approx(0.01)
    assert auto().online_share(3, 10, 990) == pytest.approx(0.99)


def test_linear_goes_from_one_share_to_the_other_and_stays_there():
    scheme = linear(0.1, 0.9, 5)
    shares = [scheme.online_share(t, 1000 * t, 7000) for t in (1, 2, 3, 5, 6, 50)]
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.5, 0.9, 0.9, 0.9])
    assert linear(0.0, 1.0, 3).online_share(1, 1000, 7000) == 0.0
    assert linear(0.0, 1.0, 3).online_share(3, 3000, 7000) == 1.0


@given(st.floats(0.001, 0.5), st.integers(50, 3_000_000), st.integers(10, 5000))
def test_peak_shift_keeps_every_epoch_below_eps_for_every_size_of_the_log(eps, n_off, steps):
    table = schedule(peak_shift(eps, steps), n_off=n_off, steps_per_epoch=steps, epochs=60)
    assert table[:, 3].max() <= eps + 1e-12


def test_peak_shift_reaches_what_it_allows():
    for n_off in (100_000, 1_000_000):
        table = schedule(peak_shift(0.02, 1000), n_off=n_off, steps_per_epoch=1000, epochs=100)
        assert table[:, 3].max() > 0.0195


sizes = st.integers(1, 30)


@given(sizes, st.integers(0, 20), st.integers(0, 20), st.data())
def test_shift_equals_brute_force_over_items(n_off, n0, added, data):
    """Half the l1 distance between the two item distributions, in exact fractions."""
    n1 = n0 + added
    share0 = Fraction(data.draw(st.integers(0, 10)), 10) if n0 else Fraction(0)
    share1 = Fraction(data.draw(st.integers(0, 10)), 10) if n1 else Fraction(0)
    before = [(1 - share0) / n_off] * n_off + [share0 / n0 if n0 else Fraction(0)] * n0
    after = [(1 - share1) / n_off] * n_off + ([share1 / n1] * n1 if n1 else [])
    before += [Fraction(0)] * added
    brute = sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 2
    assert sampling_tv(float(share0), n0, float(share1), n1) == pytest.approx(float(brute))


@given(st.floats(0.05, 20.0), st.integers(100, 3_000_000), st.integers(10, 5000))
def test_no_epoch_of_moore_shifts_more_than_the_bound(alpha, n_off, steps):
    table = schedule(moore(alpha), n_off=n_off, steps_per_epoch=steps, epochs=60)
    assert table[:, 3].max() <= peak_tv_bound(n_off, steps, alpha) + 1e-12


def test_size_steps_and_alpha_act_through_the_crossover_epoch_alone():
    one = schedule(moore(10.0), n_off=1_000_000, steps_per_epoch=1000, epochs=50)
    other = schedule(moore(2.0), n_off=200_000, steps_per_epoch=1000, epochs=50)
    np.testing.assert_allclose(one[:, 2:], other[:, 2:], rtol=1e-12)
    assert crossover_epoch(1_000_000, 1000, 10.0) == pytest.approx(10.0)
    assert moore(10.0).online_share(10, 10_000, 1_000_000) == pytest.approx(0.5)


def test_alpha_for_a_wanted_peak_keeps_the_peak():
    alpha = alpha_for_peak_tv(0.02, 200_000, 1000)
    assert peak_tv_bound(200_000, 1000, alpha) == pytest.approx(0.02)
    entry = preview([f"moore:{alpha}"], n_off=200_000, steps_per_epoch=1000, epochs=100)
    (numbers,) = entry["schemes"].values()
    assert 0.019 < numbers["peak_shift"] <= 0.02


def test_names_on_the_command_line():
    assert str(parse_scheme("moore")) == "moore:1"
    assert str(parse_scheme("moore", alpha=0.5)) == "moore:0.5"
    assert str(parse_scheme("moore:2", alpha=0.5)) == "moore:2"
    assert str(parse_scheme("half_half")) == "half_half"
    assert str(parse_scheme("linear:0.1:0.9:20")) == "linear:0.1:0.9:20"
    scheme = parse_scheme("peak_shift:0.02", steps_per_epoch=500)
    assert str(scheme) == "peak_shift:0.02"
    alpha = alpha_for_peak_tv(0.02, 80_000, 500)
    assert scheme.online_share(3, 1500, 80_000) == moore(alpha).online_share(3, 1500, 80_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mor", "known ones are moore.*, uniform, half_half, online_only"),
        ("uniform:2", "takes no parameter"),
        ("moore:x", "takes numbers"),
        ("moore:0", "must be positive"),
        ("moore:-1", "must be positive"),
        ("moore:1:2", "is written"),
        ("linear:0.1:0.9", "is written linear:FROM:TO:EPOCHS"),
        ("linear:0.1:1.1:5", "must lie between 0 and 1"),
        ("linear:0.1:0.9:1", "at least 2"),
        ("linear:0.1:0.9:nan", "whole number"),
        ("peak_shift", "is written peak_shift:EPS"),
        ("peak_shift:0", "must lie in"),
        ("peak_shift:2", "must lie in"),
        ("no_such_module:near", "cannot be imported"),
        ("math:near", "has no function near"),
        ("nowhere.npy", "cannot be read"),
    ],
)
def test_a_wrong_scheme_is_an_error_that_helps(text, words):
    with pytest.raises(InputError, match=words):
        parse_scheme(text)
