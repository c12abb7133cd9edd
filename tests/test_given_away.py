"""Observations that hold their own row's action or reward; actions in a corner of their bounds."""

from dataclasses import replace

import numpy as np
import pytest

from made_logs import refuses
from made_plant_logs import plant_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.envs.simulator import EnvFacts
from moore.findings.defects import findings
from moore.findings.given_away import given_away
from moore.findings.run_checks import check_log_for_run
from moore.inspecting.summary import summarize


def with_entry(log: Log, column: np.ndarray) -> Log:
    """One more observation entry; its successors are the next rows'."""
    return replace(log, obs=np.column_stack([log.obs, column]), next_obs=None)


def of_log(log: Log) -> dict:
    return given_away(log, log.terminated | log.truncated)


def named(log: Log) -> dict[str, str]:
    return {finding.name: finding.level for finding in findings(summarize(log))}


def test_an_observed_action_stops_a_run_unless_it_is_that_of_the_row_before():
    log = plant_log()
    before = with_entry(log, np.append(0, log.action[:-1, 0]))
    assert of_log(before)["action_in_obs"] == [] and "action-observed" not in named(before)
    own = with_entry(log, log.action[:, 0])
    assert of_log(own)["action_in_obs"] == [(2, 0)]
    assert named(own)["action-observed"] == "ruins"
    refuses("obs 2 is action 0.*--accept action-observed", check_log_for_run, from_log(own), None)


def test_a_log_without_time_out_flags_is_looked_at_like_others():
    own = with_entry(plant_log(), plant_log().action[:, 0])
    assert named(replace(own, truncated=None))["action-observed"] == "ruins"


def test_an_observed_reward_is_told():
    log = plant_log()
    own = with_entry(log, log.reward)
    (told,) = check_log_for_run(from_log(own), None)
    assert "dimensions [2]" in told and told.endswith("[reward-observed]")
    assert named(with_entry(log, np.append(0, log.reward[:-1]))).get("reward-observed") is None


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_columns_that_hardly_change_may_agree_by_chance(value):
    log = plant_log()
    still = replace(log, action=np.full_like(log.action, value))
    still.action[::3] = np.random.default_rng(0).normal(size=still.action[::3].shape)
    assert of_log(with_entry(still, still.action[:, 0]))["action_in_obs"] == []


@pytest.mark.parametrize(("high", "told"), [(1.0, False), (30.0, False), (1000.0, True)])
def test_actions_in_a_corner_of_their_bounds_are_told(high, told):
    log = from_log(plant_log())  # within [-1, 1]
    bound = np.asarray([high], np.float32)
    notes = check_log_for_run(log, EnvFacts("Plant-v0", 2, -bound, bound, None))
    assert any("actuators" in note and note.endswith("[narrow-actions]") for note in notes) == told


# --- what comes later ---


def later(values: np.ndarray) -> np.ndarray:
    return np.append(values[1:], 0)


def to_go(log: Log) -> np.ndarray:
    """The sum of all rewards from each row to the end of its episode."""
    sums, total = np.zeros(len(log.reward)), 0.0
    for row in reversed(range(len(sums))):
        total = log.reward[row] + total * (not (log.terminated | log.truncated)[row])
        sums[row] = total
    return sums


@pytest.mark.parametrize(
    "column, words",
    [
        (lambda log: later(log.action[:, 0]), "2 (action 0 of the next row)"),
        (lambda log: later(log.reward), "2 (the reward of the next row)"),
        (to_go, "2 (the sum of the rewards from its row on)"),
    ],
)
def test_what_is_only_known_later_is_told(column, words):
    log = plant_log()
    known = with_entry(log, column(log))
    assert of_log(known)["known_too_early"] == words
    assert named(known)["known-too-early"] == "note"
    # A run leaves out the last rows of episodes, to whose rewards the sums run down.
    noted = "[known-too-early]" in " ".join(check_log_for_run(from_log(known), None))
    assert noted == ("next row" in words)


def test_what_was_known_before_and_held_actions_do_not():
    log = plant_log()
    earned = np.append(0, np.cumsum(log.reward)[:-1])  # so far, which a system may count
    held = np.repeat(log.action[::20, 0], 20)[: len(log.action)]
    left = 10.0 - earned  # of the way to a goal
    for column in (np.append(0, log.action[:-1, 0]), np.append(0, log.reward[:-1]), earned, left):
        assert of_log(with_entry(log, column))["known_too_early"] == ""
    assert of_log(replace(with_entry(log, held), action=held[:, None]))["known_too_early"] == ""
