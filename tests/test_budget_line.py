"""The line of the dip budget: it holds whatever anybody earns, and whenever a run is stopped."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_budgets import LENGTH, steady
from moore.runs.budgeting import dip_budget
from moore.stages.budget import REFERENCE, DipBudget
from moore.stages.budget_summary import pack, summary, unpack
from moore.stages.trial_rules import Rules

# Rewards of a step in quarters: exact in floating point.
rewards = st.lists(st.integers(0, 12).map(lambda quarters: quarters / 4.0), min_size=1, max_size=40)
scripts = st.fixed_dictionaries(
    {
        "rewards": rewards,
        "falls": st.lists(st.integers(1, LENGTH + 5), min_size=1, max_size=6),
        "share": st.sampled_from([0.02, 0.05, 0.1, 0.5]),
        "ends": st.booleans(),
        "window": st.sampled_from([0.2, 0.5, 1.0]),
        "promote": st.sampled_from([0.0, 0.5, math.inf]),
        "episodes": st.integers(1, 15),
    }
)


def play(script: dict, current: Callable[[], DipBudget], after_step=lambda: None) -> None:
    """The reference earns 1 a step; all others what the script says, in turn; some fall."""
    count = 0
    for episode in range(script["episodes"]):
        current().offer(episode + 1)
        falls = script["falls"][episode % len(script["falls"])] if script["ends"] else math.inf
        for step in range(1, LENGTH + 1):
            acting = current().acting
            count += 1
            earned = script["rewards"][(7 * episode + count) % len(script["rewards"])]
            current().step(1.0 if acting == REFERENCE else earned)
            after_step()
            if step >= falls and step < LENGTH and acting != REFERENCE:
                current().end(terminated=True)
                after_step()
                break


def scripted(script: dict) -> DipBudget:
    rules = Rules(window=script["window"], promote=script["promote"])
    # So well known that its level is the mean within a fraction of a percent.
    return dip_budget(script["share"], steady(ends=script["ends"], episodes=300), rules)


@settings(max_examples=20, deadline=None)
@given(scripts)
def test_the_line_holds_whatever_the_others_earn(script):
    budget = scripted(script)
    earned, margins = budget.ledger, []
    play(script, lambda: budget, lambda: margins.append(earned.margin(20.0)))
    assert min(margins) >= -1e-6
    assert summary(budget)["least_margin"] >= -1e-6


@settings(max_examples=20, deadline=None)
@given(scripts)
def test_nobody_begins_to_act_whose_worst_case_would_break_the_line(script):
    budget = scripted(script)
    acting = REFERENCE

    def check():
        nonlocal acting
        now = budget.running
        if acting == REFERENCE and now.acting != REFERENCE:
            left = (LENGTH - now.steps) / LENGTH
            assert budget.ledger.margin(20.0, further=left) >= -1e-6
        acting = now.acting

    play(script, lambda: budget, check)


@settings(max_examples=10, deadline=None)
@given(scripts, st.integers(1, 200))
def test_a_budget_goes_on_from_the_disk_as_if_nothing_had_happened(script, at):
    whole = scripted(script)
    play(script, lambda: whole)
    held, steps = [scripted(script)], 0

    def to_disk_and_back():
        nonlocal steps
        steps += 1
        if steps == at:
            held[0] = unpack(json.loads(json.dumps(pack(held[0]), allow_nan=False)))

    play(script, lambda: held[0], to_disk_and_back)
    assert pack(held[0]) == pack(whole)


@pytest.mark.parametrize("lost", [0.0, 12.0])
def test_the_line_holds_where_steps_earn_less_than_the_floor_if_that_is_known(lost):
    """From where another began to act, whoever acts loses 12 in two steps, then earns nothing."""
    budget, least = dip_budget(0.05, replace(steady(), drawdown=lost)), []
    for number in range(1, 40):
        budget.offer(number)
        bad = 2
        for _ in range(LENGTH):
            own = budget.acting == REFERENCE and budget.running.others_since is None
            bad -= not own
            budget.step(1.0 if own else -6.0 if bad >= 0 else 0.0)
        least.append(budget.ledger.least_margin(1.0 * LENGTH))
    assert budget.trials > 0
    assert (min(least) >= 0.0) == (lost > 0.0)
