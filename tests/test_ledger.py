"""The account of the dip budget: entries worked by hand."""

import numpy as np
import pytest

from moore.runs.budgeting import dip_budget
from moore.stages.earnings import earnings_of_log
from moore.stages.ledger import Ledger


def test_a_ledger_worked_by_hand():
    ledger = Ledger(0.1, own=500.0)
    ledger.begin()
    ledger.other, ledger.units = 60.0, 1.0
    ledger.note(100.0)
    # 0.1 x 500 of its own, 60 of the other's, less 0.9 episodes of 100, and 100 of credit.
    assert ledger.margin(100.0) == pytest.approx(120.0)
    assert ledger.margin(100.0, further=1.0) == pytest.approx(30.0)
    assert ledger.least_margin(100.0) == pytest.approx(100.0)  # before anything happened
    ledger.other, ledger.units = 60.0, 2.0
    ledger.note(100.0)
    assert ledger.least_margin(100.0) == pytest.approx(30.0)
    # The luck of the reference counts only where it is held to its mean: 500 in 6 episodes.
    ledger.own_units = 6.0
    assert ledger.margin(100.0) == pytest.approx(30.0)
    assert ledger.margin_of_mean(100.0) == pytest.approx(60.0 + 500.0 - 0.9 * 800.0 + 100.0)


def test_a_level_that_turns_out_higher_moves_the_least_margin():
    ledger = Ledger(0.0)
    ledger.begin()
    ledger.other, ledger.units = 50.0, 2.0
    ledger.note(100.0)
    assert ledger.least_margin(100.0) == pytest.approx(-50.0)
    assert ledger.least_margin(120.0) == pytest.approx(-70.0)


def test_nobody_is_blamed_for_what_the_reference_loses_too():
    """Below the floor for half of an episode, as a pendulum that hangs down at first."""
    rewards = np.repeat([-1.0, 3.0], 10)
    earnings = earnings_of_log([rewards] * 12, length=20, floor=0.0, ends=False)
    budget = dip_budget(0.6, earnings)  # which bears ten steps below the floor
    assert budget.offer(1)
    acted = []
    for reward in rewards:
        acted.append(budget.acting)
        budget.step(float(reward))
    assert acted == [1] * 20, "it is not behind either"
    # After ten steps -10 of 20 are earned, and 0.4 times as little was to be.
    assert budget.ledger.least_margin(20.0) == pytest.approx(20.0 - 10.0 + 0.4 * 10.0)
