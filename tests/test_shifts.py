"""Whether a log tells that its actions or rewards slipped by a row, or are returns to go."""

from dataclasses import replace

import numpy as np
import pytest

from moore.data.dataset import from_log
from moore.data.log import Log
from moore.findings.defects import findings
from moore.findings.run_checks import check_log_for_run
from moore.findings.shifts import summarize_shifts
from moore.formats.load import load_dataset
from moore.inspecting.summary import summarize

EPISODES, STEPS = 12, 60
NAMES = {"shifted-actions", "shifted-rewards", "returns-to-go"}


def plant_log(*, dead_time=0, gain=0.8, noise=0.3, sensor=0.01, seed=0) -> Log:
    """A tank with two levels under a proportional controller with noise."""
    rng = np.random.default_rng(seed)
    obs, action, reward, after = [], [], [], []
    for _ in range(EPISODES):
        level, sent = rng.uniform(-1, 1, 2), [0.0] * dead_time
        seen = level + sensor * rng.normal(size=2)
        for _ in range(STEPS):
            sent.append(np.clip(-gain * seen[0] + noise * rng.normal(), -1, 1))
            flow = sent[-1 - dead_time]
            level = 0.9 * level + np.array([0.2 * flow, 0.1 * level[0]])
            obs.append(seen)
            action.append([sent[-1]])
            seen = level + sensor * rng.normal(size=2)
            after.append(seen)
            reward.append(-(seen[0] ** 2) - 0.5 * sent[-1] ** 2)
    last = np.arange(EPISODES * STEPS) % STEPS == STEPS - 1
    arrays = map(np.array, (obs, action, reward, after))
    return Log(
        **dict(zip(("obs", "action", "reward", "next_obs"), arrays, strict=True)),
        terminated=last & False,
        truncated=last,
        name="tank",
    )


def moved(log: Log, key: str, rows: int) -> Log:
    return replace(log, **{key: np.roll(getattr(log, key), rows, axis=0)})


def to_go(log: Log) -> np.ndarray:
    return np.cumsum(log.reward.reshape(EPISODES, STEPS)[:, ::-1], axis=1)[:, ::-1].reshape(-1)


def named(log: Log) -> dict[str, str]:
    return {f.name: f.text for f in findings(summarize(log)) if f.name in NAMES}


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_log_whose_columns_belong_together_is_not_accused(stored, seed):
    log = plant_log(seed=seed)
    assert named(log if stored else replace(log, next_obs=None)) == {}


@pytest.mark.parametrize("controller", [{"gain": 0.0}, {"noise": 0.0}, {"gain": 3.0}])
@pytest.mark.parametrize("sensor", [0.0, 0.1])
def test_neither_random_actions_nor_a_controller_without_noise_are_accused(controller, sensor):
    assert named(plant_log(**controller, sensor=sensor)) == {}


def test_the_built_in_logs_are_not_accused():
    for name in ("pendulum-medium", "inverted-pendulum-medium"):
        log = load_dataset(f"builtin:{name}")
        found = summarize_shifts(log, log.terminated | log.truncated)
        assert found == {"action_rows": 0, "reward_rows": 0, "returns_to_go": False}


@pytest.mark.parametrize("reward", [np.ones, lambda n: (np.arange(n) % STEPS == 40) * 1.0])
def test_constant_and_sparse_rewards_are_not_accused(reward):
    assert named(replace(plant_log(), reward=reward(EPISODES * STEPS))) == {}


def test_actions_of_another_row_are_told_in_inspect_and_in_a_run_which_goes_on():
    early, late = (moved(plant_log(), "action", rows) for rows in (-1, 1))
    assert "logged one row early" in named(early)["shifted-actions"]
    assert "logged one row late" in named(late)["shifted-actions"]
    notes = check_log_for_run(from_log(early), None)
    assert any("[shifted-actions]" in note for note in notes)


@pytest.mark.parametrize("dead_time", [1, 3])
def test_a_dead_time_looks_like_early_actions_and_the_note_names_both(dead_time):
    log = plant_log(dead_time=dead_time)
    assert summarize_shifts(log, log.truncated)["action_rows"] == dead_time
    text = named(log)["shifted-actions"]
    assert "dead time" in text and "early" in text
    assert ("the action before" if dead_time == 1 else "the 3 actions before") in text


def test_rewards_of_another_row_are_told_with_the_way_to_move_them():
    log = plant_log(gain=0.0, noise=1.0)
    late, early = (named(moved(log, "reward", rows))["shifted-rewards"] for rows in (1, -1))
    assert "one row late" in late and 'reward_of = "next"' in late
    assert "one row early" in early and "reward_of" not in early


def test_returns_to_go_are_told_and_rewards_that_fade_are_not():
    log = plant_log()
    assert set(named(replace(log, reward=to_go(log)))) == {"returns-to-go"}
    of_ones = replace(log, reward=np.tile(np.arange(STEPS, 0.0, -1.0), EPISODES))
    assert set(named(of_ones)) == {"returns-to-go"}
    fading = plant_log(noise=0.0, sensor=0.0)  # from far off to rest, in every episode
    assert named(replace(fading, reward=-np.abs(fading.obs[:, 0]))) == {}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("key", ["obs", "action", "reward", "next_obs"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_or_too_few_rows_say_nothing(key, bad):
    log = moved(plant_log(), "action", -1)
    values = getattr(log, key).copy()
    values[::7] = bad
    found = summarize_shifts(replace(log, **{key: values}), log.truncated)
    assert found["reward_rows"] == 0 and not found["returns_to_go"]
    few = {k: getattr(log, k)[:300] for k in ("obs", "action", "reward", "next_obs")}
    few |= {"terminated": log.terminated[:300], "truncated": log.truncated[:300]}
    assert summarize_shifts(replace(log, **few), few["truncated"])["action_rows"] == 0


@pytest.mark.parametrize("sensor", [0.0, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_a_controller_that_answers_to_changes_of_a_slow_plant_is_not_accused(sensor, seed):
    rng = np.random.default_rng(seed)
    state, obs, action, after = 0.5, [], [], []
    seen = last = state
    for row in range(EPISODES * STEPS):
        if row % STEPS == 0:
            state = seen = last = rng.normal()
        sent = np.clip(-20 * (seen - last) - 0.2 * seen + 0.05 * rng.normal(), -1, 1)
        state = 0.97 * state + 0.03 * sent + 0.02 * rng.normal()
        obs.append([seen])
        action.append([sent])
        last, seen = seen, state + sensor * rng.normal()
        after.append([seen])
    obs, action, after = map(np.array, (obs, action, after))
    log = replace(plant_log(), obs=obs, action=action, next_obs=after, reward=-(after[:, 0] ** 2))
    assert summarize_shifts(log, log.truncated)["action_rows"] == 0
