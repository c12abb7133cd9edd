"""Rewards that are sums: totals so far, discounted returns to go, one return for all rows."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.reward_sums import summarize_sums
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 20, 60
NAMES = {"running-totals", "returns-to-go", "one-return"}


def with_rewards(log: Log, change) -> Log:
    """The log with `change(rewards)` of its rewards (episodes, steps)."""
    return replace(log, reward=change(log.reward.reshape(EPISODES, STEPS)).reshape(-1))


def totals(reward):
    return np.cumsum(reward, axis=1)


def totals_before(reward):
    return np.cumsum(reward, axis=1) - reward


def totals_of_the_log(reward):
    return np.cumsum(reward)


def to_go(discount):
    def sums(reward):
        found = reward.copy()
        for step in reversed(range(STEPS - 1)):
            found[:, step] += discount * found[:, step + 1]
        return found

    return sums


def one_return(reward):
    return np.broadcast_to(reward.sum(axis=1, keepdims=True), reward.shape)


def only_in_the_first(reward):
    return np.where(np.arange(STEPS) == 0, reward.sum(axis=1, keepdims=True), 0.0)


def named(log: Log) -> set[str]:
    """What an inspection and a run say of sums; they say the same."""
    found = {f.name for f in findings(summarize(log))} & NAMES
    notes = check_log_for_run(from_log(log), None, accept=("broken-successors",))
    assert {note.rpartition("[")[2].rstrip("]") for note in notes} & NAMES == found
    return found


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    "change, name",
    [
        (totals, "running-totals"),
        (totals_before, "running-totals"),
        (totals_of_the_log, "running-totals"),
        (to_go(0.99), "returns-to-go"),
        (to_go(0.97), "returns-to-go"),
        (one_return, "one-return"),
        (only_in_the_first, "one-return"),
    ],
)
def test_sums_of_rewards_of_either_sign_are_told(change, name, stored):
    assert named(with_rewards(oscillator_log(stored=stored), change)) == {name}


def only_at_the_end(reward):
    return np.where(np.arange(STEPS) == STEPS - 1, reward.sum(axis=1, keepdims=True), 0.0)


def noise(reward):
    return np.random.default_rng(1).permutation(reward.reshape(-1))


def slow_noise(reward):
    """A price that nobody observes: its changes cannot be foretold either."""
    return np.cumsum(np.random.default_rng(2).normal(size=reward.shape), axis=1)


def of_the_step(reward):
    return np.broadcast_to(np.arange(float(STEPS)), reward.shape)


@pytest.mark.parametrize(
    "change",
    [np.asarray, np.sign, np.ones_like, only_at_the_end, noise, slow_noise, of_the_step,
     lambda r: 5.0 - 3.0 * r],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 1])
def test_rewards_that_are_no_sums_are_not_accused(change, seed):
    log = with_rewards(oscillator_log(seed=seed), change)
    found = summarize_sums(log, log.truncated)
    assert not any(found.values())


def test_the_built_in_logs_are_not_accused():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert not any(summarize_sums(log, log.terminated | log.truncated).values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["obs", "action", "reward", "next_obs"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_say_nothing(key, bad):
    log = with_rewards(oscillator_log(), totals)
    values = getattr(log, key).copy()
    values[::7] = bad
    assert not any(summarize_sums(replace(log, **{key: values}), log.truncated).values())
