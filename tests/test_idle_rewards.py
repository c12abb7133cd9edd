"""Rewards that have nothing to do with their rows, and rewards that are hard to foretell."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.idle_rewards import rewards_tell_nothing
from moore.findings.row_fits import reward_rows
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

LOG = oscillator_log(40, 60)


def told(log: Log) -> bool:
    return rewards_tell_nothing(log, reward_rows(log, log.terminated | log.truncated))


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        lambda reward: np.random.default_rng(0).permutation(reward),
        lambda reward: np.random.default_rng(0).normal(size=reward.shape),
    ],
    ids=["shuffled", "noise"],
)
def test_rewards_of_other_rows_are_told(other, stored):
    log = replace(LOG, reward=other(LOG.reward), next_obs=LOG.next_obs if stored else None)
    assert told(log)
    text = {f.name: f.text for f in findings(summarize(log))}["idle-rewards"]
    assert "another order than the rows" in text and "not observed" in text
    assert any("[idle-rewards]" in note for note in check_log_for_run(from_log(log), None))


@pytest.mark.parametrize(
    "reward",
    [
        LOG.reward,
        np.roll(LOG.reward, 1),
        -np.abs(LOG.obs[:, 0] - 0.3),
        -np.sign(LOG.obs[:, 0]),
        (np.abs(LOG.obs[:, 0]) < 0.05).astype(float),
        LOG.reward + np.random.default_rng(0).normal(size=LOG.size),
        np.where(np.arange(LOG.size) % 60 == 59, LOG.reward, 0.0),
    ],
    ids=["own", "a row late", "a distance", "a side", "a goal", "noisy", "at the end"],
)
def test_rewards_that_are_told_a_little_or_are_rare_say_nothing(reward):
    assert not told(replace(LOG, reward=reward))


def test_few_rows_lone_values_and_built_in_logs_say_nothing():
    few = oscillator_log(15, 60)
    assert not told(replace(few, reward=np.random.default_rng(0).permutation(few.reward)))
    lone = LOG.reward.copy()
    lone[[100, 900]] = -9999.0
    assert not told(replace(LOG, reward=lone))
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        assert not told(load_dataset(f"builtin:{name}"))
