"""Columns in other units in some parts of a log, values that were filled in, sensors that stick."""

from dataclasses import replace

import numpy as np
import pytest

from made_oscillators import oscillator_log
from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.misplaced import what_is_misplaced
from moore.findings.mixed_units import mixed_units
from moore.findings.run_checks import check_log_for_run
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 20, 60
ROWS = EPISODES * STEPS
EPISODE = np.arange(ROWS) // STEPS
NAMES = {"units-change", "lone-actions", "dropped-readings", "standing-observations"}


def named(log: Log) -> dict[str, str]:
    """What an inspection and a run say; they say the same."""
    found = {f.name: f.text for f in findings(summarize(log)) if f.name in NAMES}
    notes = check_log_for_run(from_log(log), None, accept=["unflagged-ends"])
    assert {note.rpartition("[")[2].rstrip("]") for note in notes} & NAMES == found.keys()
    return found


def changed(key: str, where: np.ndarray, change, **made) -> Log:
    """A log with `change(values)` of an array in some rows."""
    log = oscillator_log(stored=False, **made)
    values = getattr(log, key).copy()
    values[where] = change(values[where])
    return replace(log, **{key: values})


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_log_says_nothing(seed):
    assert named(oscillator_log(seed=seed)) == named(oscillator_log(seed=seed, stored=False)) == {}
    assert named(oscillator_log(1, ROWS, seed=seed)) == {}


@pytest.mark.parametrize("key, entry", [("obs", "observation 0"), ("action", "action 0"),
                                        ("reward", "reward")])  # fmt: skip
@pytest.mark.parametrize("times", [100.0, 1e-3])
@pytest.mark.parametrize("chosen", [[2, 3, 9, 14], range(1, EPISODES, 2)])
def test_other_units_in_some_episodes_are_named(key, entry, times, chosen):
    text = named(changed(key, np.isin(EPISODE, chosen), lambda x: times * x))["units-change"]
    assert entry in text and "of 20 episodes as in the others" in text


def test_other_units_in_the_middle_of_a_log_without_episodes_are_named():
    middle = (np.arange(ROWS) > 400) & (np.arange(ROWS) < 700)
    log = changed("obs", middle, lambda x: 1000 * x, episodes=1, length=ROWS)
    assert "times as much in 6 of 24 stretches" in named(log)["units-change"]


def test_what_moves_in_some_episodes_only_is_in_no_other_units():
    rng = np.random.default_rng(0)
    log = oscillator_log(stored=False)
    pushed = np.isin(EPISODE, [2, 3, 9, 14, 17])
    thing = np.where(pushed, log.obs[:, 0], 0.3 + 1e-4 * rng.normal(size=ROWS))
    still = np.where(pushed, log.obs[:, 0], 0.0)
    assert (
        mixed_units(replace(log, obs=np.column_stack([log.obs, thing, still])), log.truncated) == ""
    )


def test_the_built_in_logs_say_nothing():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        assert mixed_units(log, log.terminated | log.truncated) == ""


# --- values that stand for none ---

SOME = np.random.default_rng(5).random(ROWS) < 0.02


@pytest.mark.parametrize("value", [-999.0, 1e20])
def test_actions_far_beyond_all_others_are_named(value):
    text = named(changed("action", SOME, lambda x: value))["lone-actions"]
    assert f"0 ({value:g}; others" in text


def test_rewards_that_were_filled_in_with_an_ordinary_value_are_named():
    log = changed("reward", SOME, lambda x: 0.0)
    log = replace(log, reward=np.where(SOME, 0.0, log.reward + 1.0))
    assert "Rewards (0 in" in named(log)["dropped-readings"]


def test_actions_that_are_switched_off_at_times_and_bonuses_are_not():
    assert named(changed("action", SOME, lambda x: 0.0)) == {}
    bonus = np.isin(np.arange(ROWS) % STEPS, (20, 40)) * 1.0
    assert "dropped-readings" not in named(replace(oscillator_log(), reward=bonus))


# --- sensors that stick ---


def stuck(rows: int, every: int) -> Log:
    """The second entry keeps its value for some rows, again and again."""
    log = oscillator_log(1, ROWS, stored=False)
    at = np.arange(ROWS)
    obs = log.obs.copy()
    obs[:, 1] = obs[np.where(at % every < rows, at - at % every, at), 1]
    return replace(log, obs=obs)


def test_a_sensor_that_sticks_again_and_again_is_named():
    text = named(stuck(6, 60))["standing-observations"]
    assert "dimensions 1 (for 5 rows or more 20 times" in text


@pytest.mark.parametrize("log", [stuck(6, 6), stuck(2, 60), stuck(6, 600)])
def test_slow_sensors_and_single_holds_are_not(log):
    assert "standing-observations" not in named(log)


def test_a_reading_at_its_limit_or_at_rest_does_not_stick():
    log = oscillator_log(1, ROWS, stored=False)
    limited = np.clip(log.obs[:, 1], -0.3, 0.3)
    dead_band = np.where(np.abs(log.obs[:, 1]) < 0.2, 0.0, log.obs[:, 1])
    obs = np.column_stack([log.obs[:, 0], limited, dead_band])
    assert "standing-observations" not in named(replace(log, obs=obs))


# --- next states in other units, beside faults of another kind ---


def test_next_states_in_other_units_are_found_though_ends_are_not_flagged():
    log = oscillator_log()
    scaled = replace(log, obs=(log.obs - log.obs.mean(axis=0)) / log.obs.std(axis=0))
    joined = np.zeros(ROWS, bool)
    assert "in other units" in what_is_misplaced(scaled, joined)
    assert what_is_misplaced(log, joined) == ""
