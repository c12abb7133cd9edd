"""Actions of another row in logs whose actions change little from row to row."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from moore.data.log import Log
from moore.findings.shifts import summarize_shifts
from moore.formats.load import load_dataset

EPISODES, STEPS = 15, 60


def cart_log(make: Callable, *, seed=0, dead_time=0, motor=0.0, sensor=0.0) -> Log:
    """Position and speed of a cart; `make(rng)` gives its controller for an episode.

    Args:
        make: gives a function of the reading and the row.
        seed: of all that is random.
        dead_time: rows after which an action acts.
        motor: how slowly the force follows the action; it is not observed.
        sensor: deviation of a reading.
    """
    rng, columns = np.random.default_rng(seed), ([], [], [])
    for _ in range(EPISODES):
        state, force, act = rng.normal(size=2), 0.0, make(rng)
        waiting = [0.0] * dead_time
        for row in range(STEPS):
            seen = state + sensor * rng.normal(size=2)
            action = float(np.clip(act(seen, row), -1, 1))
            waiting.append(action)
            for column, value in zip(columns, (seen, [action], -abs(state[0])), strict=True):
                column.append(value)
            force = motor * force + (1 - motor) * waiting.pop(0)
            pull = 2 * force - state[0] - 0.4 * state[1]
            state = state + 0.1 * np.array([state[1], pull]) + 0.005 * rng.normal(size=2)
    obs, action, reward = map(np.array, columns)
    ends = np.arange(len(obs)) % STEPS == STEPS - 1
    return Log(obs, action, reward, ends & False, ends, None, name="cart")


def held(rng) -> Callable:
    """Random, and held for eight rows."""
    level = rng.uniform(-1, 1, STEPS)
    return lambda seen, row: level[row // 8]


def held_feedback(rng) -> Callable:
    """A controller that looks every five rows."""
    last = {}

    def act(seen, row):
        if row % 5 == 0:
            last["action"] = -0.8 * seen[0] - 0.4 * seen[1] + 0.2 * rng.normal()
        return last["action"]

    return act


def filtered(rng) -> Callable:
    """An inert controller with noise."""
    last = {"action": 0.0}

    def act(seen, row):
        wish = -0.8 * seen[0] - 0.4 * seen[1] + rng.normal()
        last["action"] += 0.2 * (wish - last["action"])
        return last["action"]

    return act


def of_changes(rng) -> Callable:
    """A controller that answers to the change of the position."""
    last = {}

    def act(seen, row):
        change = seen[0] - last.get("place", seen[0])
        last["place"] = seen[0]
        return -5 * change + 0.1 * rng.normal()

    return act


def told(log: Log, rows: int = 0) -> int:
    moved = replace(log, action=np.roll(log.action, rows, axis=0))
    return summarize_shifts(moved, log.truncated)["action_rows"]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", [held, held_feedback, filtered])
def test_held_and_filtered_actions_of_another_row_are_told(make, seed):
    log = cart_log(make, seed=seed)
    assert told(log) == 0
    assert told(log, 1) == -1
    assert told(log, -1) == 1


@pytest.mark.parametrize("make", [held, held_feedback, filtered])
def test_a_dead_time_is_told_with_the_number_of_its_rows(make):
    assert told(cart_log(make, dead_time=1)) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [held, held_feedback, filtered, of_changes])
@pytest.mark.parametrize("how", [{}, {"motor": 0.6}, {"sensor": 0.02}])
def test_actions_in_their_rows_are_not_accused(make, seed, how):
    assert told(cart_log(make, seed=seed, **how)) == 0


def test_the_built_in_logs_are_not_accused():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert summarize_shifts(log, log.terminated | log.truncated)["action_rows"] == 0
