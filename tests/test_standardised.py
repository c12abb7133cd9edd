"""Episodes that were standardised each by itself, and actions that are choices."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.errors import InputError
from moore.findings.choices import actions_are_choices
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.findings.standardised import standardised_by_episode
from moore.inspecting.summary import summarize


def standardised(log: Log, entries: list[int], *, ddof: int = 0) -> Log:
    """The log with some entries standardised episode by episode; without stored successors."""
    obs, begin = log.obs.copy(), 0
    for end in np.flatnonzero(log.terminated | log.truncated) + 1:
        part = obs[begin:end, entries]
        obs[begin:end, entries] = (part - part.mean(axis=0)) / part.std(axis=0, ddof=ddof)
        begin = end
    return replace(log, obs=obs, next_obs=None)


def told(log: Log) -> list[int]:
    return standardised_by_episode(log, log.terminated | log.truncated)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("length", [60, (20, 90)])
def test_entries_that_were_standardised_by_episode_are_told_and_stop_a_run(length, ddof):
    log = standardised(oscillator_log(length=length), [1], ddof=ddof)
    assert told(log) == [1]
    assert told(standardised(log, [0, 1], ddof=ddof)) == [0, 1]
    found = {f.name: f for f in findings(summarize(log))}["standardised-episodes"]
    assert found.level == "ruins" and "Observation dimensions [1]" in found.text
    with pytest.raises(InputError, match=r"mean 0 and deviation 1.*--accept .*standardised-ep"):
        check_log_for_run(from_log(log), None, accept=["two-laws", "unflagged-ends"])


def test_a_log_as_it_is_or_standardised_as_a_whole_says_nothing():
    log = oscillator_log(stored=False)
    whole = (log.obs - log.obs.mean(axis=0)) / log.obs.std(axis=0)
    assert told(log) == told(replace(log, obs=whole)) == []


def test_clocks_and_few_episodes_say_nothing():
    log = oscillator_log(stored=False)
    clock = np.arange(log.size) % 60
    day = np.column_stack([np.sin(2 * np.pi * clock / 60), np.cos(2 * np.pi * clock / 60), clock])
    assert told(replace(log, obs=day)) == []
    assert told(standardised(oscillator_log(4), [0])) == []


def choices(values: np.ndarray) -> str:
    return actions_are_choices(replace(oscillator_log(), action=values))


def test_actions_that_are_choices_are_told():
    rng = np.random.default_rng(0)
    number = rng.integers(0, 4, 1200)
    assert choices(np.eye(4)[number]) == "a one among 4 entries"
    assert choices(number[:, None].astype(float)) == "the numbers 0 to 3"
    log = replace(oscillator_log(), action=np.eye(4)[number])
    texts = {f.name: f.text for f in findings(summarize(log))}
    assert "a one among 4 entries" in texts["choices-as-actions"]


@pytest.mark.parametrize(
    "values",
    [
        np.sign(np.sin(np.arange(1200.0)))[:, None],
        np.arange(1200.0)[:, None] % 2,
        np.arange(1200.0)[:, None] % 101,
        np.column_stack([np.arange(1200.0) % 2, np.arange(1200.0) % 3 == 0]),
        np.column_stack([np.zeros(1200), np.ones(1200)]),
    ],
    ids=["both ends", "on and off", "per cent", "two switches", "one that is never used"],
)
def test_switches_and_whole_numbers_say_nothing(values):
    assert choices(values) == ""
