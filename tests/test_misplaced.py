"""Stored next states that are not those of their rows stop a run; rows left out do not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_logs import refuses
from made_plant_logs import plant_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.misplaced import what_is_misplaced
from moore.findings.run_checks import check_log_for_run
from moore.inspecting.summary import summarize

UNITS = np.array([1.0, 10.0, 1.0])


def driven_log(seed=0) -> Log:
    """A plant with three states that swing apart, in 20 episodes of 50 steps."""
    log = plant_log(dim=3, seed=seed)
    phase, shift = np.arange(log.size)[:, None] % 50 / 7, np.array([0.0, 1.0, 2.0])
    obs = log.obs + np.sin(phase + shift)
    return replace(log, obs=obs, next_obs=log.next_obs + np.sin(phase + 1 / 7 + shift))


def misplaced(log: Log) -> str:
    return what_is_misplaced(log, log.terminated | log.truncated)


def named(log: Log) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings(summarize(log))}


FAULTS = {
    "2 rows later": lambda log: np.roll(log.obs, -2, axis=0),
    "5 rows later": lambda log: np.roll(log.obs, -5, axis=0),
    "row before": lambda log: np.roll(log.obs, 1, axis=0),
    "the change": lambda log: log.next_obs - log.obs,
    "other units": lambda log: (log.next_obs - log.obs.mean(axis=0)) / log.obs.std(axis=0),
    "other unit": lambda log: log.next_obs * UNITS,
    "another order": lambda log: log.next_obs[:, [2, 1, 0]],
    "foretell": lambda log: np.random.default_rng(1).normal(size=log.obs.shape),
}


@pytest.mark.parametrize("said", FAULTS)
def test_next_states_of_another_kind_stop_a_run(said):
    log = driven_log()
    log = replace(log, next_obs=FAULTS[said](log))
    assert said in misplaced(log)
    found = named(log)
    assert found["misplaced-successors"] == "ruins"
    assert not {"broken-successors", "shuffled-rows"} & set(found), "one finding says it"
    refuses("--accept misplaced-successors", check_log_for_run, from_log(log), None)


def test_a_log_that_runs_backwards_stops_one():
    log = driven_log()
    back = {key: getattr(log, key)[::-1] for key in ("obs", "action", "reward", "next_obs")}
    assert "as if the log ran backwards" in misplaced(replace(log, **back))


@settings(max_examples=20)
@given(seed=st.integers(0, 99), every=st.integers(1, 4), noise=st.sampled_from([0.0, 1e-3, 0.1]))
def test_rows_left_out_rounding_and_noise_are_none(seed, every, noise):
    log = driven_log(seed)
    rng = np.random.default_rng(seed)
    log = replace(log, next_obs=log.next_obs + noise * rng.normal(size=log.obs.shape))
    kept = np.sort(rng.permutation(log.size)[:: max(1, every)])
    arrays = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
    log = replace(log, **{key: getattr(log, key)[kept] for key in arrays})
    assert misplaced(log) == ""
    assert misplaced(replace(log, next_obs=log.next_obs.astype(np.float16))) == ""
    assert misplaced(replace(log, next_obs=None)) == ""


def test_a_constant_entry_that_was_stored_otherwise_is_none():
    log = driven_log()
    obs = np.column_stack([log.obs, np.zeros(log.size)])
    after = np.column_stack([np.roll(log.obs, -1, axis=0), np.ones(log.size)])
    assert misplaced(replace(log, obs=obs, next_obs=after)) == ""
